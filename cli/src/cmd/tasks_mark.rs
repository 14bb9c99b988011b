//! `orch tasks mark` and `orch tasks cancel`: somebody says how task instances ended; what runs is stopped.

use crate::app::Cx;
use crate::failure::{Exit, Failure, Outcome};
use crate::names::{self, MapIndexFlag};
use crate::output::{FormatFlag, Listing};
use crate::person::YesFlag;
use crate::session::Session;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::select::relatives;
use orch_core::state::TaskState;
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::instance::{InstanceFilter, list_instances};
use orch_store::mark::{Mark, ask_again, mark_instance};
use orch_store::run::{Around, RunDetails, runs_around, start_queued_runs};
use orch_store::version::Versions;
use serde_json::json;

/// Say how a task ended: what runs is stopped, what has not begun does not begin
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch tasks mark my_dag load my_run success\n  \
    orch tasks mark my_dag load my_run failed --downstream --yes\n  \
    orch tasks mark my_dag load 2026-11-01 success --future --dry-run\n\n\
    What failed below a task that is marked as success or skipped runs again.")]
pub(crate) struct MarkTask {
    /// The DAG, by id or alias
    dag_id: String,
    task_id: String,
    /// The run, by id or logical date
    #[arg(value_name = "RUN_ID|LOGICAL_DATE")]
    run: String,
    /// success, failed or skipped
    #[arg(value_parser = ended)]
    state: TaskState,
    #[command(flatten)]
    map_index: MapIndexFlag,
    #[command(flatten)]
    related: Related,
    /// Only say what would be marked
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    yes: YesFlag,
    #[command(flatten)]
    output: FormatFlag,
}

/// What else is marked with the task.
#[derive(Debug, clap::Args)]
struct Related {
    /// Also what stands above
    #[arg(short, long)]
    upstream: bool,
    /// Also what stands below
    #[arg(short, long)]
    downstream: bool,
    #[command(flatten)]
    around: super::tasks_clear::AroundFlags,
}

/// Stop a task that runs or waits: its process ends, the task has failed, nothing is retried
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "stop",
    after_help = "Examples:\n  orch tasks cancel my_dag load my_run\n  \
    orch tasks cancel my_dag load my_run --map-index 3"
)]
pub(crate) struct Cancel {
    /// The DAG, by id or alias
    dag_id: String,
    task_id: String,
    /// The run, by id or logical date
    #[arg(value_name = "RUN_ID|LOGICAL_DATE")]
    run: String,
    #[command(flatten)]
    map_index: MapIndexFlag,
}

/// Runs before or after the one that is named.
const MOST_RUNS: i64 = 1_000;

fn ended(text: &str) -> Result<TaskState, String> {
    let known = [TaskState::Success, TaskState::Failed, TaskState::Skipped];
    let found = known.into_iter().find(|state| state.as_str() == text);
    found.ok_or_else(|| "it is one of success, failed, skipped".into())
}

/// A run with those of its instances that would change, as they are.
struct Planned {
    run: RunDetails,
    instances: Vec<(TaskIdx, i32, String, TaskState)>,
}

impl MarkTask {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut session = cx.session().await?;
        let dag_id = names::dag_id(&mut session.db, &self.dag_id).await?;
        let run = names::run(&mut session.db, &dag_id, &self.run).await?;
        let mut versions = Versions::default();
        let around = Around { past: self.related.around.past, future: self.related.around.future };
        let runs = runs_around(&mut session.db, &run, around, MOST_RUNS).await?;
        if runs.len() as i64 > MOST_RUNS {
            return Err(Failure::new(format!("more than {MOST_RUNS} runs are meant")).hint("mark them one by one"));
        }
        let mut planned = Vec::new();
        for run in runs {
            planned.extend(self.plan(&mut session, &mut versions, run).await?);
        }
        let count: usize = planned.iter().map(|planned| planned.instances.len()).sum();
        self.print(&planned)?;
        if self.dry_run || count == 0 {
            return Ok(Exit::Done);
        }
        if count > 1 {
            self.yes.agree(&format!("This marks {count} task instances as {}.", self.state))?;
        }
        let mut marked = 0;
        for Planned { run, instances } in &planned {
            for (task, map_index, task_id, _) in instances {
                let instance = (*task, *map_index, task_id.as_str());
                marked += usize::from(mark(&mut session, &mut versions, run, instance, self.state).await?);
            }
            if self.state != TaskState::Failed {
                let tasks: Vec<TaskIdx> = instances.iter().map(|instance| instance.0).collect();
                ask_again(&mut session.db, &mut versions, (run.id, run.version), &tasks).await?;
            }
            start_queued_runs(&mut session.db, &mut versions, &run.dag_id).await?;
        }
        eprintln!("{marked} task instances were marked as {}", self.state);
        Ok(Exit::Done)
    }

    async fn plan(
        &self,
        session: &mut Session,
        versions: &mut Versions,
        run: RunDetails,
    ) -> Result<Option<Planned>, Failure> {
        let plan = versions.get(&mut session.db, run.version).await?.plan.clone();
        let named = self.seed(&plan)?;
        let mut tasks = relatives(&plan, &[named], self.related.upstream, self.related.downstream);
        tasks.insert(named);
        let ids = tasks.iter().map(|task| plan.task_id(*task).to_string()).collect();
        let filter = InstanceFilter { task_ids: Some(ids), ..InstanceFilter::default() };
        let listed = list_instances(&mut session.db, versions, run.id, &filter, 100_000).await?.unwrap_or_default();
        let is_meant = |task: TaskIdx, index: i32| task != named || self.map_index.map_index.is_none_or(|i| i == index);
        let meant = listed.into_iter().filter(|i| i.state != self.state && is_meant(i.task, i.map_index));
        let instances: Vec<_> = meant.map(|i| (i.task, i.map_index, i.task_id, i.state)).collect();
        Ok((!instances.is_empty()).then_some(Planned { run, instances }))
    }

    fn seed(&self, plan: &Plan) -> Result<TaskIdx, Failure> {
        Ok(names::task(&plan.spec, &self.task_id)? as TaskIdx)
    }

    fn print(&self, planned: &[Planned]) -> Outcome {
        let mut listing = Listing::new(["dag_id", "run_id", "task_id", "map_index", "state"], "nothing to mark");
        for Planned { run, instances } in planned {
            for (_, map_index, task_id, state) in instances {
                listing.add([
                    json!(run.dag_id),
                    json!(run.run_id),
                    json!(task_id),
                    json!(map_index),
                    json!(state.as_str()),
                ]);
            }
        }
        listing.print(self.output.format)
    }
}

impl Cancel {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut session = cx.session().await?;
        let dag_id = names::dag_id(&mut session.db, &self.dag_id).await?;
        let run = names::run(&mut session.db, &dag_id, &self.run).await?;
        let instance = names::instance(&mut session.db, &run, &self.task_id, self.map_index).await?;
        if instance.state.is_finished() {
            eprintln!("task `{}` is over already: {}", self.task_id, instance.state);
            return Ok(Exit::Done);
        }
        let mut versions = Versions::default();
        let named = (instance.task, instance.map_index, self.task_id.as_str());
        mark(&mut session, &mut versions, &run, named, TaskState::Failed).await?;
        start_queued_runs(&mut session.db, &mut versions, &run.dag_id).await?;
        eprintln!("task `{}` is failed; it was {}, and what runs of it is being stopped", self.task_id, instance.state);
        Ok(Exit::Done)
    }
}

/// Whether it was marked; a task that waits for its turn cannot be.
async fn mark(
    session: &mut Session,
    versions: &mut Versions,
    run: &RunDetails,
    (task, map_index, task_id): (TaskIdx, i32, &str),
    to: TaskState,
) -> Result<bool, Failure> {
    match mark_instance(&mut session.db, versions, run.id, (task, map_index), to).await? {
        Mark::Marked(was) => {
            let deed = Deed {
                event: "mark_task_instance",
                dag_id: Some(&run.dag_id),
                run_id: Some(&run.run_id),
                task_id: Some(task_id),
                map_index: (map_index >= 0).then_some(map_index),
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
