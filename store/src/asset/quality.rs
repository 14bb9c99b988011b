//! Data quality of all assets: the newest results of their contracts, and which assets are stale.

use super::check::{Finding, Row};
use crate::{StoreResult, boxed, run};
use chrono::{DateTime, Utc};
use orch_spec::asset::CheckOutcome;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use uuid::Uuid;

/// Maximum number of assets in a response.
const MOST_WATCHED: i64 = 5_000;
/// Maximum number of results that are read per asset. If a contract has more checks, only some of them are shown.
const MOST_RESULTS: i64 = 1_000;
/// Maximum number of results that `findings_since` returns.
const MOST_NEWS: i64 = 500;

/// An asset that has a contract or a promised freshness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedAsset {
    pub uri: String,
    /// Id of the asset. `None` if no DAG uses the URI.
    pub asset: Option<i32>,
    pub name: String,
    pub fresh_within_ms: Option<i64>,
    pub stale_since: Option<DateTime<Utc>>,
    pub last_event_at: Option<DateTime<Utc>>,
}

/// Summary of the check results of one attempt for one asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QualitySummary {
    pub uri: String,
    pub attempt: Uuid,
    pub dag_id: String,
    pub run_id: String,
    pub task_id: String,
    pub map_index: i32,
    pub try_no: i16,
    pub at: DateTime<Utc>,
    pub checks: i64,
    pub failed: i64,
    pub warned: i64,
    pub quarantined: i64,
    /// Lower bound of the number of quarantined rows.
    pub rows_aside: i64,
}

impl QualitySummary {
    /// Returns the worst outcome of the checks.
    pub fn outcome(&self) -> CheckOutcome {
        match (self.failed, self.quarantined, self.warned) {
            (1.., _, _) => CheckOutcome::Fail,
            (_, 1.., _) => CheckOutcome::Quarantined,
            (_, _, 1..) => CheckOutcome::Warn,
            _ => CheckOutcome::Pass,
        }
    }
}

/// Returns at most `most` assets that have a contract or a promised freshness, sorted by URI.
#[boxed]
pub async fn watched_assets(db: &mut PgConnection, most: i64) -> StoreResult<Vec<WatchedAsset>> {
    let most = most.clamp(0, MOST_WATCHED);
    Ok(sqlx::query_file_as!(WatchedAsset, "queries/asset/watched.sql", most).fetch_all(db).await?)
}

/// Returns summaries of the last `most` attempts that checked each of these assets, newest first. Reads only the last
/// `results` results of each asset, so older attempts may be missing.
#[boxed]
pub async fn looks_at(
    db: &mut PgConnection,
    uris: &[String],
    results: i64,
    most: i64,
) -> StoreResult<Vec<QualitySummary>> {
    let results = results.clamp(0, MOST_RESULTS);
    Ok(sqlx::query_file_as!(QualitySummary, "queries/asset/looks.sql", uris, results, most).fetch_all(db).await?)
}

/// Returns the check outcomes of the attempts that [`looks_at`] returns, by URI of the asset.
#[boxed]
pub async fn outcomes_at(
    db: &mut PgConnection,
    uris: &[String],
    results: i64,
    most: i64,
) -> StoreResult<HashMap<String, Vec<CheckOutcome>>> {
    let results = results.clamp(0, MOST_RESULTS);
    let rows = sqlx::query_file!("queries/asset/outcomes.sql", uris, results, most).fetch_all(db).await?;
    let outcomes = |words: Vec<String>| words.iter().map(|word| run::word(word)).collect::<StoreResult<Vec<_>>>();
    rows.into_iter().map(|row| Ok((row.uri, outcomes(row.outcomes)?))).collect()
}

/// Returns, for each of these assets, the checks that did not pass in the newest attempt that checked the asset.
#[boxed]
pub async fn newest_findings(db: &mut PgConnection, uris: &[String]) -> StoreResult<Vec<Finding>> {
    let rows = sqlx::query_file_as!(Row, "queries/asset/findings.sql", uris, MOST_RESULTS).fetch_all(db).await?;
    rows.into_iter().map(Row::finding).collect()
}

/// Returns checks since the given time that did not pass, oldest first. Start the next call slightly earlier than the
/// last result: a row becomes visible when its transaction commits, which is after its timestamp.
#[boxed]
pub async fn findings_since(db: &mut PgConnection, since: DateTime<Utc>) -> StoreResult<Vec<Finding>> {
    let rows = sqlx::query_as!(
        Row,
        "select id, uri, name, kind, policy, outcome, rows, bad, sample, dag_id, run_id, task_id, map_index, try_no, at
        from asset_check where at >= $1 and outcome <> 'pass' order by at, id limit $2",
        since,
        MOST_NEWS
    );
    rows.fetch_all(db).await?.into_iter().map(Row::finding).collect()
}
