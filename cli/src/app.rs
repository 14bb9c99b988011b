//! The command line of `orch` as a tree.

use crate::api::Api;
use crate::cmd::Command;
use orch_binary::BundleSource;
use orch_binary::app::{self, CommandLine, GlobalFlags};
pub(crate) use orch_binary::app::{block_on, block_on_value};
use orch_binary::failure::{Failure, Outcome};
use orch_binary::session::Session;
use std::ops::Deref;
use std::process::ExitCode;

/// Workflows on Postgres: DAGs that the compiler checks, milliseconds between tasks.
#[derive(Debug, clap::Parser)]
#[command(
    name = "orch",
    bin_name = "orch",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110,
    after_help = "Examples:\n  orch standalone                             a whole orch with its own database\n  \
        orch dags list                              what can run\n  \
        orch dags trigger example_chain --wait      run it and see how it ends"
)]
pub(crate) struct App {
    #[command(flatten)]
    flags: GlobalFlags,

    #[command(subcommand)]
    command: Command,
}

impl CommandLine for App {
    fn parts(self) -> (GlobalFlags, impl FnOnce(app::Cx) -> Outcome) {
        (self.flags, |cx| self.command.run(&Cx(cx)))
    }
}

/// What every command may ask for.
pub(crate) struct Cx(app::Cx);

impl Deref for Cx {
    type Target = app::Cx;

    fn deref(&self) -> &app::Cx {
        &self.0
    }
}

impl Cx {
    /// The API: of the server that was named, else in this process on the database.
    pub(crate) async fn api(&self) -> Result<Api, Failure> {
        match self.remote()? {
            Some(api) => Ok(api),
            None => {
                let config = self.config()?;
                Api::here(&config, Session::open(&config).await?)
            }
        }
    }

    /// The API of a server, if one was named.
    pub(crate) fn remote(&self) -> Result<Option<Api>, Failure> {
        let config = self.config()?;
        config.api_url()?.map(|url| Api::over_http(url, config.api_token.as_ref())).transpose()
    }
}

/// Does what the command line says. The only function a binary needs.
pub fn main(bundle: BundleSource) -> ExitCode {
    app::run::<App>(bundle)
}
