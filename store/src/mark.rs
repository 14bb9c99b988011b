//! Marks task instances as succeeded, failed or skipped on request of a user. A running instance loses its lease and
//! its worker receives a stop order; an instance that has not started never starts. A finished run keeps its state, as
//! in Airflow.

mod again;

pub use again::ask_again;

use crate::{
    StoreError, StoreResult, boxed,
    locks::{Locks, RunLock, Runs},
    refold::{Keep, carry_out, fold_loading, fold_run},
    run::write_all_skipped,
    run_lock,
    step::{Mode, Stepper, WorkerStep},
    version::Versions,
};
use chrono::{DateTime, Utc};
use orch_core::plan::TaskIdx;
use orch_core::run::Run;
use orch_core::transition::{Event, Stood};
use orch_spec::state::{RunState, TaskState};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

/// Result of a request to mark one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The instance was marked. Contains its previous state.
    Marked(TaskState),
    /// The instance already has the requested state.
    Same,
    /// There is nothing to mark yet: the run has not started, or the task is mapped over a list that is not known yet.
    NotYet,
    NoSuchInstance,
}

/// Key of an instance within its run: task and map index. The map index is -1 for a task that is not mapped.
type Place = (TaskIdx, i32);

/// What must be known about an instance to mark it.
#[derive(Default)]
struct MarkableInstance {
    /// True if the instance was queued or waiting. Its row in the queue table has then been deleted.
    waited: bool,
    /// True if a concurrency limit held the instance back. Its row in the table `held` has then been deleted.
    held: bool,
    /// State of the instance, or `None` if the instance has no row or was cleared.
    state: Option<TaskState>,
    /// The attempt to mark, if the instance was about to start a new attempt. `None` if the attempt in the instance's
    /// row is to be marked.
    next: Option<NextTry>,
}

/// An attempt that has not started.
struct NextTry {
    attempt: Uuid,
    try_no: i16,
    max_tries: Option<i16>,
    queued_at: Option<DateTime<Utc>>,
}

/// Maximum number of retries while other processes claim or wake the instances that are to be marked.
const LOOKS: usize = 20;

/// Maximum number of instances that are marked in one transaction. Each kind of change is one statement, and the
/// transaction holds the run's lock.
pub const MAX_MARKED: usize = 1_000;

/// Marks one instance as succeeded, failed or skipped (see [`mark_instances`]).
#[boxed]
pub async fn mark_instance(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &mut Versions,
    of: (Uuid, Option<i32>),
    instance: (TaskIdx, i32),
    to: TaskState,
) -> StoreResult<Mark> {
    let marks = mark_instances(db, locks, versions, of, &[instance], to).await?;
    Ok(marks.first().map_or(Mark::NoSuchInstance, |(_, mark)| *mark))
}

/// Marks at most [`MAX_MARKED`] instances of a run as succeeded, failed or skipped. Returns the result for each
/// instance in DAG order. If the result of any instance is [`Mark::NotYet`], no instance is marked. `version` is the
/// DAG version to which the task numbers refer; `None` means the version of the run.
///
/// The caller must have locked the DAG. Afterwards it sends `Hint::Ready`, `Hint::Run` and `Hint::Stop`, and starts
/// queued runs of the DAG.
#[boxed]
pub async fn mark_instances(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &mut Versions,
    (run, version): (Uuid, Option<i32>),
    instances: &[(TaskIdx, i32)],
    to: TaskState,
) -> StoreResult<Vec<(Place, Mark)>> {
    let instances: BTreeSet<Place> = instances.iter().copied().collect();
    for _ in 0..LOOKS {
        // Apply (fold) all recorded outcomes first, so that the instances have their current state.
        if fold_run(db, locks, &mut Stepper::default(), versions, run, 0, Keep::NOTHING).await?.is_none() {
            return Ok(all_gone(&instances));
        }
        match try_mark(db, locks, versions, (run, version), &instances, to).await {
            Ok(Some(done)) => return Ok(done),
            // Another process changed the instances concurrently, so try again.
            Ok(None) | Err(StoreError::TryAgain(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::TryAgain(sqlx::Error::RowNotFound))
}

fn all_gone(instances: &BTreeSet<Place>) -> Vec<(Place, Mark)> {
    instances.iter().map(|&place| (place, Mark::NoSuchInstance)).collect()
}

async fn try_mark(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &mut Versions,
    of: (Uuid, Option<i32>),
    instances: &BTreeSet<Place>,
    to: TaskState,
) -> StoreResult<Option<Vec<(Place, Mark)>>> {
    let mut tx = db.begin().await?;
    let done = mark_locked(&mut tx, locks, versions, of, instances, to).await?;
    let marks = done.as_deref().unwrap_or_default();
    let is_marked = marks.iter().any(|(_, mark)| matches!(mark, Mark::Marked(_)));
    // Commit immediately, because other transactions may be waiting for the run's lock.
    if is_marked && marks.iter().all(|(_, mark)| *mark != Mark::NotYet) {
        tx.commit().await?;
    } else {
        tx.rollback().await?;
    }
    Ok(done)
}

async fn mark_locked(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &mut Versions,
    (run, version): (Uuid, Option<i32>),
    instances: &BTreeSet<Place>,
    to: TaskState,
) -> StoreResult<Option<Vec<(Place, Mark)>>> {
    let Some(locked) = run_lock::lock(db, locks, run).await? else { return Ok(Some(all_gone(instances))) };
    if version.is_some_and(|meant| meant != locked.version) {
        return Err(StoreError::OtherVersion);
    }
    let is_over = locked.is_over();
    if is_over {
        write_all_skipped(db, run).await?;
    } else if !locked.events.is_empty() {
        return Ok(None);
    }
    let version = versions.get(db, locked.version).await?;
    locked.readable(&version.plan)?;
    let at = locked.at();
    let (plan, ledger) = (&version.plan, locked.ledger);
    let is_there = |&&(task, map_index): &&Place| match plan
        .tasks
        .get(usize::from(task))
        .map(|planned| ledger.len(planned).filter(|&len| len > 0))
    {
        None => false,
        Some(None) => map_index == -1,
        Some(Some(len)) => (0..len).contains(&map_index),
    };
    let there: Vec<Place> = instances.iter().filter(is_there).copied().collect();
    let mut marks: HashMap<Place, Mark> = all_gone(instances).into_iter().collect();
    let in_order = |marks: &HashMap<Place, Mark>| instances.iter().map(|place| (*place, marks[place])).collect();
    if ledger.state == RunState::Queued {
        marks.extend(there.iter().map(|&place| (place, Mark::NotYet)));
        return Ok(Some(in_order(&marks)));
    }
    let Some(mut found) = take(db, &locked.lock, &there).await? else { return Ok(None) };
    let (mut marked, mut events, mut begun) = (Vec::new(), Vec::new(), Vec::new());
    for place in there {
        let (task, index) = place;
        let found = found.remove(&place).unwrap_or_default();
        let was = match found.state {
            _ if found.waited => TaskState::Queued,
            _ if found.held => TaskState::Scheduled,
            Some(state) => state,
            None => ledger.without_a_row(plan, task, index),
        };
        // The mapped task has not been expanded yet, so its number of elements is unknown.
        let is_unexpanded = found.state.is_none() && index < 0 && plan.task(task).map.is_some();
        let mark = match was == to {
            _ if is_unexpanded => Mark::NotYet,
            true => Mark::Same,
            false => Mark::Marked(was),
        };
        marks.insert(place, mark);
        if mark != Mark::Marked(was) {
            continue;
        }
        let in_flight = found.waited || matches!(was, TaskState::Running | TaskState::Restarting);
        let stood = match found.held {
            true => Stood::Held,
            false if in_flight => Stood::InFlight,
            false => Stood::Nowhere,
        };
        events.push(Event::Marked { task, index, state: to, stood });
        begun.extend(found.next.map(|next| (place, next)));
        marked.push(place);
    }
    if marked.is_empty() || marks.values().any(|mark| *mark == Mark::NotYet) {
        return Ok(Some(in_order(&marks)));
    }
    // Apply (fold) the events to the run before its rows are updated, because the fold reads the old states of the
    // rows.
    let (folded, effects) = fold_loading(db, &version, run, &ledger, &events).await?;
    begin_anew(db, run, &begun).await?;
    write(db, run, &marked, to, locked.rev + 1).await?;
    if is_over {
        write_ledger(db, run, locked.rev + 1, &folded).await?;
        return Ok(Some(in_order(&marks)));
    }
    let mut step =
        WorkerStep { mode: Mode::Locked { fold_xmin: locked.fold_xmin }, cleared: true, ..WorkerStep::default() };
    carry_out(&mut step, &version, at, folded, effects, Keep::NOTHING);
    Stepper::default().send(db, &step, 0).await?;
    Ok(Some(in_order(&marks)))
}

/// An attempt that was deleted from a queue table. If `waited` is false, that table was `held`.
#[derive(sqlx::FromRow)]
struct TakenRow {
    task: i16,
    map_index: i32,
    waited: bool,
    attempt: Uuid,
    try_no: Option<i16>,
    max_tries: i16,
    queued_at: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
struct FoundRow {
    task: i16,
    map_index: i32,
    attempt: Uuid,
    try_no: i16,
    state: Option<String>,
    /// True if the attempt named in the instance's row is already in the history (the table `attempt`).
    is_past: bool,
}

fn columns(places: impl IntoIterator<Item = Place>) -> (Vec<i16>, Vec<i32>) {
    places.into_iter().map(|(task, index)| (task as i16, index)).unzip()
}

/// Deletes instances from the queues and releases their slots, so that no process claims or wakes them, and locks their
/// rows. Returns `None` if a concurrent claim or wake-up is moving one of the instances; claims and wake-ups do not
/// take the run's lock.
async fn take(
    db: &mut PgConnection,
    lock: &RunLock,
    places: &[Place],
) -> StoreResult<Option<HashMap<Place, MarkableInstance>>> {
    let run = lock.run();
    let (tasks, indices) = columns(places.iter().copied());
    let taken: Vec<TakenRow> = sqlx::query_as(
        "with wanted as materialized (select * from unnest($2::smallint[], $3::integer[]) as w (task, map_index)),
        queued as (delete from ready t using wanted w where t.run = $1 and t.task = w.task and t.map_index = w.map_index
          returning t.task, t.map_index, t.attempt, t.try_no, t.max_tries, t.queued_at),
        waiting_tries as (delete from waiting t using wanted w
          where t.run = $1 and t.task = w.task and t.map_index = w.map_index
          returning t.task, t.map_index, t.attempt, t.try_no, t.max_tries, null::timestamptz as queued_at),
        held_tries as (delete from held t using wanted w
          where t.run = $1 and t.task = w.task and t.map_index = w.map_index
          returning t.task, t.map_index, t.attempt, null::smallint as try_no, t.max_tries, null::timestamptz as queued_at),
        every as (select true as waited, * from queued union all select true, * from waiting_tries
          union all select false, * from held_tries),
        released as (delete from slot s using every e where s.attempt = e.attempt)
        select * from every",
    )
    .bind(run)
    .bind(&tasks)
    .bind(&indices)
    .fetch_all(&mut *db)
    .await?;
    let rows: Vec<FoundRow> = sqlx::query_as(
        "select t.task, t.map_index, t.attempt, t.try_no, t.state::text as state, exists (select from attempt past
            where past.run = $1 and past.run = t.run and past.task = t.task and past.map_index = t.map_index
              and past.attempt = t.attempt) as is_past
        from task_instance t join unnest($2::smallint[], $3::integer[]) as w (task, map_index)
          on t.task = w.task and t.map_index = w.map_index
        where t.run = $1 order by t.task, t.map_index for update of t",
    )
    .bind(run)
    .bind(&tasks)
    .bind(&indices)
    .fetch_all(&mut *db)
    .await?;
    let taken: HashMap<Place, TakenRow> =
        taken.into_iter().map(|row| ((row.task as TaskIdx, row.map_index), row)).collect();
    let rows: HashMap<Place, FoundRow> =
        rows.into_iter().map(|row| ((row.task as TaskIdx, row.map_index), row)).collect();
    let mut found = HashMap::with_capacity(places.len());
    for place in places {
        let Some(instance) = markable(taken.get(place), rows.get(place))? else { return Ok(None) };
        found.insert(*place, instance);
    }
    Ok(Some(found))
}

/// Combines the queue row and the instance row. Returns `None` if a concurrent claim or wake-up is moving the instance.
fn markable(taken: Option<&TakenRow>, row: Option<&FoundRow>) -> StoreResult<Option<MarkableInstance>> {
    let state: Option<TaskState> = match row.and_then(|row| row.state.as_deref()) {
        Some(word) => Some(crate::run::word(word)?),
        None => None,
    };
    let settled = |state: TaskState| state.is_finished() || matches!(state, TaskState::Running | TaskState::Restarting);
    if taken.is_none() && !state.is_none_or(settled) {
        return Ok(None);
    }
    // After a clear, a row that was decided without a new attempt still contains the id of the old attempt, which is in
    // the history.
    let is_past = row.is_some_and(|row| row.is_past);
    let begins_anew = is_past || matches!(state, None | Some(TaskState::Restarting));
    let next = row.filter(|row| row.try_no > 0).and_then(|row| match taken {
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
    let waited = taken.is_some_and(|taken| taken.waited);
    Ok(Some(MarkableInstance { waited, held: taken.is_some() && !waited, state, next }))
}

/// Replaces the attempt in each instance's row by its next attempt, which was never started. If the old attempt was
/// cleared while it ran, it moves to the history, and its worker still has to stop it.
async fn begin_anew(db: &mut PgConnection, run: Uuid, begun: &[(Place, NextTry)]) -> StoreResult<()> {
    if begun.is_empty() {
        return Ok(());
    }
    let (tasks, indices) = columns(begun.iter().map(|(place, _)| *place));
    sqlx::query(
        "with next as materialized (
          select * from unnest($2::smallint[], $3::integer[], $4::uuid[], $5::smallint[], $6::smallint[], $7::timestamptz[])
            as n (task, map_index, attempt, try_no, max_tries, queued_at)
        ),
        was as (
          select t.* from task_instance t join next n on t.task = n.task and t.map_index = n.map_index where t.run = $1
        ),
        history as (
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
        update task_instance t set attempt = n.attempt, try_no = n.try_no, max_tries = coalesce(n.max_tries, t.max_tries),
          queued_at = n.queued_at, worker = null, lost_no = 0, started_at = null, ended_at = null, state = null
        from next n where t.run = $1 and t.task = n.task and t.map_index = n.map_index",
    )
    .bind(run)
    .bind(tasks)
    .bind(indices)
    .bind(begun.iter().map(|(_, next)| next.attempt).collect::<Vec<_>>())
    .bind(begun.iter().map(|(_, next)| next.try_no).collect::<Vec<_>>())
    .bind(begun.iter().map(|(_, next)| next.max_tries).collect::<Vec<_>>())
    .bind(begun.iter().map(|(_, next)| next.queued_at).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// Writes the ledger (stored state) of a finished run directly. A worker step would end the run a second time and send
/// its alerts again.
async fn write_ledger(db: &mut PgConnection, run: Uuid, rev: i32, ledger: &Run) -> StoreResult<()> {
    sqlx::query("update dag_run set rev = $2, ledger = $3, counters = $4 where id = $1")
        .bind(run)
        .bind(rev)
        .bind(&ledger.ledger)
        .bind(&ledger.counters)
        .execute(db)
        .await?;
    Ok(())
}

/// Creates or updates the rows of the instances. A worker that runs one of these instances finds that its lease is no
/// longer valid and stops.
async fn write(db: &mut PgConnection, run: Uuid, marked: &[Place], to: TaskState, rev: i32) -> StoreResult<()> {
    let (tasks, indices) = columns(marked.iter().copied());
    sqlx::query(
        "with marked as materialized (select * from unnest($2::smallint[], $3::integer[]) as m (task, map_index)),
        stopped as (
          insert into stop_order (worker, run, task, map_index, attempt, why)
          select t.worker, t.run, t.task, t.map_index, t.attempt, 'marked' from task_instance t
          join marked m on t.task = m.task and t.map_index = m.map_index
          where t.run = $1 and t.state in ('running', 'restarting') and t.worker is not null
        )
        insert into task_instance (run, task, map_index, attempt, try_no, max_tries, lease_no, state, ended_at, rev_end)
        select $1, task, map_index, gen_random_uuid(), 0, 0, 0, $4::text::task_state, now(), $5 from marked
        on conflict (run, task, map_index) do update set lease_no = task_instance.lease_no + 1, state = excluded.state,
          ended_at = coalesce(case when task_instance.state in ('running', 'restarting') then null
            else task_instance.ended_at end, excluded.ended_at), rev_end = excluded.rev_end",
    )
    .bind(run)
    .bind(tasks)
    .bind(indices)
    .bind(to.as_str())
    .bind(rev)
    .execute(db)
    .await?;
    Ok(())
}
