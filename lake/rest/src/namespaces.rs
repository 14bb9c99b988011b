//! Endpoints that create, list, show, change and drop namespaces.

use crate::access::{Reader, Writer};
use crate::names::{self, Paging};
use crate::refusal::{Refusal, RestResult};
use crate::router::{Api, body};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use bytes::Bytes;
use orch_lake::catalog::{Catalog as _, Properties};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Property that contains the folder of a namespace.
const LOCATION: &str = "location";

#[derive(Debug, Deserialize)]
pub(crate) struct Within {
    parent: Option<String>,
}

/// Lists the direct children of the parent namespace. Without a parent, lists the top-level namespaces.
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    _: Reader,
    Query(within): Query<Within>,
    Query(paging): Query<Paging>,
) -> RestResult<Json<Value>> {
    let parent = match within.parent.as_deref().filter(|parent| !parent.is_empty()) {
        Some(parent) => Some(names::namespace(parent)?),
        None => None,
    };
    let all = api.catalog.namespaces().await?;
    let below = parent.as_ref().map(|parent| format!("{parent}."));
    let is_there = |name: &String| {
        parent.as_ref() == Some(name) || below.as_ref().is_some_and(|below| name.starts_with(below.as_str()))
    };
    if let Some(parent) = &parent
        && !all.keys().any(is_there)
    {
        return Err(Refusal::no_namespace(parent));
    }
    let below = below.unwrap_or_default();
    let direct = all.keys().filter_map(|name| {
        let first = name.strip_prefix(below.as_str())?.split('.').next()?;
        Some(format!("{below}{first}"))
    });
    let after = paging.after()?;
    let direct: BTreeSet<String> = direct.filter(|name| name.as_str() > after).collect();
    let (page, next) = paging.cut(direct.into_iter().collect(), |name| name)?;
    let namespaces: Vec<_> = page.iter().map(|name| names::parts(name)).collect();
    Ok(Json(json!({ "namespaces": namespaces, "next-page-token": next })))
}

#[derive(Debug, Deserialize)]
struct New {
    namespace: Vec<String>,
    #[serde(default)]
    properties: Properties,
}

pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    Writer(writer): Writer,
    sent: Bytes,
) -> RestResult<Json<Value>> {
    let New { namespace, properties } = body(&sent)?;
    let name = names::joined(&namespace)?;
    if api.catalog.namespace(&name).await?.is_some() {
        return Err(Refusal::exists(format!("Namespace already exists: {name}")));
    }
    let mut tx = api.pool.begin().await?;
    api.catalog.declare_on(&mut tx, &name, &properties).await?;
    writer.did(&mut tx, "create_namespace", ("namespace", &name), Value::Null).await?;
    tx.commit().await?;
    Ok(described(&api, &name, properties))
}

/// Returns a namespace including its location, the folder of its tables. Trino creates a table in two steps only if the
/// namespace has a location. Without one, Trino fails because the folder of the new table already contains a file when
/// it checks that the folder is empty.
fn described(api: &Api, name: &str, mut properties: Properties) -> Json<Value> {
    properties.entry(LOCATION.to_owned()).or_insert_with(|| api.lake.namespace_folder(name));
    Json(json!({ "namespace": names::parts(name), "properties": properties }))
}

pub(crate) async fn show(State(api): State<Arc<Api>>, _: Reader, Path(path): Path<String>) -> RestResult<Json<Value>> {
    let name = names::namespace(&path)?;
    let properties = api.namespace(&name).await?;
    Ok(described(&api, &name, properties))
}

pub(crate) async fn is_there(
    State(api): State<Arc<Api>>,
    _: Reader,
    Path(path): Path<String>,
) -> RestResult<StatusCode> {
    api.namespace(&names::namespace(&path)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn remove(
    State(api): State<Arc<Api>>,
    Writer(writer): Writer,
    Path(path): Path<String>,
) -> RestResult<StatusCode> {
    let name = names::namespace(&path)?;
    api.namespace(&name).await?;
    if api.catalog.has_entries(&name).await? {
        return Err(Refusal::not_empty(&name));
    }
    let mut tx = api.pool.begin().await?;
    api.catalog.drop_namespace_on(&mut tx, &name).await?;
    writer.did(&mut tx, "drop_namespace", ("namespace", &name), Value::Null).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
struct Changed {
    #[serde(default)]
    removals: Vec<String>,
    #[serde(default)]
    updates: Properties,
}

pub(crate) async fn change(
    State(api): State<Arc<Api>>,
    Writer(writer): Writer,
    Path(path): Path<String>,
    sent: Bytes,
) -> RestResult<Json<Value>> {
    let name = names::namespace(&path)?;
    let Changed { removals, updates } = body(&sent)?;
    if let Some(both) = removals.iter().find(|key| updates.contains_key(*key)) {
        return Err(Refusal::input(format!("property `{both}` is to be set and removed")));
    }
    api.namespace(&name).await?;
    let mut tx = api.pool.begin().await?;
    let removed = api.catalog.change_namespace_on(&mut tx, &name, &updates, &removals).await?;
    let details = json!({ "set": updates.keys().collect::<Vec<_>>(), "removed": removed });
    writer.did(&mut tx, "alter_namespace", ("namespace", &name), details).await?;
    tx.commit().await?;
    let missing: Vec<_> = removals.iter().filter(|key| !removed.contains(key)).collect();
    Ok(Json(json!({ "updated": updates.keys().collect::<Vec<_>>(), "removed": removed, "missing": missing })))
}
