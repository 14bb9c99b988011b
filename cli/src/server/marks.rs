//! Saying how task instances ended, at the database or over the API.

use super::Server;
use orch_binary::failure::Failure;
use orch_binary::names;
use orch_binary::session::Session;
use orch_core::plan::TaskIdx;
use orch_core::select::relatives;
use orch_core::state::TaskState;
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::instance::{InstanceFilter, InstanceRow, list_instances};
use orch_store::mark::{Mark, ask_again, mark_instance};
use orch_store::run::{Around, RunDetails, runs_around, start_queued_runs};
use orch_store::version::Versions;
use serde_json::json;

/// Runs before or after the one that is named.
const MOST_RUNS: i64 = 1_000;
/// Of one run.
const MOST_INSTANCES: usize = 100_000;

/// How instances are said to have ended, and which besides those of the task that is named.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command and a field of the API")]
pub(crate) struct MarkWish {
    pub(crate) state: TaskState,
    /// One element of it; all without this.
    pub(crate) map_index: Option<i32>,
    pub(crate) upstream: bool,
    pub(crate) downstream: bool,
    pub(crate) past: bool,
    pub(crate) future: bool,
}

impl MarkWish {
    /// Of this instance and no other.
    pub(crate) fn only(map_index: i32, state: TaskState) -> MarkWish {
        let map_index = (map_index >= 0).then_some(map_index);
        MarkWish { state, map_index, upstream: false, downstream: false, past: false, future: false }
    }
}

/// An instance as it stands.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) dag_id: String,
    pub(crate) run_id: String,
    pub(crate) task_id: String,
    pub(crate) map_index: i32,
    pub(crate) state: TaskState,
}

/// A run with those of its instances that would change.
type Meant = (RunDetails, Vec<InstanceRow>);

impl Server {
    /// What would change.
    pub(crate) async fn would_mark(
        &mut self,
        run: &RunDetails,
        task_id: &str,
        wish: &MarkWish,
    ) -> Result<Vec<Instance>, Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.would_mark(run, task_id, wish),
        };
        let meant = meant(session, &mut Versions::default(), run, task_id, wish).await?;
        let shown = |(run, instances): Meant| {
            instances.into_iter().map(move |instance| Instance {
                dag_id: run.dag_id.clone(),
                run_id: run.run_id.clone(),
                task_id: instance.task_id,
                map_index: instance.map_index,
                state: instance.state,
            })
        };
        Ok(meant.into_iter().flat_map(shown).collect())
    }

    /// How many were marked.
    pub(crate) async fn mark(&mut self, run: &RunDetails, task_id: &str, wish: &MarkWish) -> Result<usize, Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.mark(run, task_id, wish),
        };
        let (mut versions, mut marked) = (Versions::default(), 0);
        for (run, instances) in meant(session, &mut versions, run, task_id, wish).await? {
            for instance in &instances {
                marked += usize::from(mark(session, &mut versions, &run, instance, wish.state).await?);
            }
            if wish.state != TaskState::Failed {
                let tasks: Vec<TaskIdx> = instances.iter().map(|instance| instance.task).collect();
                ask_again(&mut session.db, &mut versions, (run.id, run.version), &tasks).await?;
            }
            start_queued_runs(&mut session.db, &mut versions, &run.dag_id).await?;
        }
        Ok(marked)
    }
}

async fn meant(
    session: &mut Session,
    versions: &mut Versions,
    run: &RunDetails,
    task_id: &str,
    wish: &MarkWish,
) -> Result<Vec<Meant>, Failure> {
    let around = Around { past: wish.past, future: wish.future };
    let runs = runs_around(&mut session.db, run, around, MOST_RUNS).await?;
    if runs.len() as i64 > MOST_RUNS {
        return Err(Failure::new(format!("more than {MOST_RUNS} runs are meant")).hint("mark them one by one"));
    }
    let mut meant = Vec::new();
    for run in runs {
        let plan = versions.get(&mut session.db, run.version).await?.plan.clone();
        let named = names::task(&plan.spec, task_id)? as TaskIdx;
        let mut tasks = relatives(&plan, &[named], wish.upstream, wish.downstream);
        tasks.insert(named);
        let ids = tasks.iter().map(|task| plan.task_id(*task).to_string()).collect();
        let filter = InstanceFilter { task_ids: Some(ids), ..InstanceFilter::default() };
        let listed = list_instances(&mut session.db, versions, run.id, &filter, MOST_INSTANCES).await?;
        let mut listed = listed.unwrap_or_default();
        let is_element = |i: &InstanceRow| i.task != named || wish.map_index.is_none_or(|index| index == i.map_index);
        listed.retain(|instance| instance.state != wish.state && is_element(instance));
        if !listed.is_empty() {
            meant.push((run, listed));
        }
    }
    Ok(meant)
}

/// Whether it was marked; a task that waits for its turn cannot be.
async fn mark(
    session: &mut Session,
    versions: &mut Versions,
    run: &RunDetails,
    InstanceRow { task, map_index, task_id, .. }: &InstanceRow,
    to: TaskState,
) -> Result<bool, Failure> {
    match mark_instance(&mut session.db, versions, (run.id, Some(run.version)), (*task, *map_index), to).await? {
        Mark::Marked(was) => {
            let deed = Deed {
                event: "mark_task_instance",
                dag_id: Some(&run.dag_id),
                run_id: Some(&run.run_id),
                task_id: Some(task_id),
                map_index: (*map_index >= 0).then_some(*map_index),
                extra: Some(json!({ "state": to, "was": was })),
                ..Deed::default()
            };
            session.did(&deed, &[Hint::Ready, Hint::Run, Hint::Stop]).await?;
            Ok(true)
        }
        Mark::Same | Mark::NoSuchInstance => Ok(false),
        Mark::NotYet => {
            eprintln!(
                "task `{task_id}` of run `{}` cannot be marked yet: the list it is mapped over is not known, or its run has not begun",
                run.run_id
            );
            Ok(false)
        }
    }
}
