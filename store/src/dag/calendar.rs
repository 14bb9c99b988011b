//! Counts the runs of a DAG by state and time, for a calendar.

use crate::{StoreResult, boxed, run};
use chrono::{DateTime, Utc};
use orch_spec::state::RunState;
use sqlx::postgres::PgConnection;

/// Number of runs in one state during a quarter of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarterRuns {
    /// Start of the quarter of an hour that contains the logical date of the runs, or their `run_after` if they have
    /// none.
    pub at: DateTime<Utc>,
    pub state: RunState,
    pub runs: i64,
}

/// Counts the newest `most` runs since `since` by quarter of an hour. In every time zone, a day consists of whole
/// quarters.
#[boxed]
pub async fn runs_by_quarter(
    db: &mut PgConnection,
    dag_id: &str,
    since: DateTime<Utc>,
    most: i64,
) -> StoreResult<Vec<QuarterRuns>> {
    let rows = sqlx::query!(
        r#"select date_bin('15 minutes', coalesce(logical_date, run_after), timestamptz '2000-01-01 00:00:00+00') as "at!",
          state::text as "state!", count(*) as "runs!"
        from (select logical_date, run_after, state from dag_run where dag_id = $1 and run_after >= $2 order by run_after desc limit $3) newest
        group by 1, 2 order by 1, 2"#,
        dag_id,
        since,
        most
    );
    let rows = rows.fetch_all(db).await?;
    rows.into_iter().map(|row| Ok(QuarterRuns { at: row.at, state: run::word(&row.state)?, runs: row.runs })).collect()
}
