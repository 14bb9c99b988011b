//! `orch version`.

use orch_binary::failure::Outcome;
use orch_binary::output::print_line;

/// Print the version of orch
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch version")]
pub(crate) struct Version {}

impl Version {
    pub(crate) fn run() -> Outcome {
        print_line(env!("CARGO_PKG_VERSION"))
    }
}
