//! Ends a run before its tasks are done, because a user cancels or marks the run or because its timeout has passed.
//! Running instances lose their leases immediately and their workers receive stop orders. All other unfinished
//! instances are skipped.

use super::insert::{Decided, put_reasons};
use super::quiet::{OpenInstance, quiet};
use super::skipped::{Rest, skip_rest};
use crate::{
    StoreError, StoreResult,
    alert::add_alerts,
    boxed,
    dag::pause_after_failures,
    locks::{Locks, Runs},
    parked::unpark,
    refold::fold_loading,
    run_lock,
    version::Versions,
};
use orch_core::alert::{of_run, of_timed_out_run};
use orch_core::plan::TaskIdx;
use orch_core::run::{LEDGER_FORMAT, Run};
use orch_core::transition::{Effects, RunEnd, end_run as end_ledger};
use orch_spec::state::RunState;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndRun {
    Ended(RunState),
    /// The run had already finished, in this state.
    AlreadyOver(RunState),
    NoSuchRun,
}

/// Cancels a run, which ends as failed. The caller must have locked the DAG. Afterwards it sends `Hint::Stop` and
/// `Hint::Run`, and starts queued runs of the DAG.
#[boxed]
pub async fn cancel_run(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &mut Versions,
    run: Uuid,
) -> StoreResult<EndRun> {
    end(db, locks, versions, run, RunEnd::Failed, "cancelled").await
}

/// Ends a run as failed because its timeout has passed. Its unfinished tasks are skipped and do not count as failed.
#[boxed]
pub async fn time_out_run(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &mut Versions,
    run: Uuid,
) -> StoreResult<EndRun> {
    end(db, locks, versions, run, RunEnd::TimedOut, "timed_out").await
}

/// Marks a run as succeeded or failed, even if it has already finished.
#[boxed]
pub async fn set_run_state(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &mut Versions,
    run: Uuid,
    to: RunEnd,
) -> StoreResult<EndRun> {
    let ended = end(db, locks, versions, run, to, "marked").await?;
    match ended {
        EndRun::AlreadyOver(state) if state != to.run_state() => {
            sqlx::query!(
                "update dag_run set rev = rev + 1, state = $2::text::run_state
                where id = $1 and state in ('success', 'failed')",
                run,
                to.run_state().as_str()
            )
            .execute(db)
            .await?;
            Ok(EndRun::Ended(to.run_state()))
        }
        _ => Ok(ended),
    }
}

/// Maximum number of attempts to end a run. A deadlock with a concurrent claim is possible, and Postgres then aborts
/// one of the two transactions.
const TRIES: usize = 5;

async fn end(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &mut Versions,
    run: Uuid,
    end: RunEnd,
    why: &'static str,
) -> StoreResult<EndRun> {
    for _ in 1..TRIES {
        match try_end(db, locks, versions, run, end, why).await {
            Err(StoreError::TryAgain(_)) => {}
            done => return done,
        }
    }
    try_end(db, locks, versions, run, end, why).await
}

async fn try_end(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &mut Versions,
    run: Uuid,
    end: RunEnd,
    why: &'static str,
) -> StoreResult<EndRun> {
    let mut tx = db.begin().await?;
    let Some(mut locked) = run_lock::lock(&mut tx, locks, run).await? else { return Ok(EndRun::NoSuchRun) };
    if locked.is_over() {
        tx.rollback().await?;
        return Ok(EndRun::AlreadyOver(locked.ledger.state));
    }
    let at_rest = quiet(&mut tx, &locked.lock).await?;
    let (late, fold_xmin) = run_lock::take_unfolded(&mut tx, run).await?;
    locked.events.extend(late);
    locked.fold_xmin = locked.fold_xmin.max(fold_xmin);
    let version = versions.get(&mut tx, locked.version).await?;
    if locked.readable(&version.plan).is_err() {
        // The stored state of the run cannot be read, so the run is parked. Use an empty state so that users can still
        // end it.
        locked.ledger = Run { state: locked.ledger.state, ..Run::new(&version.plan) };
        locked.events.clear();
    }
    let (ledger, effects) = if locked.events.is_empty() {
        (locked.ledger, Effects::default())
    } else {
        fold_loading(&mut tx, &version, run, &locked.ledger, &locked.events).await?
    };
    let over = ledger.state.is_finished();
    let ended = if over {
        ledger
    } else {
        let running: Vec<(TaskIdx, i32)> =
            at_rest.open.iter().filter(|o| o.running).map(|o| (o.task as TaskIdx, o.map_index)).collect();
        let rest = Rest::new(&version.plan, &ledger);
        end_instances(&mut tx, run, locked.rev + 1, end).await?;
        order_stop(&mut tx, run, &at_rest.open, why).await?;
        free_slots(&mut tx, run).await?;
        put_decided(&mut tx, run, &Decided::new(&effects.decided)).await?;
        skip_rest(&mut tx, run, locked.rev + 1, &rest).await?;
        end_ledger(&version.plan, &ledger, &running, end)
    };
    if over {
        put_decided(&mut tx, run, &Decided::new(&effects.decided)).await?;
    }
    put_reasons(&mut tx, &[run], &effects.reasons).await?;
    write(&mut tx, run, &ended, locked.fold_xmin).await?;
    if locked.parked {
        unpark(&mut tx, run).await?;
    }
    if !over && end == RunEnd::TimedOut {
        record_timeout(&mut tx, run).await?;
    }
    // If a user ends the run, the user knows, so no alerts are needed. A timeout needs alerts, and so does a run that
    // had already finished when its last outcomes were folded.
    if over || end == RunEnd::TimedOut {
        if ended.state == RunState::Failed {
            pause_after_failures(&mut tx, &version.dag_id).await?;
        }
        let (spec, rev) = (&version.plan.spec, locked.rev + 1);
        let alerts = if over { of_run(spec, run, rev, ended.state) } else { of_timed_out_run(spec, run, rev) };
        add_alerts(&mut tx, Some(run), &alerts).await?;
    }
    tx.commit().await?;
    Ok(if over { EndRun::AlreadyOver(ended.state) } else { EndRun::Ended(ended.state) })
}

/// Writes an audit log entry for a timeout. If a user ends the run, the caller writes the entry.
async fn record_timeout(db: &mut PgConnection, run: Uuid) -> StoreResult<()> {
    sqlx::query!(
        "insert into audit (actor, event, dag_id, run_id)
        select 'scheduler', 'time_out_dag_run', dag_id, run_id from dag_run where id = $1",
        run
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Ends all unfinished instances whose row has a state. Increments their lease numbers, so that outcomes which arrive
/// late are rejected.
async fn end_instances(db: &mut PgConnection, run: Uuid, rev: i32, end: RunEnd) -> StoreResult<()> {
    sqlx::query!(
        "update task_instance set lease_no = lease_no + 1, ended_at = now(), rev_end = $2,
          state = case when state in ('running', 'restarting') then $3::text else 'skipped' end::task_state
        where run = $1 and state not in ('success', 'failed', 'skipped', 'upstream_failed', 'removed')",
        run,
        rev,
        end.running_state().as_str()
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn order_stop(db: &mut PgConnection, run: Uuid, open: &[OpenInstance], why: &str) -> StoreResult<()> {
    let running: Vec<(&OpenInstance, i32)> =
        open.iter().filter(|o| o.running).filter_map(|o| Some((o, o.worker?))).collect();
    if running.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into stop_order (worker, run, task, map_index, attempt, why)
        select s.worker, $1, s.task, s.map_index, s.attempt, $2
        from unnest($3::integer[], $4::smallint[], $5::integer[], $6::uuid[]) as s (worker, task, map_index, attempt)",
        run,
        why,
        &running.iter().map(|r| r.1).collect::<Vec<_>>(),
        &running.iter().map(|r| r.0.task).collect::<Vec<_>>(),
        &running.iter().map(|r| r.0.map_index).collect::<Vec<_>>(),
        &running.iter().map(|r| r.0.attempt).collect::<Vec<_>>()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Releases the pool slots of an ended run. A running instance keeps its slots until its worker confirms that it has
/// stopped (`queries/worker/heartbeat.sql`).
async fn free_slots(db: &mut PgConnection, run: Uuid) -> StoreResult<()> {
    sqlx::query!(
        "delete from slot s where run = $1 and not exists (select from stop_order o where o.attempt = s.attempt)",
        run
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn put_decided(db: &mut PgConnection, run: Uuid, decided: &Decided) -> StoreResult<()> {
    if decided.task.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into task_instance (run, task, map_index, attempt, try_no, max_tries, lease_no, state, ended_at)
        select $1, d.task, d.map_index, gen_random_uuid(), 0, 0, 0, d.state::task_state, now()
        from unnest($2::smallint[], $3::integer[], $4::text[]) as d (task, map_index, state)
        on conflict (run, task, map_index) do update set state = excluded.state, ended_at = excluded.ended_at, worker = null",
        run,
        &decided.task,
        &decided.map_index,
        &decided.state
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn write(db: &mut PgConnection, run: Uuid, ended: &Run, fold_xmin: u64) -> StoreResult<()> {
    sqlx::query!(
        "update dag_run set rev = rev + 1, state = $2::text::run_state, ledger = $3, counters = $4, ended_at = now(),
          ledger_format = $6, fold_xmin = greatest(fold_xmin::text::bigint, $5)::text::xid8 where id = $1",
        run,
        ended.state.as_str(),
        &ended.ledger,
        &ended.counters,
        fold_xmin as i64,
        LEDGER_FORMAT
    )
    .execute(db)
    .await?;
    Ok(())
}
