//! The command line of `orch` as a tree.

use crate::airflow;
use crate::cmd::Command;
use crate::cx::Cx;
use clap::CommandFactory as _;
use orch_binary::BundleSource;
use orch_binary::app::{self, CommandLine, GlobalFlags};
use orch_binary::failure::Outcome;
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
        (self.flags, |cx| self.command.run(&Cx::new(cx, App::command)))
    }

    fn hint(words: &[&str]) -> Option<&'static str> {
        airflow::hint(words)
    }
}

/// Returns all commands with their flags, for tests that check every command.
pub fn command_line() -> clap::Command {
    App::command()
}

/// Runs the command line. The only function that a binary needs.
pub fn main(bundle: BundleSource) -> ExitCode {
    app::run_binary::<App>(bundle)
}
