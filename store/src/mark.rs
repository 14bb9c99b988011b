//! Somebody says how an instance ended. In flight it is fenced and its worker told; not begun it does not begin; over it
//! counts as told, and the run is asked anew how it ended.

mod again;

pub use again::ask_again;

use crate::{
    StoreError, StoreResult, boxed,
    refold::{Keep, carry_out, fold_loading, fold_run},
    run_lock,
    step::{Mode, Stepper, WorkerStep},
    version::Versions,
};
use chrono::{DateTime, Utc};
use orch_core::plan::TaskIdx;
use orch_core::transition::{Event, Stood};
use orch_spec::state::{RunState, TaskState};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// What became of a wish to mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It was that before.
    Marked(TaskState),
    /// It is so already.
    Same,
    /// Its run has not begun, or the list it is mapped over is not known yet: there is nothing to tell of.
    NotYet,
    NoSuchInstance,
}

/// What there is of an instance.
struct MarkableInstance {
    /// It was queued or waited for a time; it does not any more.
    waited: bool,
    /// A limit kept it aside; it does not any more.
    held: bool,
    /// `None`: it has no row, or was cleared.
    state: Option<TaskState>,
    /// The try that is marked, when that of the row is history or will be: it was to begin anew.
    next: Option<NextTry>,
}

/// A try that had not begun.
struct NextTry {
    attempt: Uuid,
    try_no: i16,
    max_tries: Option<i16>,
    queued_at: Option<DateTime<Utc>>,
}

/// How often somebody may claim or wake an instance while it is looked at.
const LOOKS: usize = 20;

/// Marks one instance as succeeded, failed or skipped. The caller gives `Hint::Ready`, `Hint::Run` and `Hint::Stop`, and
/// begins queued runs of the DAG. The task has its place in `version`; without one in that of the run, whichever that is.
#[boxed]
pub async fn mark_instance(
    db: &mut PgConnection,
    versions: &mut Versions,
    (run, version): (Uuid, Option<i32>),
    instance: (TaskIdx, i32),
    to: TaskState,
) -> StoreResult<Mark> {
    for _ in 0..LOOKS {
        // First all that it has not heard of.
        if fold_run(db, &mut Stepper::default(), versions, run, 0, Keep::NOTHING).await?.is_none() {
            return Ok(Mark::NoSuchInstance);
        }
        match try_mark(db, versions, (run, version), instance, to).await {
            Ok(Some(done)) => return Ok(done),
            // Somebody was faster.
            Ok(None) | Err(StoreError::TryAgain(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::TryAgain(sqlx::Error::RowNotFound))
}

async fn try_mark(
    db: &mut PgConnection,
    versions: &mut Versions,
    of: (Uuid, Option<i32>),
    instance: (TaskIdx, i32),
    to: TaskState,
) -> StoreResult<Option<Mark>> {
    let mut tx = db.begin().await?;
    let done = mark_locked(&mut tx, versions, of, instance, to).await?;
    // At once: others wait for the run's lock.
    match done {
        Some(Mark::Marked(_)) => tx.commit().await?,
        _ => tx.rollback().await?,
    }
    Ok(done)
}

async fn mark_locked(
    db: &mut PgConnection,
    versions: &mut Versions,
    (run, version): (Uuid, Option<i32>),
    (task, map_index): (TaskIdx, i32),
    to: TaskState,
) -> StoreResult<Option<Mark>> {
    let Some(locked) = run_lock::lock(db, run).await? else { return Ok(Some(Mark::NoSuchInstance)) };
    if version.is_some_and(|meant| meant != locked.version) {
        return Err(StoreError::OtherVersion);
    }
    let is_over = locked.is_over();
    if !is_over && !locked.events.is_empty() {
        return Ok(None);
    }
    let version = versions.get(db, locked.version).await?;
    locked.readable(&version.plan)?;
    let at = locked.at(run);
    let (plan, mut ledger) = (&version.plan, locked.ledger);
    let elements = plan.tasks.get(usize::from(task)).map(|planned| ledger.len(planned).filter(|&len| len > 0));
    let there = match elements {
        None => false,
        Some(None) => map_index == -1,
        Some(Some(len)) => (0..len).contains(&map_index),
    };
    if !there {
        return Ok(Some(Mark::NoSuchInstance));
    }
    if ledger.state == RunState::Queued {
        return Ok(Some(Mark::NotYet));
    }
    let Some(found) = take(db, run, task, map_index).await? else { return Ok(None) };
    let was = match found.state {
        _ if found.waited => TaskState::Queued,
        _ if found.held => TaskState::Scheduled,
        Some(state) => state,
        None => ledger.without_a_row(plan, task, map_index),
    };
    // Nobody knows how many elements it has.
    if found.state.is_none() && map_index < 0 && plan.task(task).map.is_some() {
        return Ok(Some(Mark::NotYet));
    }
    if was == to {
        return Ok(Some(Mark::Same));
    }
    ledger.state = RunState::Running;
    let in_flight = found.waited || matches!(was, TaskState::Running | TaskState::Restarting);
    let stood = match found.held {
        true => Stood::Held,
        false if in_flight => Stood::InFlight,
        false => Stood::Nowhere,
    };
    let event = Event::Marked { task, index: map_index, state: to, stood };
    // Before the row is told: what it was is asked of it.
    let (marked, effects) = fold_loading(db, &version, run, &ledger, &[event]).await?;
    if is_over {
        revive(db, run).await?;
    }
    if let Some(next) = &found.next {
        begin_anew(db, run, (task, map_index), next).await?;
    }
    write(db, run, (task, map_index), to, locked.rev + 1).await?;
    let mut step =
        WorkerStep { mode: Mode::Locked { fold_xmin: locked.fold_xmin }, cleared: true, ..WorkerStep::default() };
    carry_out(&mut step, &version, at, marked, effects, Keep::NOTHING);
    Stepper::default().send(db, &step, 0).await?;
    Ok(Some(Mark::Marked(was)))
}

/// Takes the instance away from whoever could claim or wake it, with its slots, and locks its row. Claims and wake-ups do
/// not take the run's lock: `None` when it is just being moved.
async fn take(
    db: &mut PgConnection,
    run: Uuid,
    task: TaskIdx,
    map_index: i32,
) -> StoreResult<Option<MarkableInstance>> {
    let taken = sqlx::query!(
        r#"with rdy as (delete from ready where run = $1 and task = $2 and map_index = $3
          returning attempt, try_no, max_tries, queued_at),
        wai as (delete from waiting where run = $1 and task = $2 and map_index = $3
          returning attempt, try_no, max_tries, null::timestamptz as queued_at),
        hld as (delete from held where run = $1 and task = $2 and map_index = $3
          returning attempt, null::smallint as try_no, max_tries, null::timestamptz as queued_at),
        every as (select true as waited, * from rdy union all select true, * from wai union all select false, * from hld),
        rel as (delete from slot s using every e where s.attempt = e.attempt)
        select waited as "waited!", attempt as "attempt!", try_no, max_tries as "max_tries!", queued_at from every"#,
        run,
        task as i16,
        map_index
    );
    let taken = taken.fetch_optional(&mut *db).await?;
    let row = sqlx::query!(
        r#"select attempt, try_no, state::text, exists (select from attempt past where past.run = t.run and past.task = t.task
            and past.map_index = t.map_index and past.attempt = t.attempt) as "is_past!"
          from task_instance t where run = $1 and task = $2 and map_index = $3 for update"#,
        run,
        task as i16,
        map_index
    );
    let row = row.fetch_optional(&mut *db).await?;
    let state: Option<TaskState> = match row.as_ref().and_then(|row| row.state.as_deref()) {
        Some(word) => Some(crate::run::word(word)?),
        None => None,
    };
    let settled = |state: TaskState| state.is_finished() || matches!(state, TaskState::Running | TaskState::Restarting);
    if taken.is_none() && !state.is_none_or(settled) {
        return Ok(None);
    }
    // A row that was decided after a clear, without a try, still names the try that is history.
    let is_past = row.as_ref().is_some_and(|row| row.is_past);
    let begins_anew = is_past || matches!(state, None | Some(TaskState::Restarting));
    let next = row.filter(|row| row.try_no > 0).and_then(|row| match &taken {
        Some(taken) if taken.attempt == row.attempt => None,
        Some(taken) => Some(NextTry {
            attempt: taken.attempt,
            try_no: taken.try_no.unwrap_or(row.try_no + 1),
            max_tries: Some(taken.max_tries),
            queued_at: taken.queued_at,
        }),
        None => begins_anew.then(|| NextTry {
            attempt: Uuid::new_v4(),
            try_no: row.try_no + 1,
            max_tries: None,
            queued_at: None,
        }),
    });
    let waited = taken.as_ref().is_some_and(|taken| taken.waited);
    Ok(Some(MarkableInstance { waited, held: taken.is_some() && !waited, state, next }))
}

/// The row becomes that of the next try, which never began. What was cleared while it ran is history only from now on, and
/// its worker still has to stop it.
async fn begin_anew(
    db: &mut PgConnection,
    run: Uuid,
    (task, map_index): (TaskIdx, i32),
    next: &NextTry,
) -> StoreResult<()> {
    sqlx::query!(
        "with was as (
          select * from task_instance where run = $1 and task = $2 and map_index = $3
        ),
        hist as (
          insert into attempt (run, attempt, map_index, worker, rev_ready, rev_end, task, try_no, max_tries, lease_no,
            lost_no, state, queued_at, started_at, ended_at)
          select run, attempt, map_index, worker, rev_ready, rev_end, task, try_no, max_tries, lease_no, lost_no, state,
            queued_at, started_at, coalesce(ended_at, now())
          from was where state = 'restarting' on conflict do nothing
        ),
        stopped as (
          insert into stop_order (worker, run, task, map_index, attempt, why)
          select worker, run, task, map_index, attempt, 'marked' from was where state = 'restarting' and worker is not null
        )
        update task_instance set attempt = $4, try_no = $5, max_tries = coalesce($6, max_tries), queued_at = $7,
          worker = null, lost_no = 0, started_at = null, ended_at = null, state = null
        where run = $1 and task = $2 and map_index = $3",
        run,
        task as i16,
        map_index,
        next.attempt,
        next.try_no,
        next.max_tries,
        next.queued_at
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn revive(db: &mut PgConnection, run: Uuid) -> StoreResult<()> {
    sqlx::query!(
        "update dag_run set state = 'running', ended_at = null, clear_number = least(clear_number::integer + 1, 32767) where id = $1",
        run
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The row of the instance, told or made; whoever runs it finds another lease and is told to stop.
async fn write(
    db: &mut PgConnection,
    run: Uuid,
    (task, map_index): (TaskIdx, i32),
    to: TaskState,
    rev: i32,
) -> StoreResult<()> {
    sqlx::query!(
        "with stopped as (
          insert into stop_order (worker, run, task, map_index, attempt, why)
          select worker, run, task, map_index, attempt, 'marked' from task_instance
          where run = $1 and task = $2 and map_index = $3 and state in ('running', 'restarting') and worker is not null
        )
        insert into task_instance (run, task, map_index, attempt, try_no, max_tries, lease_no, state, ended_at, rev_end)
        values ($1, $2, $3, gen_random_uuid(), 0, 0, 0, $4::text::task_state, now(), $5)
        on conflict (run, task, map_index) do update set lease_no = task_instance.lease_no + 1, state = excluded.state,
          ended_at = coalesce(case when task_instance.state in ('running', 'restarting') then null
            else task_instance.ended_at end, excluded.ended_at), rev_end = excluded.rev_end",
        run,
        task as i16,
        map_index,
        to.as_str(),
        rev
    )
    .execute(db)
    .await?;
    Ok(())
}
