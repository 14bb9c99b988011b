//! `/api/orch/v1/quality`: how good the data is, over all assets that somebody made promises about; the worst first.

use super::list::asked;
use crate::extract::Query;
use crate::pages::quality::{Quality, quality};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_spec::asset::CheckOutcome;
use orch_store::asset::{Finding, QualitySummary, looks_at};
use orch_store::list::Filter::{Is, Pattern, Prefix, Range};
use orch_store::list::{Cell, Column, ListPage, Words};
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashMap;

/// Assets among which the list looks.
const MOST: i64 = 5_000;
/// Results of each that its history is made of.
const RESULTS: i64 = 600;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QualityReport {
    assets: Vec<QualityView>,
    total_entries: i64,
}

/// An asset: how fresh it is, and what contracts found of it.
#[derive(Debug, Serialize, JsonSchema)]
struct QualityView {
    uri: String,
    name: String,
    /// None: no DAG names it.
    asset_id: Option<i32>,
    /// It is stale, or the newest look found something that may not be.
    in_trouble: bool,
    fresh_within_seconds: Option<i64>,
    stale_since: Option<Timestamp>,
    last_update: Option<Timestamp>,
    /// The worst of the newest look: `pass`, `warn`, `quarantined` or `fail`; none: no contract has looked.
    outcome: Option<String>,
    /// Newest first.
    looks: Vec<LookView>,
    /// What the newest look found wrong.
    findings: Vec<FindingView>,
}

/// What one try of a task found.
#[derive(Debug, Serialize, JsonSchema)]
struct LookView {
    at: Timestamp,
    dag_id: String,
    dag_run_id: String,
    task_id: String,
    map_index: i32,
    try_number: i16,
    outcome: String,
    checks: i64,
    failed: i64,
    warned: i64,
    quarantined: i64,
    /// At least so many rows were put aside.
    rows_aside: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct FindingView {
    name: String,
    kind: String,
    outcome: String,
    rows: u64,
    rows_bad: u64,
    sample: String,
}

const OUTCOMES: Words = Words { noun: "outcome", words: CheckOutcome::WORDS };

pub(crate) const COLUMNS: &[Column] = &[
    Column::text("uri", "").by(&[Is, Pattern, Prefix]).about("With that URI").sorted(),
    Column::text("name", "").by(&[Is, Pattern, Prefix]).about("Of that name").sorted(),
    Column::flag("in_trouble", "").about("Only assets in trouble, or only others"),
    Column::words("outcome", "", OUTCOMES).by(&[Is]).about("The newest look ended so").sorted(),
    Column::moment("last_update", "").by(&[Range]).sorted(),
];

impl QualityView {
    fn cell(&self, column: &Column) -> Cell<'_> {
        match column.name {
            "uri" => self.uri.as_str().into(),
            "name" => self.name.as_str().into(),
            "in_trouble" => Cell::Flag(self.in_trouble),
            "outcome" => self.outcome.as_deref().into(),
            "last_update" => self.last_update.map(|at| at.0).into(),
            _ => Cell::Nothing,
        }
    }
}

impl From<Quality> for QualityView {
    fn from(one: Quality) -> Self {
        QualityView {
            in_trouble: one.is_in_trouble(),
            outcome: one.outcome().map(|outcome| outcome.to_string()),
            fresh_within_seconds: one.asset.fresh_within_ms.map(|ms| ms / 1_000),
            stale_since: one.asset.stale_since.map(Timestamp),
            last_update: one.asset.last_event_at.map(Timestamp),
            uri: one.asset.uri,
            name: one.asset.name,
            asset_id: one.asset.asset,
            looks: one.looks.into_iter().map(LookView::from).collect(),
            findings: one.findings.into_iter().map(FindingView::from).collect(),
        }
    }
}

impl From<QualitySummary> for LookView {
    fn from(look: QualitySummary) -> Self {
        LookView {
            outcome: look.outcome().to_string(),
            at: Timestamp(look.at),
            dag_id: look.dag_id,
            dag_run_id: look.run_id,
            task_id: look.task_id,
            map_index: look.map_index,
            try_number: look.try_no,
            checks: look.checks,
            failed: look.failed,
            warned: look.warned,
            quarantined: look.quarantined,
            rows_aside: look.rows_aside,
        }
    }
}

impl From<Finding> for FindingView {
    fn from(Finding { check, .. }: Finding) -> Self {
        FindingView {
            outcome: check.result.outcome.to_string(),
            name: check.result.name,
            kind: check.result.kind,
            rows: check.result.rows,
            rows_bad: check.result.bad,
            sample: check.result.sample,
        }
    }
}

/// The worst first, if nothing else is said. Of all assets the newest look is read, and the others only of those on the page.
pub(crate) async fn report(State(app): State<App>, mut query: Query) -> Result<Json<QualityReport>, Refusal> {
    let search = asked(&mut query, COLUMNS)?;
    let mut db = app.pages().await?;
    let all = quality(&mut db, MOST, RESULTS, 1).await?;
    let all: Vec<QualityView> = all.into_iter().map(QualityView::from).collect();
    let ListPage { rows: mut assets, total: total_entries } = search.pick(all, QualityView::cell);
    let uris: Vec<String> = assets.iter().map(|asset| asset.uri.clone()).collect();
    let mut looks: HashMap<String, Vec<LookView>> = HashMap::new();
    for look in looks_at(&mut db, &uris, RESULTS, RESULTS).await? {
        looks.entry(look.uri.clone()).or_default().push(look.into());
    }
    for asset in &mut assets {
        asset.looks = looks.remove(&asset.uri).unwrap_or_default();
    }
    Ok(Json(QualityReport { assets, total_entries }))
}
