//! `orch db migrate`: migrates the schema to the version of this binary.

use crate::cx::Cx;
use orch_binary::failure::{Exit, Outcome};
use orch_binary::output::with_progress;
use orch_binary::roles;
use orch_binary::session::Session;
use orch_store::guard::{self, SCHEMA_VERSION};
use std::time::Duration;

/// Create the schema, or bring it up to this version of orch
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch db migrate --database-url postgres://orch@db/orch")]
pub(crate) struct Migrate {}

impl Migrate {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let config = cx.config_of_database()?;
        let mut session = Session::open_unchecked(&config).await?;
        let so_far =
            |took: Duration| format!("bringing the schema up to version {SCHEMA_VERSION}: {} s", took.as_secs());
        with_progress(guard::migrate(&mut session.db), so_far).await?;
        if config.task_role.is_some() {
            roles::prepare_task_role(&config, &mut session.db, &session.url).await?;
        }
        eprintln!("the schema is at version {SCHEMA_VERSION}");
        Ok(Exit::Done)
    }
}
