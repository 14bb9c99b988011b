//! Parked runs: runs that cannot advance because their stored state cannot be read or their next state cannot be
//! written. A run is parked so that other runs can continue, and it is shown to users. Schedulers retry parked runs
//! periodically; a retry that succeeds ends the parking.

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use std::time::Duration;
use uuid::Uuid;

/// Interval between retries of a parked run. A retry can succeed after a user has repaired the run, or on a scheduler
/// that is newer than the one that parked the run.
pub(crate) const TRY_AGAIN_AFTER: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedRun {
    pub dag_id: String,
    pub run_id: String,
    pub why: String,
    pub since: DateTime<Utc>,
}

/// Parks a run with an error message, or replaces the message if the run is already parked. Does nothing if the run no
/// longer exists.
#[boxed]
pub async fn park(db: &mut PgConnection, run: Uuid, why: &str) -> StoreResult<()> {
    let why = orch_spec::text::Text::bounded(why, 2_000).into_string();
    tracing::error!(%run, why, "the run is parked: it cannot be moved on\nhint: `orch doctor` names it");
    sqlx::query!(
        "insert into parked_run (run, why) select id, $2::text from dag_run where id = $1
        on conflict (run) do update set why = excluded.why, tried_at = now()",
        run,
        why
    )
    .execute(db)
    .await?;
    Ok(())
}

pub(crate) async fn unpark(db: &mut PgConnection, run: Uuid) -> StoreResult<()> {
    sqlx::query!("delete from parked_run where run = $1", run).execute(db).await?;
    Ok(())
}

/// Returns at most `most` parked runs, starting with the run that has been parked for the longest time.
#[boxed]
pub async fn parked_runs(db: &mut PgConnection, most: i64) -> StoreResult<Vec<ParkedRun>> {
    let runs = sqlx::query_as!(
        ParkedRun,
        "select r.dag_id, r.run_id, p.why, p.parked_at as since from parked_run p join dag_run r on r.id = p.run
        order by p.parked_at limit $1",
        most
    );
    Ok(runs.fetch_all(db).await?)
}

#[boxed]
pub async fn parked_run(db: &mut PgConnection, run: Uuid) -> StoreResult<Option<ParkedRun>> {
    let parked = sqlx::query_as!(
        ParkedRun,
        "select r.dag_id, r.run_id, p.why, p.parked_at as since from parked_run p join dag_run r on r.id = p.run where r.id = $1",
        run
    );
    Ok(parked.fetch_optional(db).await?)
}
