//! `orch tasks output`: what a task returned or pushed, as JSON.

use super::kept::pretty;
use crate::cx::Cx;
use orch_binary::failure::{Failure, Outcome};
use orch_binary::names::MapIndexFlag;
use orch_binary::output::print;

/// Key of the value that a task returns.
const RETURN_VALUE: &str = "return_value";

/// Print the output of a task as JSON; outputs are called `XComs` in Airflow
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch tasks output example_chain step_1 my_run\n  \
    orch tasks output example_map double my_run --map-index 2\n  orch tasks output my_dag load my_run --key rows\n\n\
    Exit code: 0 it was printed, 2 the task has no such output.")]
pub(crate) struct TaskOutput {
    /// The DAG, by id or alias
    dag_id: String,
    task_id: String,
    /// The run, by id or logical date
    #[arg(value_name = "RUN_ID|LOGICAL_DATE")]
    run: String,
    /// Name of a value that the task pushed
    #[arg(short, long, value_name = "NAME", default_value = RETURN_VALUE)]
    key: String,
    #[command(flatten)]
    map_index: MapIndexFlag,
}

impl TaskOutput {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let run = api.run(&self.dag_id, &self.run).await?;
        let instance = api.instance(&run, &self.task_id, self.map_index).await?;
        if let Some(value) = api.instance_output(&run, &instance, &self.key).await? {
            return print(&pretty(&value));
        }
        let failure =
            Failure::new(format!("task `{}` has no output `{}` in run `{}`", self.task_id, self.key, run.run_id));
        let keys = api.output_keys(&run, &instance).await?;
        Err(failure.hint(if keys.is_empty() {
            format!("it has none: its state is `{}`, and a task without a return value has no output", instance.state)
        } else {
            format!("name one of its outputs with `--key`: {}", keys.join(", "))
        }))
    }
}
