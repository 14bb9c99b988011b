//! `orch runs move`: a run goes on in another version of its DAG.

use crate::app::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::names;
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::run::{MoveRun, move_run};
use orch_store::version::Versions;
use serde_json::json;

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
        let mut session = cx.session().await?;
        let run = names::any_run(&mut session.db, &self.run).await?;
        let dag = names::dag(&mut session.db, &run.dag_id).await?;
        let name = &run.run_id;
        match move_run(&mut session.db, &mut Versions::default(), run.id, dag.version).await? {
            MoveRun::Moved => {
                let deed = Deed {
                    event: "move_dag_run",
                    dag_id: Some(&run.dag_id),
                    run_id: Some(name),
                    extra: Some(json!({ "from": run.version_number, "to": dag.version_number })),
                    ..Deed::default()
                };
                session.did(&deed, &[Hint::Ready]).await?;
                eprintln!("run `{name}` goes on in version {} (was {})", dag.version_number, run.version_number);
                Ok(Exit::Done)
            }
            MoveRun::Same => {
                eprintln!("run `{name}` is of version {} already, the newest", dag.version_number);
                Ok(Exit::Done)
            }
            MoveRun::Over(state) => Err(Failure::new(format!("run `{name}` is over: {state}"))
                .hint(format!("clear what shall run again: `orch tasks clear {} --run-id {name}`", run.dag_id))),
            MoveRun::Running => {
                Err(Failure::new(format!("run `{name}` has running tasks, which are of its old version"))
                    .hint("try again when they are over"))
            }
            MoveRun::CannotMove(why) => {
                Err(Failure::new(format!("run `{name}` cannot go on in the newest version: {why}"))
                    .hint("start a worker with the old version until the run is over, or cancel it"))
            }
            MoveRun::OtherDag | MoveRun::NoSuchRun => {
                Err(Failure::new(format!("run `{name}` or its dag was deleted just now")))
            }
        }
    }
}
