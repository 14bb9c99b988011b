//! `orch db shell`: runs `psql` on the database that other commands use.

use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::session::Session;
use orch_store::database_url::split_password;
use std::io::ErrorKind;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// Open psql at orch's database; the password does not stand in the list of processes
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch db shell\n  orch db shell -- -c 'select state, count(*) from dag_run group by 1'"
)]
pub(crate) struct Shell {
    /// Passed on to psql
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

impl Shell {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let config = cx.config_of_database()?;
        // A private server that is not running is started while the shell is open.
        let session = Session::open_unchecked(&config).await?;
        let (url, password) = split_password(&session.url);
        let mut psql = Command::new("psql");
        psql.arg(&url).args(&self.arguments);
        if let Some(password) = password {
            psql.env("PGPASSWORD", password);
        }
        // Ctrl-C is for `psql`, where it cancels a query. It must not end this process.
        let interrupts = signal(SignalKind::interrupt()).map_err(Failure::io("cannot listen to signals"))?;
        let ended = psql.status().await;
        drop((interrupts, session));
        match ended {
            Ok(status) if status.success() => Ok(Exit::Done),
            Ok(_) => Ok(Exit::Failed),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(Failure::new("there is no `psql` on this machine").hint("install `postgresql-client`"))
            }
            Err(error) => Err(Failure::io("cannot start `psql`")(error)),
        }
    }
}
