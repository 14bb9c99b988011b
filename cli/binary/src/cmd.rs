//! The commands of a bundle's binary: those that need its task functions. All other commands are in `orch`.

pub mod dags_test;
pub mod tasks_test;
pub mod worker;

use crate::app::{CommandLine, Cx, GlobalFlags, block_on};
use crate::failure::{Failure, Outcome};
use std::ffi::OsString;

/// A bundle: DAGs with their bodies, for `orch` to run
#[derive(Debug, clap::Parser)]
#[command(
    name = "orch-bundle",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110,
    after_help = "`orch standalone --bundle <this binary>` runs its DAGs, `orch dev` builds it again with each change; \
        all other commands belong to `orch`."
)]
pub(crate) struct Bundled {
    #[command(flatten)]
    flags: GlobalFlags,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Worker(Box<worker::Worker>),
    /// DAGs of this binary
    #[command(subcommand, subcommand_required = true)]
    Dags(Dags),
    /// Tasks of this binary
    #[command(subcommand, subcommand_required = true)]
    Tasks(Tasks),
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

#[derive(Debug, clap::Subcommand)]
enum Dags {
    Test(dags_test::TestDag),
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

#[derive(Debug, clap::Subcommand)]
enum Tasks {
    Test(tasks_test::TestTask),
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

impl CommandLine for Bundled {
    fn parts(self) -> (GlobalFlags, impl FnOnce(Cx) -> Outcome) {
        (self.flags, |cx| self.command.run(&cx))
    }
}

impl Command {
    fn run(self, cx: &Cx) -> Outcome {
        match self {
            Command::Worker(command) => command.run(cx),
            Command::Dags(Dags::Test(command)) => command.run(cx),
            Command::Tasks(Tasks::Test(command)) => block_on(command.run(cx)),
            Command::Dags(Dags::Other(words)) => Err(not_here("dags ", &words)),
            Command::Tasks(Tasks::Other(words)) => Err(not_here("tasks ", &words)),
            Command::Other(words) => Err(not_here("", &words)),
        }
    }
}

fn not_here(noun: &str, words: &[OsString]) -> Failure {
    let word = words.first().map_or_else(String::new, |word| word.to_string_lossy().into_owned());
    Failure::new(format!("a bundle has no command `{noun}{word}`"))
        .hint(format!("try `orch {noun}{word}`; `--help` lists the commands of a bundle"))
}
