//! Statistics of the whole installation, aggregated in the database: ingested rows, outcomes of runs, results of checks
//! and sent alerts.

use crate::{StoreResult, boxed};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hour {
    pub hour: DateTime<Utc>,
    /// Rows that tasks wrote into assets, as far as the tasks report them.
    pub rows: i64,
    /// Records that streams published.
    pub records: i64,
    pub quarantined: i64,
    pub failed: i64,
}

/// Returns the hours since `since`, the oldest first. The last one is the current hour.
#[boxed]
pub async fn hours(db: &mut PgConnection, since: DateTime<Utc>) -> StoreResult<Vec<Hour>> {
    // A run may have been created long before it fails.
    let made = first_id(since - TimeDelta::days(7));
    Ok(sqlx::query_file_as!(Hour, "queries/monitor/hours.sql", since, made).fetch_all(db).await?)
}

/// Outcomes of the runs of a DAG in one week.
#[derive(Debug, Clone, PartialEq)]
pub struct DagWeek {
    pub dag_id: String,
    /// Monday of the week.
    pub week: DateTime<Utc>,
    /// Runs that ended.
    pub runs: i64,
    pub failed: i64,
    /// Runs that missed a deadline of their DAG.
    pub late: i64,
    /// 95th percentile of the durations, in seconds.
    pub p95_seconds: f64,
}

/// Returns the weeks since `since` of the DAGs with the most failed and late runs. The weeks of a DAG are adjacent, the
/// oldest first.
#[boxed]
pub async fn dag_weeks(db: &mut PgConnection, since: DateTime<Utc>, dags: i64) -> StoreResult<Vec<DagWeek>> {
    Ok(sqlx::query_file_as!(DagWeek, "queries/monitor/levels.sql", first_id(since), dags).fetch_all(db).await?)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckWeek {
    pub week: DateTime<Utc>,
    pub checks: i64,
    pub failed: i64,
    pub quarantined: i64,
}

/// Returns the weeks since `since`, the oldest first.
#[boxed]
pub async fn check_weeks(db: &mut PgConnection, since: DateTime<Utc>) -> StoreResult<Vec<CheckWeek>> {
    Ok(sqlx::query_file_as!(CheckWeek, "queries/monitor/checks.sql", since).fetch_all(db).await?)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertCount {
    pub kind: String,
    pub alerts: i64,
    /// Alerts that could not be delivered.
    pub lost: i64,
    pub last: DateTime<Utc>,
}

/// Returns the counts since `since`, the most frequent kind first.
#[boxed]
pub async fn alert_counts(db: &mut PgConnection, since: DateTime<Utc>) -> StoreResult<Vec<AlertCount>> {
    Ok(sqlx::query_file_as!(AlertCount, "queries/monitor/alerts.sql", since).fetch_all(db).await?)
}

/// A task instance that has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Time from which a worker could have started the instance.
    pub ready_at: DateTime<Utc>,
    pub started_at: DateTime<Utc>,
    /// `None` while the instance runs.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Returns the starts in runs created since `since`, the newest runs first.
#[boxed]
pub async fn starts(db: &mut PgConnection, since: DateTime<Utc>, most: i64) -> StoreResult<Vec<Start>> {
    Ok(sqlx::query_file_as!(Start, "queries/monitor/starts.sql", first_id(since), most).fetch_all(db).await?)
}

/// Returns the lowest id of a run created at `since` or later. Ids (UUID v7) begin with the creation time.
fn first_id(since: DateTime<Utc>) -> Uuid {
    Uuid::from_u128(u128::from(since.timestamp_millis().max(0).cast_unsigned()) << 80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf::Leaf;

    #[test]
    fn ids_of_runs_are_later_than_the_first_of_their_time() {
        let now = Leaf::moment(Uuid::now_v7());
        assert!(first_id(now - TimeDelta::seconds(1)) < Uuid::now_v7());
        assert_eq!(Leaf::moment(first_id(now)), now);
    }
}
