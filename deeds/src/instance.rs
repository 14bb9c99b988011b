//! Task instances: mark, clear and annotate.

use crate::run::{self, move_to_newest};
use crate::{Actor, boxed};
use orch_core::plan::TaskIdx;
use orch_spec::state::TaskState;
use orch_store::StoreResult;
use orch_store::audit::Deed;
use orch_store::clear::{ClearScope, Cleared, clear_instances};
use orch_store::locks::{DagLock, Locks, Runs};
use orch_store::mark::{MAX_MARKED, Mark, ask_again, mark_instances};
use orch_store::note::set_notes;
use orch_store::run::{MoveRun, RunDetails, set_note, start_queued_runs_of};
use orch_store::step::Stepper;
use orch_store::version::Versions;
use serde_json::json;
use sqlx::PgConnection;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkInstances {
    Marked,
    /// The run has not started, or the length of the list that this task is mapped over is unknown. The caller must
    /// roll back.
    NotYet {
        task_id: String,
    },
}

/// Marks instances of a run of a locked DAG. If they are marked as succeeded or skipped, downstream tasks that failed
/// because of them rerun.
#[boxed]
pub async fn mark(
    tx: &mut PgConnection,
    dag: &DagLock,
    versions: &Versions,
    actor: &Actor,
    run: &RunDetails,
    instances: &[(TaskIdx, i32)],
    to: TaskState,
) -> StoreResult<MarkInstances> {
    let mut versions = versions.clone();
    let plan = &versions.get(tx, run.version).await?.plan;
    for some in instances.chunks(MAX_MARKED) {
        let mut deeds = Vec::with_capacity(some.len());
        for ((task, map_index), mark) in
            mark_instances(tx, dag.runs(), &mut versions, (run.id, Some(run.version)), some, to).await?
        {
            let task_id = plan.task_id(task);
            match mark {
                Mark::Marked(was) => {
                    let extra = Some(json!({ "state": to, "was": was }));
                    deeds.push(Deed { extra, ..about("mark_task_instance", run, task_id, map_index) });
                }
                // The end of another instance may have decided the state of this one in the meantime.
                Mark::Same | Mark::NoSuchInstance => {}
                Mark::NotYet => return Ok(MarkInstances::NotYet { task_id: task_id.into() }),
            }
        }
        actor.did_all(tx, deeds).await?;
    }
    if matches!(to, TaskState::Success | TaskState::Skipped) {
        let tasks: Vec<TaskIdx> = instances.iter().map(|instance| instance.0).collect();
        ask_again(tx, dag.runs(), &mut versions, (run.id, run.version), &tasks).await?;
    }
    start_queued_runs_of(tx, dag, &mut versions).await?;
    Ok(MarkInstances::Marked)
}

/// Sets the same note on several instances of a run. `None` removes their notes.
#[boxed]
pub async fn note(
    tx: &mut PgConnection,
    versions: &Versions,
    actor: &Actor,
    run: &RunDetails,
    instances: &[(TaskIdx, i32)],
    note: Option<&str>,
) -> StoreResult<()> {
    let plan = &versions.get(tx, run.version).await?.plan;
    let named: Vec<(&str, i32)> = instances.iter().map(|&(task, index)| (plan.task_id(task), index)).collect();
    set_notes(tx, run.id, &named, note).await?;
    let deed = match named.as_slice() {
        [(task_id, map_index)] => about("note_task_instance", run, task_id, *map_index),
        _ => run::about("note_task_instance", run),
    };
    actor.did(tx, Deed { extra: Some(json!({ "instances": named.len() })), ..deed }).await
}

#[derive(Debug, Clone, Default)]
pub struct ClearOptions {
    /// All instances of the run are selected. The audit log then records the clear of a run.
    pub whole_run: bool,
    /// Moves the run to the newest version of its DAG.
    pub latest: bool,
    /// Note for the run.
    pub run_note: Option<String>,
    /// Note for each cleared instance.
    pub instance_note: Option<String>,
    /// Clears nothing if one of the instances is running.
    pub refuse_running: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClearInstances {
    /// The cleared instances. If there are none, nothing else was changed either.
    Cleared(Cleared),
    /// An instance is running and `refuse_running` is set. The caller must roll back.
    Running,
    /// The run cannot move to the newest version. The caller must roll back.
    NotMoved(MoveRun),
}

/// Clears instances of a run, so that they run again.
#[boxed]
pub async fn clear(
    tx: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &Versions,
    actor: &Actor,
    (run, wish): (&RunDetails, &ClearScope),
    options: &ClearOptions,
) -> StoreResult<ClearInstances> {
    let (mut stepper, mut own) = (Stepper::default(), versions.clone());
    let cleared = clear_instances(tx, locks, &mut stepper, &mut own, run.id, wish).await?.unwrap_or_default();
    if cleared.stopping && options.refuse_running {
        return Ok(ClearInstances::Running);
    }
    if cleared.instances.is_empty() {
        return Ok(ClearInstances::Cleared(cleared));
    }
    if let Some(note) = &options.instance_note {
        let plan = &versions.get(tx, run.version).await?.plan;
        let named: Vec<_> = cleared.instances.iter().map(|i| (plan.task_id(i.0), i.1)).collect();
        set_notes(tx, run.id, &named, Some(note)).await?;
    }
    if options.latest {
        match move_to_newest(tx, locks, versions, actor, run).await? {
            MoveRun::Moved | MoveRun::Same | MoveRun::NoSuchRun | MoveRun::OtherDag => {}
            refused => return Ok(ClearInstances::NotMoved(refused)),
        }
    }
    if let Some(note) = &options.run_note {
        set_note(tx, run.id, Some(note)).await?;
    }
    let event = if options.whole_run { "clear_dag_run" } else { "clear_task_instances" };
    let extra = Some(json!({ "instances": cleared.instances.len() }));
    actor.did(tx, Deed { extra, ..run::about(event, run) }).await?;
    Ok(ClearInstances::Cleared(cleared))
}

/// Returns the audit record of an action on one instance.
pub(crate) fn about<'a>(event: &'a str, run: &'a RunDetails, task_id: &'a str, map_index: i32) -> Deed<'a> {
    Deed { task_id: Some(task_id), map_index: (map_index >= 0).then_some(map_index), ..run::about(event, run) }
}
