//! `orch runs cancel`.

use crate::cx::Cx;
use orch_binary::failure::{Exit, Outcome};

/// Stop a run: what it runs is stopped, the rest does not begin, the run has failed
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch runs cancel example_chain my_run")]
pub(crate) struct CancelRun {
    /// The run: its DAG and its id, or its id alone
    #[arg(value_names = ["DAG_ID", "RUN_ID"], num_args = 1..=2, required = true)]
    run: Vec<String>,
}

impl CancelRun {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let run = api.any_run(&self.run).await?;
        let now = api.cancel_run(&run).await?;
        if run.state.is_finished() {
            eprintln!("run `{}` is over already: {}", now.run_id, now.state);
        } else {
            eprintln!("run `{}` is {}; what it was running is being stopped", now.run_id, now.state);
        }
        Ok(Exit::Done)
    }
}
