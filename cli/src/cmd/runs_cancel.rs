//! `orch runs cancel`.

use crate::app::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::names;
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::run::{EndRun, cancel_run, start_queued_runs};
use orch_store::version::Versions;

/// Stop a run: what it runs is stopped, the rest does not begin, the run has failed
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch runs cancel example_chain my_run")]
pub(crate) struct Cancel {
    /// The run: its DAG and its id, or its id alone
    #[arg(value_names = ["DAG_ID", "RUN_ID"], num_args = 1..=2, required = true)]
    run: Vec<String>,
}

impl Cancel {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut session = cx.session().await?;
        let run = names::any_run(&mut session.db, &self.run).await?;
        let mut versions = Versions::default();
        match cancel_run(&mut session.db, &mut versions, run.id).await? {
            EndRun::Ended(state) => {
                start_queued_runs(&mut session.db, &mut versions, &run.dag_id).await?;
                let deed = Deed {
                    event: "cancel_dag_run",
                    dag_id: Some(&run.dag_id),
                    run_id: Some(&run.run_id),
                    ..Deed::default()
                };
                session.did(&deed, &[Hint::Stop, Hint::Run, Hint::Ready]).await?;
                eprintln!("run `{}` is {state}; what it was running is being stopped", run.run_id);
                Ok(Exit::Done)
            }
            EndRun::AlreadyOver(state) => {
                eprintln!("run `{}` is over already: {state}", run.run_id);
                Ok(Exit::Done)
            }
            EndRun::NoSuchRun => Err(Failure::new(format!("run `{}` was deleted just now", run.run_id))),
        }
    }
}
