//! `orch tasks why`, and its alias in Airflow: `orch tasks failed-deps`.

use crate::cx::Cx;
use orch_binary::failure::Outcome;
use orch_binary::names::MapIndexFlag;
use orch_binary::output::{FormatFlag, Listing, print_line};
use orch_spec::state::TaskState;
use serde_json::json;

/// Say why a task does not run, and who is in the way; or why it failed
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch tasks why example_chain step_3 manual__2026-11-20T06:00:00+00:00_Ab3dE6gH\n  \
    orch tasks why example_map double my_run --map-index 2 -o json"
)]
pub(crate) struct TasksWhy {
    #[command(flatten)]
    which: TaskInstanceArgs,
    #[command(flatten)]
    output: FormatFlag,
}

/// Print which dependencies of a task are not met, as Airflow does
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch tasks failed-deps example_chain step_3 my_run")]
pub(crate) struct FailedDeps {
    #[command(flatten)]
    which: TaskInstanceArgs,
}

#[derive(Debug, clap::Args)]
struct TaskInstanceArgs {
    /// The DAG, by id or alias
    dag_id: String,
    task_id: String,
    /// The run, by id or logical date
    #[arg(value_name = "RUN_ID|LOGICAL_DATE")]
    run: String,
    #[command(flatten)]
    map_index: MapIndexFlag,
}

impl TasksWhy {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let run = api.run(&self.which.dag_id, &self.which.run).await?;
        let instance = api.instance(&run, &self.which.task_id, self.which.map_index).await?;
        let obstacles = api.obstacles(&run, &instance).await?;
        let empty = format!("nothing stands in its way: it is `{}`", instance.state);
        let mut listing = Listing::new(["dependency", "reason", "in_the_way"], empty).whole();
        for obstacle in obstacles {
            listing.add([json!(obstacle.name), json!(obstacle.reason), json!(obstacle.in_the_way.join(", "))]);
        }
        if matches!(instance.state, TaskState::Failed | TaskState::UpForRetry) {
            let causes = api.causes(&run, &instance).await?;
            if !causes.is_empty() {
                listing.add([json!("Failure"), json!(causes.join(": ")), json!("")]);
            }
        }
        if instance.state == TaskState::UpstreamFailed {
            listing.add([json!("Upstream"), json!(api.summary(&run, &instance).await?), json!("")]);
        }
        listing.print(self.output.format)
    }
}

impl FailedDeps {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let run = api.run(&self.which.dag_id, &self.which.run).await?;
        let instance = api.instance(&run, &self.which.task_id, self.which.map_index).await?;
        let obstacles = api.obstacles(&run, &instance).await?;
        if obstacles.is_empty() {
            return print_line("Task instance dependencies are all met.");
        }
        let lines = obstacles.iter().map(|obstacle| format!("\n{}: {}", obstacle.name, obstacle.reason));
        print_line(&format!("Task instance dependencies not met:{}", lines.collect::<String>()))
    }
}
