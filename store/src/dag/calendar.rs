//! How the runs of a DAG went, day by day.

use crate::{StoreResult, boxed, run};
use chrono::{DateTime, NaiveDate, Utc};
use orch_spec::state::RunState;
use sqlx::postgres::PgConnection;

/// Runs of a day in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayRuns {
    /// The date that they are about, in UTC: it is in the ids of runs too.
    pub day: NaiveDate,
    pub state: RunState,
    pub runs: i64,
}

/// Of the newest `most` runs that began since then.
#[boxed]
pub async fn runs_by_day(
    db: &mut PgConnection,
    dag_id: &str,
    since: DateTime<Utc>,
    most: i64,
) -> StoreResult<Vec<DayRuns>> {
    let rows = sqlx::query!(
        r#"select (coalesce(logical_date, run_after) at time zone 'UTC')::date as "day!", state::text as "state!", count(*) as "runs!"
        from (select logical_date, run_after, state from dag_run where dag_id = $1 and run_after >= $2 order by run_after desc limit $3) newest
        group by 1, 2 order by 1, 2"#,
        dag_id,
        since,
        most
    );
    let rows = rows.fetch_all(db).await?;
    rows.into_iter().map(|row| Ok(DayRuns { day: row.day, state: run::word(&row.state)?, runs: row.runs })).collect()
}
