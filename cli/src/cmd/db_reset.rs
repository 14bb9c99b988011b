//! `orch db reset`: deletes all data of orch.

use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::person::YesFlag;
use orch_binary::session::Session;
use orch_store::audit::Deed;
use orch_store::{guard, reset, worker};

/// Delete all DAGs, runs, logs and users, and create an empty schema
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch db reset --yes")]
pub(crate) struct ResetDatabase {
    #[command(flatten)]
    yes: YesFlag,
}

impl ResetDatabase {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let config = cx.config_of_database()?;
        let mut session = Session::open_unchecked(&config).await?;
        if guard::read_schema(&mut session.db).await? == guard::Schema::Fits {
            let workers = worker::list_workers(&mut session.db).await?;
            if let Some(alive) = workers.iter().find(|worker| worker.state == "running" && worker.silent_secs < 60.0) {
                return Err(Failure::new(format!("worker `{}` (pid {}) is at work", alive.name, alive.pid))
                    .hint("stop all orch processes first"));
            }
        }
        self.yes.agree("This deletes every dag, run, log and user of this database.")?;
        reset::reset(&mut session.db).await?;
        session.did(&Deed { event: "reset_db", ..Deed::default() }).await?;
        eprintln!("the schema is empty, at version {}", guard::SCHEMA_VERSION);
        Ok(Exit::Done)
    }
}
