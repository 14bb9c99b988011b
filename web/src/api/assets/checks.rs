//! `/api/orch/v1/assets/{asset_id}/checks` and `/api/orch/v1/assets/checks?uri=`: what contracts found of the data of an asset, newest
//! first. A contract may be about data that no DAG names: it has a URI and no id.

use super::find;
use crate::api::pages::{Page, words};
use crate::extract::{Names, Query};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_spec::asset::CheckOutcome;
use orch_store::asset::{CheckRow, checks_of_asset, count_checks};
use orch_wire::Problem;
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;

pub(crate) const OUTCOMES: &[&str] = &["pass", "warn", "fail", "quarantined"];

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
    let choice = choice(&mut query)?;
    let mut db = app.pages().await?;
    let asset = find(&mut db, &names).await?;
    page_of(&mut db, &asset.uri, choice).await
}

pub(crate) async fn of_uri(State(app): State<App>, mut query: Query) -> Result<Json<CheckPage>, Refusal> {
    let choice = choice(&mut query)?;
    let uri = query.text("uri").ok_or_else(|| Problem::new("missing", "Field required").at(["query", "uri"]))?;
    page_of(&mut *app.pages().await?, uri, choice).await
}

type Choice = (Page, Option<CheckOutcome>);

fn choice(query: &mut Query) -> Result<Choice, Refusal> {
    let page = Page::of(query);
    query.finish()?;
    Ok((page, words(query, "outcome", ("outcome", OUTCOMES))?.pop()))
}

async fn page_of(db: &mut PgConnection, uri: &str, (page, outcome): Choice) -> Result<Json<CheckPage>, Refusal> {
    let rows = checks_of_asset(db, uri, outcome, (page.offset, page.limit)).await?;
    let total_entries = match page.total(rows.len()) {
        Some(total) => total,
        None => count_checks(db, uri, outcome).await?,
    };
    Ok(Json(CheckPage { checks: rows.into_iter().map(CheckView::from).collect(), total_entries }))
}
