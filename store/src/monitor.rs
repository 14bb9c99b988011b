//! Statistics of the whole installation, aggregated by SQL: ingested rows, outcomes of runs, results of data checks,
//! and alerts.

use crate::{StoreResult, boxed};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hour {
    pub hour: DateTime<Utc>,
    /// Number of rows that tasks wrote into assets. Tasks that report no row count are not included.
    pub rows: i64,
    /// Number of records that streams published.
    pub records: i64,
    pub quarantined: i64,
    pub failed: i64,
}

/// Returns statistics per hour since `since`, oldest first. The last entry is the current hour, which is incomplete.
#[boxed]
pub async fn hours(db: &mut PgConnection, since: DateTime<Utc>) -> StoreResult<Vec<Hour>> {
    // Also read runs created up to 7 days earlier, because a run may fail long after it was created.
    let made = first_id(since - TimeDelta::days(7));
    Ok(sqlx::query_file_as!(Hour, "queries/monitor/hours.sql", since, made).fetch_all(db).await?)
}

/// Outcomes of the runs of a DAG in one week.
#[derive(Debug, Clone, PartialEq)]
pub struct DagWeek {
    pub dag_id: String,
    /// Start of the week (Monday).
    pub week: DateTime<Utc>,
    /// Number of runs that ended in this week.
    pub runs: i64,
    pub failed: i64,
    /// Number of runs that missed a deadline of their DAG.
    pub late: i64,
    /// 95th percentile of run durations, in seconds.
    pub p95_seconds: f64,
}

/// Returns weekly statistics since `since` for the DAGs with the most failed and late runs. The entries of a DAG are
/// adjacent, oldest week first.
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

/// Returns weekly results of data checks since `since`, oldest week first.
#[boxed]
pub async fn check_weeks(db: &mut PgConnection, since: DateTime<Utc>) -> StoreResult<Vec<CheckWeek>> {
    Ok(sqlx::query_file_as!(CheckWeek, "queries/monitor/checks.sql", since).fetch_all(db).await?)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertCount {
    pub kind: String,
    pub alerts: i64,
    /// Number of alerts that could not be delivered.
    pub lost: i64,
    pub last: DateTime<Utc>,
}

/// Returns the numbers of alerts by kind since `since`, the most frequent kind first.
#[boxed]
pub async fn alert_counts(db: &mut PgConnection, since: DateTime<Utc>) -> StoreResult<Vec<AlertCount>> {
    Ok(sqlx::query_file_as!(AlertCount, "queries/monitor/alerts.sql", since).fetch_all(db).await?)
}

/// Start of a task instance, for statistics about queueing delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Time at which the instance became claimable.
    pub ready_at: DateTime<Utc>,
    pub started_at: DateTime<Utc>,
    /// End time of the instance, or `None` while it runs.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Returns instance starts in runs created since `since`, newest runs first.
#[boxed]
pub async fn starts(db: &mut PgConnection, since: DateTime<Utc>, most: i64) -> StoreResult<Vec<Start>> {
    Ok(sqlx::query_file_as!(Start, "queries/monitor/starts.sql", first_id(since), most).fetch_all(db).await?)
}

/// Returns the lowest possible id of a run created at or after `since`. Run ids are UUIDs v7, which begin with the
/// creation time.
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
