//! Pauses, resumes and cancels backfills.

use super::pace::settle;
use crate::{
    StoreResult, boxed,
    locks::{Dags, Locks, lock_dag},
    run::{EndRun, cancel_run, start_queued_runs_of},
    version::Versions,
};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

/// Result of [`cancel_backfill`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelBackfill {
    Cancelled {
        /// Number of dates that will get no run.
        dropped: usize,
        /// Number of runs that the cancellation ended.
        ended: usize,
    },
    /// The backfill had already finished.
    Over,
    NoSuchBackfill,
}

/// Pauses a backfill, so that no more runs are created, or resumes it. Returns false if it does not exist or has
/// finished. The caller sends `Hint::Due` (a wake-up signal).
#[boxed]
pub async fn pause_backfill(db: &mut PgConnection, id: i32, paused: bool) -> StoreResult<bool> {
    let changed = sqlx::query!(
        "update backfill set is_paused = $2, updated_at = case when is_paused = $2 then updated_at else now() end
        where id = $1 and completed_at is null",
        id,
        paused
    );
    Ok(changed.execute(db).await?.rows_affected() > 0)
}

/// Sets the maximum number of active runs of a backfill. Returns false if it does not exist or has finished.
#[boxed]
pub async fn change_max_active_runs(db: &mut PgConnection, id: i32, most: i32) -> StoreResult<bool> {
    let changed = sqlx::query!(
        "update backfill set max_active_runs = $2, updated_at = now() where id = $1 and completed_at is null",
        id,
        most.max(1)
    );
    Ok(changed.execute(db).await?.rows_affected() > 0)
}

/// Ends a backfill in one transaction: dates without a run get none, and queued runs fail. Running runs continue, as in
/// Airflow, unless `stop_running` is set. The caller sends `Hint::Stop` and `Hint::Run` (wake-up signals).
#[boxed]
pub async fn cancel_backfill(
    db: &mut PgConnection,
    locks: Locks<Dags>,
    versions: &mut Versions,
    id: i32,
    stop_running: bool,
) -> StoreResult<CancelBackfill> {
    let mut tx = db.begin().await?;
    let open = sqlx::query!(
        r#"select dag_id, completed_at is null as "open!" from backfill where id = $1 for no key update"#,
        id
    );
    let Some(found) = open.fetch_optional(&mut *tx).await? else { return Ok(CancelBackfill::NoSuchBackfill) };
    if !found.open {
        return Ok(CancelBackfill::Over);
    }
    let dag = lock_dag(&mut tx, locks, &found.dag_id).await?;
    let dropped = sqlx::query!(
        "update backfill_run set state = 'dropped', why = 'the backfill was cancelled'
        where backfill = $1 and state = 'planned'",
        id
    );
    let dropped = dropped.execute(&mut *tx).await?.rows_affected();
    let dropped = usize::try_from(dropped).unwrap_or(usize::MAX);
    let runs = sqlx::query_scalar!(
        "select r.id from backfill_run x join dag_run r on r.id = x.run where x.backfill = $1 and x.state = 'active'
          and (r.state = 'queued' or $2 and r.state = 'running') order by r.id",
        id,
        stop_running
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut ended = 0;
    for &run in &runs {
        ended += usize::from(matches!(cancel_run(&mut tx, dag.runs(), versions, run).await?, EndRun::Ended(_)));
    }
    settle(&mut tx, id).await?;
    sqlx::query!("update backfill set is_cancelled = true, completed_at = now(), updated_at = now() where id = $1", id)
        .execute(&mut *tx)
        .await?;
    if !runs.is_empty() {
        start_queued_runs_of(&mut tx, &dag, versions).await?;
    }
    tx.commit().await?;
    Ok(CancelBackfill::Cancelled { dropped, ended })
}
