//! Loading and locking a run's row. This is the slow path of advancing a run: for workers that lost a race, for folding
//! outcomes of dead workers, and when users clear, mark or cancel.

use crate::{
    StoreError, StoreResult, boxed,
    locks::{Locks, RunLock, Runs},
    narrow,
    parked::TRY_AGAIN_AFTER,
    step::{KnownRun, RunAt},
};
use orch_core::plan::{Plan, TaskIdx};
use orch_core::run::{Elements, Missing, Run};
use orch_core::transition::{Event, Outcome, Skip};
use orch_spec::state::{RunState, RunType, TaskState, UnknownWord};
use sqlx::Row;
use sqlx::postgres::PgConnection;
use std::time::Duration;
use uuid::Uuid;

/// A run whose row is locked, and the recorded outcomes that have not been applied to it yet.
#[derive(Debug)]
pub struct LockedRun {
    pub lock: RunLock,
    pub rev: i32,
    pub version: i32,
    pub clear_number: i16,
    /// Version of the storage format of `ledger`.
    pub format: i16,
    /// True if the last attempt to advance the run failed because of its data.
    pub parked: bool,
    pub dag_id: String,
    pub run_type: RunType,
    pub ledger: Run,
    pub events: Vec<Event>,
    /// `events` contains all outcomes that were recorded by transactions older than this one.
    pub fold_xmin: u64,
}

/// Locks the run until the caller's transaction ends. Also deletes and returns the recorded outcomes that have not been
/// applied to the run yet. Returns `None` if the run does not exist.
#[boxed]
pub async fn lock(db: &mut PgConnection, locks: &Locks<Runs>, run: Uuid) -> StoreResult<Option<LockedRun>> {
    let row = sqlx::query!(
        r#"select rev, version, clear_number, ledger_format, dag_id, run_type::text as "run_type!", state::text as "state!",
          ledger, counters, exists (select from parked_run where run = $1) as "parked!"
        from dag_run where id = $1 for no key update"#,
        run
    )
    .fetch_optional(&mut *db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let corrupt = |e: UnknownWord| StoreError::corrupt(format!("run `{run}`: {e}"));
    let state: RunState = row.state.parse().map_err(corrupt)?;
    let run_type: RunType = row.run_type.parse().map_err(corrupt)?;
    let ledger = Run { state, ledger: row.ledger, counters: row.counters };
    let (events, fold_xmin) = take_unfolded(db, run).await?;
    let (rev, version, clear_number, dag_id) = (row.rev, row.version, row.clear_number, row.dag_id);
    let (lock, format, parked) = (locks.run(run), row.ledger_format, row.parked);
    Ok(Some(LockedRun {
        lock,
        rev,
        version,
        clear_number,
        format,
        parked,
        dag_id,
        run_type,
        ledger,
        events,
        fold_xmin,
    }))
}

/// Deletes and returns the recorded outcomes that have not been applied to a run yet, together with a transaction id.
/// All outcomes from transactions older than that id are included.
pub(crate) async fn take_unfolded(db: &mut PgConnection, run: Uuid) -> StoreResult<(Vec<Event>, u64)> {
    let rows = sqlx::query(
        "delete from unfolded u using dag_run r where r.id = $1 and u.run = $1 and u.xid >= r.fold_xmin
        returning u.task, u.map_index, u.state, u.list_len, u.skip, pg_snapshot_xmin(pg_current_snapshot())::text",
    )
    .bind(run)
    .fetch_all(db)
    .await?;
    let (mut events, mut fold_xmin) = (Vec::with_capacity(rows.len()), 0);
    for row in &rows {
        let skip: Option<Vec<i32>> = row.try_get(4)?;
        let skip = skip.unwrap_or_default().chunks_exact(2).map(skip_of).collect::<StoreResult<_>>()?;
        fold_xmin = row.try_get::<String, _>(5)?.parse().map_err(|_| StoreError::corrupt("a snapshot's xmin"))?;
        let (task, index) = (row.try_get::<i16, _>(0)? as TaskIdx, row.try_get(1)?);
        let outcome = match TaskState::from_code(row.try_get(2)?) {
            Some(TaskState::Restarting) => {
                events.push(Event::Restarted { task, index });
                continue;
            }
            Some(TaskState::Success) => Outcome::Success { list_len: row.try_get(3)?, skip },
            Some(TaskState::Failed) => Outcome::Failed,
            Some(TaskState::Skipped) => Outcome::Skipped { skip },
            other => return Err(StoreError::corrupt(format!("an unfolded outcome of run `{run}` is {other:?}"))),
        };
        events.push(Event::Finished { task, index, outcome });
    }
    Ok((events, fold_xmin))
}

fn skip_of(pair: &[i32]) -> StoreResult<Skip> {
    let task =
        TaskIdx::try_from(pair[0]).map_err(|_| StoreError::corrupt(format!("{} is no task to skip", pair[0])))?;
    Ok(Skip { task, index: (pair[1] >= 0).then_some(pair[1]) })
}

/// Makes a scheduling decision about a run. Loads the states of the mapped elements that the decision needs.
pub async fn deciding<T>(
    db: &mut PgConnection,
    plan: &Plan,
    run: Uuid,
    ledger: &Run,
    decide: impl Fn(&Elements) -> Result<T, Missing>,
) -> StoreResult<T> {
    let mut known = Elements::default();
    loop {
        match decide(&known) {
            Ok(done) => return Ok(done),
            Err(missing) => known.load(missing, elements(db, plan, run, ledger, missing).await?),
        }
    }
}

/// Returns the states of the finished mapped elements that a decision needs, without outcomes that have not been
/// applied yet. If a user changed the run, also returns elements that are running or held back, because their states
/// can then no longer be derived from the run's stored state.
#[boxed]
pub async fn elements(
    db: &mut PgConnection,
    plan: &Plan,
    run: Uuid,
    ledger: &Run,
    missing: Missing,
) -> StoreResult<Vec<(TaskIdx, i32, TaskState)>> {
    let members: Vec<i16> = plan.domains[missing.domain].members.iter().map(|&t| t as i16).collect();
    let rows = sqlx::query!(
        r#"select t.task as "task!", t.map_index as "map_index!", t.state::text as "state!" from task_instance t
        where t.run = $1 and t.task = any($2) and t.map_index >= 0 and ($3::integer is null or t.map_index = $3)
          and t.state in ('success', 'failed', 'skipped', 'upstream_failed', 'removed')
          and not exists (select from unfolded u where u.run = $1 and u.task = t.task and u.map_index = t.map_index)
        union all
        select o.task, o.map_index, 'queued' from (
            select run, task, map_index from ready
            union all select run, task, map_index from waiting
            union all select run, task, map_index from held
            union all select run, task, map_index from unfolded
            union all select run, task, map_index from task_instance where state in ('running', 'restarting')) o
        where $4 and o.run = $1 and o.task = any($2) and o.map_index >= 0
          and ($3::integer is null or o.map_index = $3)"#,
        run,
        &members,
        missing.index,
        ledger.was_changed()
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let state =
                row.state.parse().map_err(|e| StoreError::corrupt(format!("an element of run `{run}`: {e}")))?;
            Ok((row.task as TaskIdx, row.map_index, state))
        })
        .collect()
}

/// Returns runs with outcomes that have been unfolded for longer than `older_than`, for example because their worker
/// died.
#[boxed]
pub async fn left_unfolded(db: &mut PgConnection, older_than: Duration, most: i64) -> StoreResult<Vec<Uuid>> {
    let rows = sqlx::query_scalar!(
        "select distinct u.run from unfolded u where u.recorded_at < now() - $1::float8 * interval '1 second'
          and not exists (select from parked_run p where p.run = u.run and p.tried_at > now() - $3::float8 * interval '1 second')
        limit $2",
        older_than.as_secs_f64(),
        most,
        TRY_AGAIN_AFTER.as_secs_f64()
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

impl LockedRun {
    pub fn at(&self) -> RunAt {
        RunAt { run: self.lock.run(), rev: self.rev, run_type: self.run_type }
    }

    /// Returns an error if the stored state or an outcome does not match the plan of the run. Such a run must not be
    /// advanced.
    pub fn readable(&self, plan: &Plan) -> StoreResult<()> {
        self.ledger.check(self.format, plan).map_err(StoreError::corrupt)?;
        let task = |event: &Event| match event {
            Event::Finished { task, .. } | Event::Restarted { task, .. } | Event::Marked { task, .. } => Some(*task),
            Event::Widen { .. } => None,
        };
        match self.events.iter().filter_map(task).find(|&task| usize::from(task) >= plan.tasks.len()) {
            Some(task) => Err(StoreError::corrupt(format!("an outcome is of task {task}, and there is none"))),
            None => Ok(()),
        }
    }

    pub fn is_over(&self) -> bool {
        self.ledger.state.is_finished()
    }
}

impl KnownRun {
    /// Replaces the cached state of the run by the locked one, if the locked one is newer.
    pub fn refresh(&mut self, locked: &LockedRun) {
        if locked.rev > self.rev {
            (self.rev, self.version, self.clear_number) = (locked.rev, locked.version, locked.clear_number);
            self.ledger = locked.ledger.clone();
        }
    }
}

/// Returns the length of the list that a task returned, according to the run's stored state (ledger). Returns 0 if the
/// length is not known yet.
#[boxed]
pub async fn list_len(db: &mut PgConnection, plan: &Plan, run: Uuid, task: TaskIdx) -> StoreResult<i32> {
    let Some(&slot) = plan.list_slots.get(&task) else { return Ok(0) };
    counter(db, run, slot).await
}

/// Returns the number of elements of a mapped task, according to the run's ledger (stored state). Returns 0 if the task
/// is not expanded yet.
#[boxed]
pub async fn element_count(db: &mut PgConnection, plan: &Plan, run: Uuid, task: TaskIdx) -> StoreResult<i32> {
    let Some(map) = plan.task(task).map else { return Ok(0) };
    counter(db, run, map.slot).await
}

async fn counter(db: &mut PgConnection, run: Uuid, slot: usize) -> StoreResult<i32> {
    let found =
        sqlx::query_scalar!("select counters[$2] from dag_run where id = $1", run, narrow::int(slot).saturating_add(1))
            .fetch_optional(db)
            .await?;
    Ok(found.flatten().unwrap_or(0).max(0))
}
