//! Explains why a task instance does not run, by listing everything that currently blocks it.

use crate::{
    StoreError, StoreResult,
    admission::{one_waiting, runs_active},
    approval::open_question,
    boxed,
    dag::get_dag,
    instance::{InstanceRow, ledger},
    parked::parked_run,
    run::RunDetails,
    version::{Version, Versions},
    watch::{WaitRow, wait_of},
    worker::list_workers,
};
use chrono::{DateTime, Utc};
use orch_core::plan::TaskIdx;
use orch_core::run::Run;
use orch_core::why::{Condition, Reason};
use orch_spec::state::{RunState, RunType, TaskState};
use sqlx::postgres::PgConnection;

/// A reason why an instance is blocked, with the instances that hold the slots it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockingReason {
    pub reason: Reason,
    /// At most `MOST_HOLDERS` instances that hold the slots, in the order in which they were admitted.
    pub holders: Vec<Holder>,
}

/// An instance that holds pool slots for which other instances wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub dag_id: String,
    pub run_id: String,
    pub task_id: String,
    pub map_index: i32,
    pub slots: i32,
    pub since: DateTime<Utc>,
}

const MOST_HOLDERS: i64 = 20;
/// Maximum number of unfinished upstream tasks that a reason lists.
const MOST_OPEN: usize = 20;

/// Returns everything that currently blocks an instance. Returns no reasons if the instance is running or has finished.
#[boxed]
pub async fn why(
    db: &mut PgConnection,
    versions: &mut Versions,
    run: &RunDetails,
    instance: &InstanceRow,
) -> StoreResult<Vec<BlockingReason>> {
    let mut reasons = Vec::new();
    if let (false, Some(parked)) = (instance.state.is_finished(), parked_run(db, run.id).await?) {
        return Ok(vec![BlockingReason { reason: Reason::RunParked { why: parked.why }, holders: Vec::new() }]);
    }
    if instance.state.is_finished() || matches!(instance.state, TaskState::Running | TaskState::Restarting) {
        return Ok(Vec::new());
    }
    if run.state == RunState::Queued {
        reasons.extend(of_run(db, run).await?);
    } else if run.state.is_finished() {
        reasons.push(Reason::RunNotRunning { state: run.state });
    }
    let gone = || StoreError::from(sqlx::Error::RowNotFound);
    let now = ledger(db, versions, run.id).await?.ok_or_else(gone)?;
    let (version, at) = (&now.version, instance.wake_at);
    match instance.state {
        TaskState::None => reasons.extend(upstream(version, &now.run, instance.task)),
        TaskState::Scheduled => {
            let place = (run.id, instance.task, instance.map_index);
            match one_waiting(db, versions, place).await? {
                Some(found) => reasons.extend(found),
                None => reasons.extend(limits(version, &now.run, instance.task)),
            }
        }
        TaskState::UpForRetry => reasons.extend(at.map(|at| Reason::Retry { at })),
        TaskState::UpForReschedule => reasons.extend(at.map(|at| Reason::Reschedule { at })),
        TaskState::Deferred => {
            let wait = wait_of(db, run.id, instance.task, instance.map_index).await?;
            let condition = wait.and_then(|wait| {
                let WaitRow { kind, looks, give_up_at, last_error, .. } = wait;
                Some(Condition { kind: kind?, looks, give_up_at, last_error })
            });
            reasons.push(Reason::Deferred { at, condition });
        }
        TaskState::AwaitingInput => {
            let asked = open_question(db, run.id, version.plan.task_id(instance.task), instance.map_index).await?;
            reasons.extend(asked.map(|asked| Reason::Input {
                subject: asked.question.subject,
                asked: asked.question.assigned_users,
                give_up_at: asked.give_up_at,
            }));
        }
        TaskState::Queued => reasons.extend(workers(db, run, version, instance.task).await?),
        _ => {}
    }
    let mut all = Vec::with_capacity(reasons.len());
    for reason in reasons {
        let holders = match reason.limit() {
            Some(limit) => holders(db, versions, &limit).await?,
            None => Vec::new(),
        };
        all.push(BlockingReason { reason, holders });
    }
    Ok(all)
}

/// Returns the reasons why a queued run has not started.
async fn of_run(db: &mut PgConnection, run: &RunDetails) -> StoreResult<Vec<Reason>> {
    let mut reasons = Vec::new();
    let (now, active) = runs_active(db, &run.dag_id).await?;
    if let Some(dag) = get_dag(db, &run.dag_id).await? {
        if dag.is_paused {
            reasons.push(Reason::DagPaused { dag_id: run.dag_id.clone() });
        }
        let of_dag = run.run_type != RunType::Backfill;
        if of_dag && active.len() as i64 >= i64::from(dag.max_active_runs) {
            let (dag_id, most) = (run.dag_id.clone(), dag.max_active_runs);
            reasons.push(Reason::RunsActive { dag_id, most, runs: active });
        }
    }
    if run.run_after > now {
        reasons.push(Reason::RunNotDue { run_after: run.run_after });
    }
    reasons.push(Reason::RunNotRunning { state: run.state });
    Ok(reasons)
}

fn upstream(version: &Version, run: &Run, task: TaskIdx) -> Vec<Reason> {
    let (plan, planned) = (&version.plan, version.plan.task(task));
    let mut before: Vec<TaskIdx> =
        planned.up.iter().chain(&planned.setups).chain(&planned.scope).map(|edge| edge.task).collect();
    before.dedup();
    let of = before.len();
    let states = before.into_iter().map(|task| (task, run.task(task))).filter(|(_, state)| !state.is_finished());
    let open = states.take(MOST_OPEN).map(|(task, state)| (plan.task_id(task).to_string(), state)).collect();
    if of == 0 { Vec::new() } else { vec![Reason::Upstream { rule: planned.rule.as_str(), of, open }] }
}

/// Returns the concurrency limits of the DAG, the task or the mapped task that currently hold an instance back.
fn limits(version: &Version, run: &Run, task: TaskIdx) -> Vec<Reason> {
    let (plan, planned) = (&version.plan, version.plan.task(task));
    let counts = run.element_counts(planned).into_iter().flatten();
    let in_flight: i32 = counts.filter(|(state, _)| *state == TaskState::Queued).map(|(_, many)| many).sum();
    let mut reasons = Vec::new();
    if let Some(most) = plan.spec.max_active_tasks.map(u32::cast_signed).filter(|most| run.in_flight() >= *most) {
        reasons.push(Reason::TasksActive { most });
    }
    if let Some(most) = planned.max_active.filter(|most| in_flight >= *most) {
        reasons.push(Reason::ElementsActive { most });
    }
    if planned.map.is_some() && in_flight >= run.window() {
        reasons.push(Reason::Window { many: run.window() });
    }
    if reasons.is_empty() { vec![Reason::Admitted] } else { reasons }
}

async fn workers(
    db: &mut PgConnection,
    run: &RunDetails,
    version: &Version,
    task: TaskIdx,
) -> StoreResult<Vec<Reason>> {
    let queue = version.plan.task(task).queue.clone();
    let workers = list_workers(db).await?;
    let serving: Vec<_> = workers.iter().filter(|w| w.state == "running" && w.queues.contains(&queue)).collect();
    let able: Vec<_> = serving.iter().filter(|w| w.versions.contains(&run.version)).collect();
    Ok(if serving.is_empty() {
        vec![Reason::NoWorker { queue }]
    } else if able.is_empty() {
        vec![Reason::NoVersion { dag_id: run.dag_id.clone(), version: run.version_number }]
    } else if able.iter().all(|w| w.running >= w.slots) {
        vec![Reason::WorkersBusy { queue, workers: able.len() }]
    } else {
        Vec::new()
    })
}

async fn holders(db: &mut PgConnection, versions: &mut Versions, limit: &str) -> StoreResult<Vec<Holder>> {
    let rows = sqlx::query!(
        "select r.dag_id, r.run_id, r.version, s.task, s.map_index, s.slots, s.taken_at
        from slot s join dag_run r on r.id = s.run where s.limit_name = $1 order by s.taken_at, s.run, s.task, s.map_index
        limit $2",
        limit,
        MOST_HOLDERS
    );
    let mut holders = Vec::new();
    for row in rows.fetch_all(&mut *db).await? {
        let version = versions.get(db, row.version).await?;
        holders.push(Holder {
            dag_id: row.dag_id,
            run_id: row.run_id,
            task_id: version.plan.task_id(row.task as TaskIdx).into(),
            map_index: row.map_index,
            slots: row.slots,
            since: row.taken_at,
        });
    }
    Ok(holders)
}
