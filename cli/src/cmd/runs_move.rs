//! `orch runs move`: continues a run in another version of its DAG.

use crate::cx::Cx;
use orch_binary::failure::{Exit, Outcome};

/// Go on with a run in the newest version of its DAG
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch runs move example_chain my_run --to latest")]
pub(crate) struct Move {
    /// The run: its DAG and its id, or its id alone
    #[arg(value_names = ["DAG_ID", "RUN_ID"], num_args = 1..=2, required = true)]
    run: Vec<String>,
    /// The version to move to
    #[arg(long, value_parser = ["latest"], default_value = "latest")]
    to: String,
}

impl Move {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let run = api.any_run(&self.run).await?;
        let (name, was, now) = (&run.run_id, run.version_number, api.move_run(&run).await?.version_number);
        if now == was {
            eprintln!("run `{name}` is of version {now} already, the newest");
        } else {
            eprintln!("run `{name}` continues in version {now} (was {was})");
        }
        Ok(Exit::Done)
    }
}
