//! `/api/orch/v1/quality`: the data quality of all assets that have a contract or a freshness promise, worst first.

use super::list::asked;
use crate::extract::Query;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_spec::asset::CheckOutcome;
use orch_store::StoreResult;
use orch_store::asset::{Finding, QualitySummary, WatchedAsset, looks_at, newest_findings, watched_assets};
use orch_store::list::Filter::{Is, Pattern, Prefix, Range};
use orch_store::list::{Cell, Column, ListPage, Words};
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;
use std::collections::HashMap;

/// Maximum number of assets that are considered.
pub(crate) const MOST: i64 = 5_000;
/// Maximum number of check results in the history of an asset.
pub(crate) const RESULTS: i64 = 600;

pub(crate) struct Quality {
    pub(crate) asset: WatchedAsset,
    /// The latest check.
    pub(crate) look: Option<QualitySummary>,
    pub(crate) findings: Vec<Finding>,
}

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

impl Quality {
    pub(crate) fn outcome(&self) -> Option<CheckOutcome> {
        self.look.as_ref().map(QualitySummary::outcome)
    }

    pub(crate) fn is_in_trouble(&self) -> bool {
        self.asset.stale_since.is_some() || self.outcome() == Some(CheckOutcome::Fail)
    }

    /// Returns the sort rank, worst first: 0 for a failure or a stale asset, 1 for warnings and quarantined rows, 2
    /// otherwise.
    pub(crate) fn rank(&self) -> u8 {
        match self.outcome() {
            _ if self.is_in_trouble() => 0,
            Some(CheckOutcome::Quarantined | CheckOutcome::Warn) => 1,
            _ => 2,
        }
    }

    pub(crate) fn cell(&self, column: &Column) -> Cell<'_> {
        match column.name {
            "uri" => self.asset.uri.as_str().into(),
            "name" => self.asset.name.as_str().into(),
            "in_trouble" => Cell::Flag(self.is_in_trouble()),
            "outcome" => self.outcome().map(|outcome| outcome.to_string()).into(),
            "last_update" => self.asset.last_event_at.into(),
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
            looks: Vec::new(),
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

/// Returns the quality of all assets, worst first. Uses three statements, independent of the number of assets.
pub(crate) async fn quality(db: &mut PgConnection, most: i64) -> StoreResult<Vec<Quality>> {
    let assets = watched_assets(db, most).await?;
    let uris: Vec<String> = assets.iter().map(|asset| asset.uri.clone()).collect();
    let looks = looks_at(db, &uris, RESULTS, 1).await?;
    let mut looks: HashMap<String, QualitySummary> = looks.into_iter().map(|look| (look.uri.clone(), look)).collect();
    let mut findings: HashMap<String, Vec<Finding>> = HashMap::new();
    for finding in newest_findings(db, &uris).await? {
        findings.entry(finding.uri.clone()).or_default().push(finding);
    }
    let mut all: Vec<Quality> = assets
        .into_iter()
        .map(|asset| Quality {
            look: looks.remove(&asset.uri),
            findings: findings.remove(&asset.uri).unwrap_or_default(),
            asset,
        })
        .collect();
    all.sort_by_key(Quality::rank);
    Ok(all)
}

/// Lists the quality of assets, by default worst first. The full history is read only for the assets on the page.
pub(crate) async fn report(State(app): State<App>, mut query: Query) -> Result<Json<QualityReport>, Refusal> {
    let search = asked(&mut query, COLUMNS)?;
    let mut db = app.pages().await?;
    let ListPage { rows, total: total_entries } = search.pick(quality(&mut db, MOST).await?, Quality::cell);
    let mut assets: Vec<QualityView> = rows.into_iter().map(QualityView::from).collect();
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
