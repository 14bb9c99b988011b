//! `orch dags state`.

use crate::cx::Cx;
use orch_binary::failure::Outcome;
use orch_binary::output::print_line;

/// Print the state of a run, and its conf if it has one
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags state example_chain manual__2026-11-20T06:00:00+00:00_Ab3dE6gH\n  \
    orch dags state my_dag 2026-11-20T06:00:00+00:00")]
pub(crate) struct ShowRunState {
    /// The DAG, by id or alias
    dag_id: String,
    /// The run, by id or logical date
    #[arg(value_name = "RUN_ID|LOGICAL_DATE")]
    run: String,
}

impl ShowRunState {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let run = cx.api().await?.run(&self.dag_id, &self.run).await?;
        match run.conf.filter(|conf| conf.as_object().is_none_or(|fields| !fields.is_empty())) {
            Some(conf) => print_line(&format!("{}, {conf}", run.state)),
            None => print_line(run.state.as_str()),
        }
    }
}
