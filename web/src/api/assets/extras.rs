//! `/api/orch/v1/assets`: freshness, waiting DAGs and lineage, which are not part of Airflow's API.

use super::find;
use crate::api::list::asked;
use crate::extract::{Names, Query, no_such_run};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_store::asset::{ASSETS, AssetRow, Edge, edges_of_asset, edges_of_task, uses_of, what_dag_waits_for};
use orch_store::list::ListPage;
use orch_store::run::get_run;
use orch_wire::timestamp::{Timestamp, stamp};
use schemars::JsonSchema;
use serde::Serialize;

const MOST_EDGES: i64 = 1_000;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ExtraPage {
    assets: Vec<Freshness>,
    total_entries: i64,
}

/// How fresh an asset is.
#[derive(Debug, Serialize, JsonSchema)]
struct Freshness {
    id: i32,
    name: String,
    uri: String,
    /// Null: no promise was made.
    fresh_within_seconds: Option<f64>,
    fresh_until: Option<Timestamp>,
    stale: bool,
    stale_since: Option<Timestamp>,
    last_event_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ExtraView {
    #[serde(flatten)]
    freshness: Freshness,
    waiting: Vec<WaitingDag>,
    lineage: Vec<EdgeView>,
}

/// A DAG that waits for the asset, with all it waits for.
#[derive(Debug, Serialize, JsonSchema)]
struct WaitingDag {
    dag_id: String,
    waits_for: Vec<WaitsFor>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct WaitsFor {
    asset: String,
    updated: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LineagePage {
    lineage: Vec<EdgeView>,
    total_entries: usize,
}

/// So many rows went from one asset into another.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EdgeView {
    from: String,
    to: String,
    rows: Option<i64>,
    dag_id: String,
    dag_run_id: String,
    task_id: String,
    map_index: i32,
    at: Timestamp,
}

impl From<Edge> for EdgeView {
    fn from(edge: Edge) -> Self {
        EdgeView {
            from: edge.from_uri,
            to: edge.to_uri,
            rows: edge.rows,
            dag_id: edge.dag_id,
            dag_run_id: edge.run_id,
            task_id: edge.task_id,
            map_index: edge.map_index,
            at: Timestamp(edge.at),
        }
    }
}

impl From<AssetRow> for Freshness {
    fn from(row: AssetRow) -> Self {
        Freshness {
            id: row.id,
            name: row.name,
            uri: row.uri,
            fresh_within_seconds: row.fresh_within_ms.map(|ms| ms as f64 / 1000.0),
            fresh_until: stamp(row.fresh_until),
            stale: row.stale_since.is_some(),
            stale_since: stamp(row.stale_since),
            last_event_at: stamp(row.last_event_at),
        }
    }
}

pub(crate) async fn list(State(app): State<App>, mut query: Query) -> Result<Json<ExtraPage>, Refusal> {
    let search = asked(&mut query, ASSETS.columns)?;
    let ListPage { rows, total: total_entries } = ASSETS.find(&mut *app.pages().await?, &search).await?;
    Ok(Json(ExtraPage { assets: rows.into_iter().map(Freshness::from).collect(), total_entries }))
}

pub(crate) async fn get(State(app): State<App>, names: Names) -> Result<Json<ExtraView>, Refusal> {
    let mut db = app.pages().await?;
    let asset = find(&mut db, &names).await?;
    let mut waiting = Vec::new();
    for scheduled in uses_of(&mut db, &[asset.id]).await?.into_iter().filter(|u| u.role == "schedule") {
        let waits = what_dag_waits_for(&mut db, &mut app.versions.clone(), &scheduled.dag_id).await?;
        let waits_for = waits.into_iter().map(|w| WaitsFor { asset: w.of.to_string(), updated: w.updated });
        waiting.push(WaitingDag { dag_id: scheduled.dag_id, waits_for: waits_for.collect() });
    }
    let lineage = edges_of_asset(&mut db, &asset.uri, MOST_EDGES).await?.into_iter().map(EdgeView::from).collect();
    Ok(Json(ExtraView { freshness: asset.into(), waiting, lineage }))
}

pub(crate) async fn lineage_of_run(State(app): State<App>, names: Names) -> Result<Json<LineagePage>, Refusal> {
    let path = names.run()?;
    let mut db = app.pages().await?;
    let run = get_run(&mut db, &path.dag_id, &path.run_id).await?;
    let run = run.ok_or_else(|| no_such_run(&path.dag_id, &path.run_id))?;
    let edges = edges_of_task(&mut db, run.id, None, MOST_EDGES).await?;
    let lineage: Vec<EdgeView> = edges.into_iter().map(EdgeView::from).collect();
    Ok(Json(LineagePage { total_entries: lineage.len(), lineage }))
}
