//! `orch tasks state`.

use crate::cx::Cx;
use orch_binary::failure::Outcome;
use orch_binary::names::MapIndexFlag;
use orch_binary::output::print_line;

/// Print the state of a task in a run
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch tasks state example_chain step_3 manual__2026-11-20T06:00:00+00:00_Ab3dE6gH\n  \
    orch tasks state example_map double my_run --map-index 2"
)]
pub(crate) struct ShowTaskState {
    /// The DAG, by id or alias
    dag_id: String,
    task_id: String,
    /// The run, by id or logical date
    #[arg(value_name = "RUN_ID|LOGICAL_DATE")]
    run: String,
    #[command(flatten)]
    map_index: MapIndexFlag,
}

impl ShowTaskState {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let run = api.run(&self.dag_id, &self.run).await?;
        let instance = api.instance(&run, &self.task_id, self.map_index).await?;
        print_line(instance.state.as_str())
    }
}
