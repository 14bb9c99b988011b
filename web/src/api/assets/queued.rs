//! Queued asset events: one row for each asset and DAG, as in Airflow.

use crate::extract::path_numbers::ASSET_ID;
use crate::extract::{Actor, Names, Query, query_params};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use orch_store::asset::{QueueFilter, QueuedRow, list_queued};
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

query_params! {
    pub(crate) struct QueuedParams {
        /// Only what was queued earlier
        before: Option<DateTime<Utc>>,
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QueuedPage {
    queued_events: Vec<QueuedView>,
    total_entries: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QueuedView {
    dag_id: String,
    asset_id: i32,
    created_at: Timestamp,
    dag_display_name: String,
}

impl From<QueuedRow> for QueuedView {
    fn from(row: QueuedRow) -> Self {
        let (dag_display_name, created_at) = (row.dag_id.clone(), Timestamp(row.created_at));
        QueuedView { dag_id: row.dag_id, asset_id: row.asset, created_at, dag_display_name }
    }
}

pub(crate) async fn of_asset(State(app): State<App>, names: Names, query: Query) -> Result<Json<QueuedPage>, Refusal> {
    list(&app, read(&names, query)?).await
}

pub(crate) async fn of_dag(State(app): State<App>, names: Names, query: Query) -> Result<Json<QueuedPage>, Refusal> {
    list(&app, read(&names, query)?).await
}

pub(crate) async fn one(State(app): State<App>, names: Names, query: Query) -> Result<Json<QueuedView>, Refusal> {
    let filter = read(&names, query)?;
    let found = list_queued(&mut *app.pages().await?, &filter).await?.pop();
    found.map(|row| Json(row.into())).ok_or_else(|| missing(&names))
}

pub(crate) async fn delete_of_asset(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    query: Query,
) -> Result<StatusCode, Refusal> {
    delete(&app, &actor, &names, query).await
}

pub(crate) async fn delete_of_dag(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    query: Query,
) -> Result<StatusCode, Refusal> {
    delete(&app, &actor, &names, query).await
}

pub(crate) async fn delete_one(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    query: Query,
) -> Result<StatusCode, Refusal> {
    delete(&app, &actor, &names, query).await
}

/// Returns the filter of a request. An id that is out of range for assets matches nothing.
fn read(names: &Names, mut query: Query) -> Result<QueueFilter, Refusal> {
    let QueuedParams { before } = query.whole()?;
    let dag_id = Some(names.get("dag_id").to_string()).filter(|id| !id.is_empty());
    if dag_id.is_some() {
        names.dag()?;
    }
    let asset = match names.get("asset_id") {
        "" => None,
        _ => Some(i32::try_from(names.number(ASSET_ID)?).unwrap_or(-1)),
    };
    Ok(QueueFilter { dag_id, asset, before })
}

async fn list(app: &App, filter: QueueFilter) -> Result<Json<QueuedPage>, Refusal> {
    let queued = list_queued(&mut *app.pages().await?, &filter).await?;
    let queued_events: Vec<QueuedView> = queued.into_iter().map(QueuedView::from).collect();
    Ok(Json(QueuedPage { total_entries: queued_events.len(), queued_events }))
}

async fn delete(app: &App, actor: &Actor, names: &Names, query: Query) -> Result<StatusCode, Refusal> {
    let filter = read(names, query)?;
    let dropped = app.in_transaction(async |tx| Ok(orch_deeds::asset::drop_queued(tx, actor, &filter).await?)).await?;
    if dropped == 0 { Err(missing(names)) } else { Ok(StatusCode::NO_CONTENT) }
}

fn missing(names: &Names) -> Refusal {
    let text = match (names.get("dag_id"), names.get("asset_id")) {
        ("", asset) => format!("Queue event with asset_id: `{asset}` was not found"),
        (dag_id, "") => format!("Queue event with dag_id: `{dag_id}` was not found"),
        (dag_id, asset) => {
            format!("Queued event with dag_id: `{dag_id}` and asset_id: `{asset}` was not found")
        }
    };
    Refusal::not_found(text)
}
