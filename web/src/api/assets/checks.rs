//! `/api/orch/v1/assets/{asset_id}/checks` and `/api/orch/v1/assets/checks?uri=`: results of the contracts of an asset,
//! newest first. A contract may cover data that no DAG declares as an asset; such data has a URI and no id.

use super::find;
use crate::api::list::asked;
use crate::extract::{Names, Query};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_store::asset::{CHECKS, CheckRow, check_by};
use orch_store::list::{ListPage, Search};
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CheckPage {
    checks: Vec<CheckView>,
    total_entries: i64,
}

/// One check of one lot of data.
#[derive(Debug, Serialize, JsonSchema)]
struct CheckView {
    id: i64,
    /// Which check: `order_id is unique`.
    name: String,
    /// `schema`, `not_null`, `range`, `unique`, …
    kind: String,
    /// `fail`, `warn` or `quarantine`: what becomes of data that does not fit.
    policy: String,
    /// `pass`, `warn`, `fail` or `quarantined`.
    outcome: String,
    rows: u64,
    /// Those of the rows that do not fit.
    rows_bad: u64,
    /// What was found, with some keys.
    sample: String,
    dag_id: String,
    dag_run_id: String,
    task_id: String,
    map_index: i32,
    try_number: i16,
    at: Timestamp,
}

impl From<CheckRow> for CheckView {
    fn from(row: CheckRow) -> Self {
        CheckView {
            id: row.id,
            policy: row.result.policy.to_string(),
            outcome: row.result.outcome.to_string(),
            name: row.result.name,
            kind: row.result.kind,
            rows: row.result.rows,
            rows_bad: row.result.bad,
            sample: row.result.sample,
            dag_id: row.dag_id,
            dag_run_id: row.run_id,
            task_id: row.task_id,
            map_index: row.map_index,
            try_number: row.try_no,
            at: Timestamp(row.at),
        }
    }
}

pub(crate) async fn list(State(app): State<App>, names: Names, mut query: Query) -> Result<Json<CheckPage>, Refusal> {
    let search = asked(&mut query, CHECKS.columns)?;
    let mut db = app.pages().await?;
    let asset = find(&mut db, &names).await?;
    page_of(&mut db, search.and(check_by::URI.is(asset.uri))).await
}

pub(crate) async fn of_uri(State(app): State<App>, mut query: Query) -> Result<Json<CheckPage>, Refusal> {
    let search = asked(&mut query, check_by::OF_URI)?;
    page_of(&mut *app.pages().await?, search).await
}

async fn page_of(db: &mut PgConnection, search: Search) -> Result<Json<CheckPage>, Refusal> {
    let ListPage { rows, total: total_entries } = CHECKS.find(db, &search).await?;
    Ok(Json(CheckPage { checks: rows.into_iter().map(CheckView::from).collect(), total_entries }))
}
