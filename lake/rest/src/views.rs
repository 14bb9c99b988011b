//! Endpoints that create, list, load, change, register, rename and drop views.

use crate::access::{Reader, Writer};
use crate::audit::Caller;
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
use orch_lake::{Locations, TableName};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::collections::HashMap;
use std::sync::Arc;

/// Maximum number of attempts when other writers commit first. After that, the client must retry.
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
    Writer(writer): Writer,
    Path(path): Path<String>,
    sent: Bytes,
) -> RestResult<Json<Value>> {
    let new: New = body(&sent)?;
    let name = names::table(&path, &new.name)?;
    api.namespace(name.namespace()).await?;
    is_free(&api, EntryType::View, &name).await?;
    let properties = new.properties.unwrap_or_default();
    let location = api.lake.folder_for(&name, new.location.as_deref()).await?;
    let builder = ViewMetadataBuilder::new(location, new.schema, new.view_version, ViewFormatVersion::V1, properties)?;
    let metadata = builder.build()?.metadata;
    let mut paths = api.paths(&writer);
    paths.view(&metadata, &Locations::none())?;
    let view = View::write(&api.lake, &name, metadata).await?;
    add(&api, &view, (&writer, "create_view"), &paths.outside).await?;
    loaded(&view)
}

async fn add(api: &Api, view: &View, (caller, event): (&Caller, &str), outside: &[String]) -> RestResult<()> {
    let mut tx = api.pool.begin().await?;
    if !view.add_on(&mut tx, &api.catalog).await? {
        is_free(api, EntryType::View, &view.name).await?;
        return Err(Refusal::exists(format!("View already exists: {}", view.name)));
    }
    did(&mut tx, (caller, event), view, outside).await?;
    Ok(tx.commit().await?)
}

async fn did(
    db: &mut PgConnection,
    (caller, event): (&Caller, &str),
    view: &View,
    outside: &[String],
) -> RestResult<()> {
    let details = json!({ "metadata_location": view.location, "outside": outside });
    Ok(caller.did(db, event, ("view", &view.name.to_string()), details).await?)
}

pub(crate) async fn register(
    State(api): State<Arc<Api>>,
    Writer(writer): Writer,
    Path(path): Path<String>,
    sent: Bytes,
) -> RestResult<Json<Value>> {
    let Registered { name, metadata_location, .. } = body(&sent)?;
    let name = names::table(&path, &name)?;
    api.namespace(name.namespace()).await?;
    let mut paths = api.paths(&writer);
    paths.place(&metadata_location)?;
    is_free(&api, EntryType::View, &name).await?;
    let view = View::read(&api.lake, &name, &metadata_location).await?;
    paths.view(&view.metadata, &Locations::none())?;
    add(&api, &view, (&writer, "register_view"), &paths.outside).await?;
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
    Writer(writer): Writer,
    Path((namespace, name)): NameInPath,
    sent: Bytes,
) -> RestResult<Json<Value>> {
    let name = names::table(&namespace, &name)?;
    let CommitViewRequest { requirements, updates } = body(&sent)?;
    for _ in 0..TRIES {
        let view = view_of(&api, &name).await?;
        let is_same = |Requirement::Uuid { uuid }: &Requirement| *uuid == view.metadata.uuid().to_string();
        if !requirements.iter().all(is_same) {
            return Err(Refusal::conflict("Requirement failed: view UUID does not match"));
        }
        let metadata = view.changed(updates.clone())?;
        let mut paths = api.paths(&writer);
        paths.view(&metadata, &api.lake.locations_of(&view.location))?;
        let next = View::write(&api.lake, &name, metadata).await?;
        let mut tx = api.pool.begin().await?;
        if view.swap_on(&mut tx, &api.catalog, &next).await? {
            did(&mut tx, (&writer, "alter_view"), &next, &paths.outside).await?;
            tx.commit().await?;
            return loaded(&next);
        }
        tx.rollback().await?;
        api.lake.io().delete(&next.location).await?;
    }
    Err(Refusal::conflict(format!("others were faster {TRIES} times in a row")))
}

pub(crate) async fn remove(
    State(api): State<Arc<Api>>,
    Writer(writer): Writer,
    Path((namespace, name)): NameInPath,
) -> RestResult<StatusCode> {
    let name = names::table(&namespace, &name)?;
    let mut tx = api.pool.begin().await?;
    if !api.catalog.remove_on(&mut tx, EntryType::View, &name).await? {
        return Err(Refusal::no_view(&name));
    }
    writer.did(&mut tx, "drop_view", ("view", &name.to_string()), Value::Null).await?;
    tx.commit().await?;
    Ok(DONE)
}

pub(crate) async fn rename(State(api): State<Arc<Api>>, Writer(writer): Writer, sent: Bytes) -> RestResult<StatusCode> {
    rename_entry(&api, &writer, (EntryType::View, "rename_view", "view"), &sent, Refusal::no_view).await
}
