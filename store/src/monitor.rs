//! How the whole of it went lately, summed up in the database: what came in, how runs of DAGs ended, what checks found, which
//! alerts were sent.

use crate::{StoreResult, boxed};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// An hour of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hour {
    pub hour: DateTime<Utc>,
    /// That tasks wrote into assets, as far as they say.
    pub rows: i64,
    /// That streams published.
    pub records: i64,
    pub quarantined: i64,
    /// Runs that ended badly.
    pub failed: i64,
}

/// The hours since then, the oldest first, the present one last.
#[boxed]
pub async fn hours(db: &mut PgConnection, since: DateTime<Utc>) -> StoreResult<Vec<Hour>> {
    // A run may have been made long before it fails.
    let made = first_id(since - TimeDelta::days(7));
    Ok(sqlx::query_file_as!(Hour, "queries/monitor/hours.sql", since, made).fetch_all(db).await?)
}

/// How a week of a DAG went.
#[derive(Debug, Clone, PartialEq)]
pub struct DagWeek {
    pub dag_id: String,
    /// Its Monday.
    pub week: DateTime<Utc>,
    /// Those that ended.
    pub runs: i64,
    pub failed: i64,
    /// That were not over by a time that their DAG names.
    pub late: i64,
    /// So long took 19 of 20 at most.
    pub p95_seconds: f64,
}

/// The weeks since then of the DAGs with the most failed and late runs, each DAG's together and the oldest first.
#[boxed]
pub async fn dag_weeks(db: &mut PgConnection, since: DateTime<Utc>, dags: i64) -> StoreResult<Vec<DagWeek>> {
    Ok(sqlx::query_file_as!(DagWeek, "queries/monitor/levels.sql", first_id(since), dags).fetch_all(db).await?)
}

/// What checks found in a week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckWeek {
    pub week: DateTime<Utc>,
    pub checks: i64,
    pub failed: i64,
    pub quarantined: i64,
}

/// The oldest week first.
#[boxed]
pub async fn check_weeks(db: &mut PgConnection, since: DateTime<Utc>) -> StoreResult<Vec<CheckWeek>> {
    Ok(sqlx::query_file_as!(CheckWeek, "queries/monitor/checks.sql", since).fetch_all(db).await?)
}

/// Alerts of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertCount {
    pub kind: String,
    pub alerts: i64,
    /// Could not be delivered.
    pub lost: i64,
    pub last: DateTime<Utc>,
}

/// The most frequent first.
#[boxed]
pub async fn alert_counts(db: &mut PgConnection, since: DateTime<Utc>) -> StoreResult<Vec<AlertCount>> {
    Ok(sqlx::query_file_as!(AlertCount, "queries/monitor/alerts.sql", since).fetch_all(db).await?)
}

/// A task instance that began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// From then on a worker could have begun it.
    pub ready_at: DateTime<Utc>,
    pub started_at: DateTime<Utc>,
    /// None while it runs.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Those of runs that were made since then, of the newest runs first.
#[boxed]
pub async fn starts(db: &mut PgConnection, since: DateTime<Utc>, most: i64) -> StoreResult<Vec<Start>> {
    Ok(sqlx::query_file_as!(Start, "queries/monitor/starts.sql", first_id(since), most).fetch_all(db).await?)
}

/// Runs that were made since then have this id or a later one: it begins with the time (uuid v7).
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
