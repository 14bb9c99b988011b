//! `orch runs wait`.

use crate::cx::Cx;
use orch_binary::failure::Outcome;
use orch_binary::wait::TimeoutFlag;

/// Wait until a run is over; the exit code says how it ended
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "watch",
    after_help = "Examples:\n  orch runs wait example_chain my_run --timeout 5m\n\n\
    Exit code: 0 it ended well, 1 it failed, 2 it could not be waited for."
)]
pub(crate) struct WaitForRun {
    /// The run: its DAG and its id, or its id alone
    #[arg(value_names = ["DAG_ID", "RUN_ID"], num_args = 1..=2, required = true)]
    run: Vec<String>,
    #[command(flatten)]
    timeout: TimeoutFlag,
}

impl WaitForRun {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let run = api.any_run(&self.run).await?;
        if !run.state.is_finished() {
            api.check_at_work("start it with `orch standalone`")?;
        }
        let run = api.wait_for_run(run, self.timeout).await?;
        Ok(api.outcome(&run).await)
    }
}
