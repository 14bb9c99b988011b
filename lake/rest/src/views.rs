//! Views: made, listed, loaded, changed, registered, renamed and taken away.

use crate::access::{Reader, Writer};
use crate::names::{self, Paging};
use crate::refusal::{Refusal, RestResult};
use crate::router::{Api, DONE, body};
use crate::tables::{NameInPath, Registered, is_free, page, rename_entry};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use bytes::Bytes;
use iceberg::ViewUpdate;
use iceberg::spec::{Schema, ViewFormatVersion, ViewMetadataBuilder, ViewVersion};
use orch_lake::catalog::EntryType;
use orch_lake::view::View;
use orch_lake::{LakeError, TableName};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// Others may be faster so often before the client is to try again itself.
const TRIES: u32 = 20;

pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    _: Reader,
    Path(path): Path<String>,
    Query(paging): Query<Paging>,
) -> RestResult<Json<Value>> {
    page(&api, EntryType::View, &path, &paging).await
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct New {
    name: String,
    location: Option<String>,
    schema: Schema,
    view_version: ViewVersion,
    properties: Option<HashMap<String, String>>,
}

pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    _: Writer,
    Path(path): Path<String>,
    sent: Bytes,
) -> RestResult<Json<Value>> {
    let new: New = body(&sent)?;
    let name = names::table(&path, &new.name)?;
    api.namespace(name.namespace()).await?;
    is_free(&api, EntryType::View, &name).await?;
    let properties = new.properties.unwrap_or_default();
    for location in new.location.iter().chain(properties.get("write.metadata.path")) {
        api.allowed(location, None)?;
    }
    let location = api.lake.folder_for(&name, new.location.as_deref()).await?;
    let builder = ViewMetadataBuilder::new(location, new.schema, new.view_version, ViewFormatVersion::V1, properties)?;
    let view = View::write(&api.lake, &name, builder.build()?.metadata).await?;
    add(&api, &view).await?;
    loaded(&view)
}

async fn add(api: &Api, view: &View) -> RestResult<()> {
    if view.add(&api.catalog).await? {
        return Ok(());
    }
    is_free(api, EntryType::View, &view.name).await?;
    Err(Refusal::exists(format!("View already exists: {}", view.name)))
}

pub(crate) async fn register(
    State(api): State<Arc<Api>>,
    _: Writer,
    Path(path): Path<String>,
    sent: Bytes,
) -> RestResult<Json<Value>> {
    let Registered { name, metadata_location, .. } = body(&sent)?;
    let name = names::table(&path, &name)?;
    api.namespace(name.namespace()).await?;
    api.allowed(&metadata_location, None)?;
    is_free(&api, EntryType::View, &name).await?;
    let view = View::read(&api.lake, &name, &metadata_location).await?;
    add(&api, &view).await?;
    loaded(&view)
}

pub(crate) async fn load(
    State(api): State<Arc<Api>>,
    _: Reader,
    Path((namespace, name)): NameInPath,
) -> RestResult<Json<Value>> {
    loaded(&view_of(&api, &names::table(&namespace, &name)?).await?)
}

pub(crate) async fn is_there(
    State(api): State<Arc<Api>>,
    _: Reader,
    Path((namespace, name)): NameInPath,
) -> RestResult<StatusCode> {
    location_of(&api, &names::table(&namespace, &name)?).await?;
    Ok(DONE)
}

async fn location_of(api: &Api, name: &TableName) -> RestResult<String> {
    match api.catalog.entry(name).await? {
        Some((EntryType::View, location)) => Ok(location),
        _ => Err(Refusal::no_view(name)),
    }
}

async fn view_of(api: &Api, name: &TableName) -> RestResult<View> {
    let location = location_of(api, name).await?;
    Ok(View::read(&api.lake, name, &location).await?)
}

fn loaded(view: &View) -> RestResult<Json<Value>> {
    Ok(Json(json!({ "metadata-location": view.location, "metadata": view.json()?, "config": {} })))
}

#[derive(Debug, Deserialize)]
struct CommitViewRequest {
    #[serde(default)]
    requirements: Vec<Requirement>,
    updates: Vec<ViewUpdate>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
enum Requirement {
    #[serde(rename = "assert-view-uuid")]
    Uuid { uuid: String },
}

pub(crate) async fn change(
    State(api): State<Arc<Api>>,
    _: Writer,
    Path((namespace, name)): NameInPath,
    sent: Bytes,
) -> RestResult<Json<Value>> {
    let name = names::table(&namespace, &name)?;
    let CommitViewRequest { requirements, updates } = body(&sent)?;
    for update in &updates {
        if let ViewUpdate::SetLocation { location } = update {
            api.allowed(location, None)?;
        }
    }
    for _ in 0..TRIES {
        let view = view_of(&api, &name).await?;
        let is_same = |Requirement::Uuid { uuid }: &Requirement| *uuid == view.metadata.uuid().to_string();
        if !requirements.iter().all(is_same) {
            return Err(Refusal::conflict("Requirement failed: view UUID does not match"));
        }
        match view.change(&api.lake, &api.catalog, updates.clone()).await {
            Ok(view) => return loaded(&view),
            Err(LakeError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Refusal::conflict(format!("others were faster {TRIES} times in a row")))
}

pub(crate) async fn remove(
    State(api): State<Arc<Api>>,
    _: Writer,
    Path((namespace, name)): NameInPath,
) -> RestResult<StatusCode> {
    let name = names::table(&namespace, &name)?;
    if api.catalog.remove(EntryType::View, &name).await? { Ok(DONE) } else { Err(Refusal::no_view(&name)) }
}

pub(crate) async fn rename(State(api): State<Arc<Api>>, _: Writer, sent: Bytes) -> RestResult<StatusCode> {
    rename_entry(&api, EntryType::View, &sent, Refusal::no_view).await
}
