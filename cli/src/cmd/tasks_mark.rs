//! `orch tasks mark` and `orch tasks cancel`: sets the final state of task instances manually. Running ones are
//! stopped.

use crate::api::{Instance, MarkRequest};
use crate::cx::Cx;
use orch_binary::failure::{Exit, Outcome};
use orch_binary::names::MapIndexFlag;
use orch_binary::output::{FormatFlag, Listing, counted};
use orch_binary::person::YesFlag;
use orch_spec::state::TaskState;
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
pub(crate) struct CancelTask {
    /// The DAG, by id or alias
    dag_id: String,
    task_id: String,
    /// The run, by id or logical date
    #[arg(value_name = "RUN_ID|LOGICAL_DATE")]
    run: String,
    #[command(flatten)]
    map_index: MapIndexFlag,
}

fn ended(text: &str) -> Result<TaskState, String> {
    let known = [TaskState::Success, TaskState::Failed, TaskState::Skipped];
    let found = known.into_iter().find(|state| state.as_str() == text);
    found.ok_or_else(|| "write success, failed or skipped".into())
}

impl MarkTask {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let run = api.run(&self.dag_id, &self.run).await?;
        let request = MarkRequest {
            state: self.state,
            map_index: self.map_index.map_index,
            upstream: self.related.upstream,
            downstream: self.related.downstream,
            past: self.related.around.past,
            future: self.related.around.future,
        };
        let meant = api.would_mark(&run, &self.task_id, &request).await?;
        self.print(&meant)?;
        if self.dry_run || meant.is_empty() {
            return Ok(Exit::Done);
        }
        if meant.len() > 1 {
            self.yes.agree(&format!("This marks {} task instances as {}.", meant.len(), self.state))?;
        }
        let marked = api.mark(&run, &self.task_id, &request).await?;
        eprintln!("{} marked as {}", counted(marked, "task instance"), self.state);
        Ok(Exit::Done)
    }

    fn print(&self, meant: &[Instance]) -> Outcome {
        let mut listing = Listing::new(["dag_id", "run_id", "task_id", "map_index", "state"], "nothing to mark");
        for instance in meant {
            listing.add([
                json!(instance.dag_id),
                json!(instance.run_id),
                json!(instance.task_id),
                json!(instance.map_index),
                json!(instance.state.as_str()),
            ]);
        }
        listing.print(self.output.format)
    }
}

impl CancelTask {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let run = api.run(&self.dag_id, &self.run).await?;
        let instance = api.instance(&run, &self.task_id, self.map_index).await?;
        if instance.state.is_finished() {
            eprintln!("task `{}` is over already: {}", self.task_id, instance.state);
            return Ok(Exit::Done);
        }
        api.mark(&run, &self.task_id, &MarkRequest::only(instance.map_index, TaskState::Failed)).await?;
        eprintln!("task `{}` is failed; it was {}, and what runs of it is being stopped", self.task_id, instance.state);
        Ok(Exit::Done)
    }
}
