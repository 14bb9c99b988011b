//! Clears instances of a run, so that they run again. Finished instances restart. Running ones are stopped first.
//! Instances that wait for a time or a condition restart instead of continuing. Claimable ones are left alone, because
//! they start anyway.

use crate::{
    StoreError, StoreResult, boxed,
    instance::{Ledger, counts_when_over, ledger},
    locks::{Locks, RunLock, Runs},
    narrow,
    refold::{Keep, carry_out, fold_loading, fold_run},
    run::write_all_skipped,
    run_lock,
    step::{Mode, Stepper, WorkerStep},
    version::{Version, Versions},
};
use orch_core::plan::TaskIdx;
use orch_core::run::{Elements, Run};
use orch_core::select::Selection;
use orch_core::transition::{Selected, clear};
use orch_spec::state::TaskState;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::collections::BTreeMap;
use uuid::Uuid;

/// States of finished instances that a clear restarts.
const CLEARED: [TaskState; 4] = [TaskState::Success, TaskState::Failed, TaskState::Skipped, TaskState::UpstreamFailed];

#[derive(Debug, Clone, Default)]
pub struct ClearScope {
    pub selection: Selection,
    /// DAG version that the task indexes in `selection` belong to. `None` means the version of the run.
    pub version: Option<i32>,
    /// Clears only instances in these states. Empty means all instances that have finished, run or wait.
    pub states: Vec<TaskState>,
}

impl ClearScope {
    /// Returns an error if the run moved to another version after the caller had read its tasks.
    fn is_of(&self, version: i32) -> StoreResult<()> {
        self.version.is_none_or(|meant| meant == version).then_some(()).ok_or(StoreError::OtherVersion)
    }
}

/// Result of a clear, or its preview.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Instances that restart, each with its previous state.
    pub instances: Vec<(TaskIdx, i32, TaskState)>,
    /// True if some instances are running and are being stopped. Workers must then check for stop orders.
    pub stopping: bool,
    /// True if the run had finished and runs again.
    pub revived: bool,
}

/// Previews a clear. Returns `None` if the run does not exist.
#[boxed]
pub async fn would_clear(
    db: &mut PgConnection,
    versions: &mut Versions,
    run: Uuid,
    wish: &ClearScope,
) -> StoreResult<Option<Cleared>> {
    let Some((version, revived)) = version_of(db, run).await? else { return Ok(None) };
    wish.is_of(version)?;
    let version = versions.get(db, version).await?;
    // A preview takes no locks, because locking 100,000 elements would stall their run.
    let instances = instances(db, run, &wish.selection.resolve(&version.plan), &wish.states, None).await?;
    let stopping = instances.iter().any(|i| i.2 == TaskState::Running);
    Ok(Some(Cleared { instances, stopping, revived }))
}

/// Preview of a clear, as counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClearCount {
    pub count: usize,
    /// The first of the instances that would restart.
    pub first: Vec<(TaskIdx, i32, TaskState)>,
    pub stopping: bool,
    pub revived: bool,
}

/// Like [`would_clear`], but returns the number of instances, and only the first `most` of them.
#[boxed]
pub async fn count_clear(
    db: &mut PgConnection,
    versions: &mut Versions,
    run: Uuid,
    wish: &ClearScope,
    most: i64,
) -> StoreResult<Option<ClearCount>> {
    let Some((version, revived)) = version_of(db, run).await? else { return Ok(None) };
    wish.is_of(version)?;
    let version = versions.get(db, version).await?;
    let selected = wish.selection.resolve(&version.plan);
    let whole: Vec<i16> = selected.iter().filter(|s| s.index.is_none()).map(|s| s.task as i16).collect();
    let places = selected.iter().filter_map(|s| Some((s.task as i16, s.index?)));
    let (tasks, indices): (Vec<i16>, Vec<i32>) = places.filter(|(task, _)| !whole.contains(task)).unzip();
    let states: Vec<String> = wish.states.iter().map(|state| state.as_str().to_string()).collect();
    let ledger = ledger(db, versions, run).await?;
    let counted = ledger.and_then(|ledger| count_over(&ledger, &selected, &wish.states));
    let uncounted: &[i16] = if counted.is_some() { &[] } else { &whole };
    let counts = sqlx::query!(
        r#"select state::text as "state!", count(*) as "count!" from task_instance t
        where run = $1 and (state in ('success', 'failed', 'skipped', 'upstream_failed', 'running')
            or state is not null and exists (select from waiting w where w.run = $1 and w.task = t.task
              and w.map_index = t.map_index))
          and (task = any($2) or (task, map_index) in (select * from unnest($3::smallint[], $4::integer[])))
          and ($5::text[] = '{}' or state = any($5::text[]::task_state[])) group by state"#,
        run,
        uncounted,
        &tasks,
        &indices,
        &states
    )
    .fetch_all(&mut *db)
    .await?;
    let rows = sqlx::query!(
        r#"select task, map_index, state::text as "state!" from task_instance t
        where run = $1 and (state in ('success', 'failed', 'skipped', 'upstream_failed', 'running')
            or state is not null and exists (select from waiting w where w.run = $1 and w.task = t.task
              and w.map_index = t.map_index))
          and (task = any($2) or (task, map_index) in (select * from unnest($3::smallint[], $4::integer[])))
          and ($5::text[] = '{}' or state = any($5::text[]::task_state[])) order by task, map_index limit $6"#,
        run,
        &whole,
        &tasks,
        &indices,
        &states,
        most
    )
    .fetch_all(db)
    .await?;
    let mut would = ClearCount { count: counted.unwrap_or_default(), revived, ..ClearCount::default() };
    for row in counts {
        would.count += narrow::size(row.count);
        would.stopping |= row.state == TaskState::Running.as_str();
    }
    for row in rows {
        would.first.push((row.task as TaskIdx, row.map_index, crate::run::word(&row.state)?));
    }
    Ok(Some(would))
}

/// Counts the instances that would restart in tasks that are selected as a whole, from the ledger. `None` if the run
/// has not finished.
fn count_over(ledger: &Ledger, selected: &[Selected], states: &[TaskState]) -> Option<usize> {
    let clears = |state: &TaskState| CLEARED.contains(state) && (states.is_empty() || states.contains(state));
    let mut all = 0;
    for task in selected.iter().filter(|selected| selected.index.is_none()) {
        let counts = counts_when_over(ledger, Some(task.task))?;
        all += counts.iter().filter(|(state, _)| clears(state)).map(|(_, count)| narrow::size(*count)).sum::<usize>();
    }
    Some(all)
}

/// Clears instances. Returns `None` if the run does not exist. The caller sends the wake-up signal `Hint::Ready`, and
/// also `Hint::Stop` if some instances are being stopped.
#[boxed]
pub async fn clear_instances(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    stepper: &mut Stepper,
    versions: &mut Versions,
    run: Uuid,
    wish: &ClearScope,
) -> StoreResult<Option<Cleared>> {
    let mut tx = db.begin().await?;
    let Some(locked) = run_lock::lock(&mut tx, locks, run).await? else { return Ok(None) };
    wish.is_of(locked.version)?;
    let version = versions.get(&mut tx, locked.version).await?;
    locked.readable(&version.plan)?;
    let revived = locked.is_over();
    if revived {
        write_all_skipped(&mut tx, run).await?;
    }
    let selection = wish.selection.resolve(&version.plan);
    let mut at = locked.at();
    let (mut ledger, mut events, mut fold_xmin) = (locked.ledger, locked.events, locked.fold_xmin);
    // Recorded outcomes are folded (applied to the ledger) first, including those that are recorded while this
    // transaction waits for the rows, so that the clear sees the complete state.
    let found = loop {
        if !events.is_empty() && !ledger.state.is_finished() {
            let (to, effects) = fold_loading(&mut tx, &version, run, &ledger, &events).await?;
            let mut step = WorkerStep { mode: Mode::Locked { fold_xmin }, cleared: true, ..WorkerStep::default() };
            carry_out(&mut step, &version, at, to.clone(), effects, Keep::NOTHING);
            stepper.send(&mut tx, &step, 0).await?;
            (ledger, at.rev) = (to, at.rev + 1);
        }
        let found = instances(&mut tx, run, &selection, &wish.states, Some(&locked.lock)).await?;
        (events, fold_xmin) = run_lock::take_unfolded(&mut tx, run).await.map(|(e, xmin)| (e, xmin.max(fold_xmin)))?;
        if events.is_empty() {
            break found;
        }
    };
    let mut step = WorkerStep { mode: Mode::Locked { fold_xmin }, cleared: true, ..WorkerStep::default() };
    if found.is_empty() {
        tx.commit().await?;
        return Ok(Some(Cleared::default()));
    }
    let over: Vec<_> = found.iter().filter(|i| i.2.is_finished()).collect();
    let selected = selected(&version, &ledger, &over);
    ledger.set_changed();
    let decide = |elements: &Elements| clear(&version.plan, &ledger, &selected, elements);
    let (cleared, effects) = run_lock::deciding(&mut tx, &version.plan, run, &ledger, decide).await?;
    let (tasks, indices): (Vec<i16>, Vec<i32>) = found.iter().map(|i| (i.0 as i16, i.1)).unzip();
    sqlx::query_file!("queries/clear.sql", run, &tasks, &indices).execute(&mut *tx).await?;
    sqlx::query!(
        "update dag_run set state = 'running', started_at = coalesce(started_at, now()), ended_at = null,
          idle_micros = idle_micros + case when started_at <= ended_at
            then greatest(extract(epoch from now() - ended_at) * 1000000, 0)::bigint else 0 end,
          timeout_at = case when ended_at is null then timeout_at else now() + $2::bigint * interval '1 millisecond' end,
          clear_number = least(clear_number::integer + 1, 32767) where id = $1",
        run,
        version.plan.spec.run_timeout_ms.map(|ms| ms.min(i64::MAX as u64) as i64)
    )
    .execute(&mut *tx)
    .await?;
    carry_out(&mut step, &version, at, cleared, effects, Keep::NOTHING);
    stepper.send(&mut tx, &step, 0).await?;
    tx.commit().await?;
    let waited = |state: TaskState| !state.is_finished() && state != TaskState::Running;
    if found.iter().any(|i| waited(i.2)) {
        fold_run(db, locks, stepper, versions, run, 0, Keep::NOTHING).await?;
    }
    let stopping = found.iter().any(|i| i.2 == TaskState::Running);
    Ok(Some(Cleared { instances: found, stopping, revived }))
}

/// Records that a worker has stopped an instance that was cleared while it ran. The next fold evaluates the trigger
/// rule of the instance again.
#[boxed]
pub async fn restarted(db: &mut PgConnection, _locks: &Locks<Runs>, lease: crate::step::Lease) -> StoreResult<()> {
    let mut tx = db.begin().await?;
    sqlx::query!("select id from dag_run where id = $1 for no key update", lease.run).fetch_optional(&mut *tx).await?;
    let ours = sqlx::query_scalar!(
        "select task from task_instance where run = $1 and task = $2 and map_index = $3 and attempt = $4
          and state = 'restarting' for update",
        lease.run,
        lease.task as i16,
        lease.map_index,
        lease.attempt
    )
    .fetch_optional(&mut *tx)
    .await?;
    if ours.is_some() {
        let (run, task, index) = ([lease.run], [lease.task as i16], [lease.map_index]);
        sqlx::query_file!("queries/worker/restart_lost.sql", &run, &task, &index).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Returns the version of a run, and whether it has finished.
async fn version_of(db: &mut PgConnection, run: Uuid) -> StoreResult<Option<(i32, bool)>> {
    let row =
        sqlx::query!(r#"select version, state in ('success', 'failed') as "is_over!" from dag_run where id = $1"#, run);
    Ok(row.fetch_optional(db).await?.map(|row| (row.version, row.is_over)))
}

/// Returns the instances of the selected tasks that have finished, run or wait. If `lock` is set, also locks their
/// rows.
async fn instances(
    db: &mut PgConnection,
    run: Uuid,
    selected: &[Selected],
    states: &[TaskState],
    lock: Option<&RunLock>,
) -> StoreResult<Vec<(TaskIdx, i32, TaskState)>> {
    let tasks: Vec<i16> = selected.iter().map(|s| s.task as i16).collect();
    if let Some(run) = lock.map(RunLock::run) {
        // Lock order as in wake-ups: the row of `waiting`, then the instance.
        sqlx::query!(
            "select from waiting where run = $1 and task = any($2) order by task, map_index for update",
            run,
            &tasks
        )
        .execute(&mut *db)
        .await?;
        sqlx::query!(
            "select from task_instance where run = $1 and task = any($2)
              and state not in ('restarting', 'removed') order by task, map_index for update",
            run,
            &tasks
        )
        .execute(&mut *db)
        .await?;
    }
    let rows = sqlx::query!(
        r#"select task, map_index, state::text as "state!" from task_instance t
        where run = $1 and task = any($2) and (state in ('success', 'failed', 'skipped', 'upstream_failed', 'running')
            or state is not null and exists (select from waiting w where w.run = $1 and w.task = t.task
              and w.map_index = t.map_index)) order by task, map_index"#,
        run,
        &tasks
    )
    .fetch_all(db)
    .await?;
    let meant: std::collections::HashSet<(TaskIdx, Option<i32>)> = selected.iter().map(|s| (s.task, s.index)).collect();
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let state: TaskState = crate::run::word(&row.state)?;
        let (task, index) = (row.task as TaskIdx, row.map_index);
        let is_meant = meant.contains(&(task, None)) || meant.contains(&(task, Some(index)));
        if is_meant && (states.is_empty() || states.contains(&state)) {
            found.push((task, index, state));
        }
    }
    Ok(found)
}

/// Groups cleared elements by task. If all elements of a task are cleared, the task is selected as a whole, because its
/// list may have another length the next time.
fn selected(version: &Version, ledger: &Run, over: &[&(TaskIdx, i32, TaskState)]) -> Vec<Selected> {
    let mut by_task: BTreeMap<TaskIdx, Vec<i32>> = BTreeMap::new();
    over.iter().for_each(|(task, index, _)| by_task.entry(*task).or_default().push(*index));
    let mut selected = Vec::new();
    for (task, indices) in by_task {
        let all = ledger.len(version.plan.task(task)).is_none_or(|len| len as usize == indices.len());
        if all {
            selected.push(Selected { task, index: None });
        } else {
            selected.extend(indices.into_iter().map(|i| Selected { task, index: (i >= 0).then_some(i) }));
        }
    }
    selected
}
