//! `orch version`.

use crate::failure::Outcome;
use crate::output::print_line;

/// Print the version of orch
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch version")]
pub(crate) struct Version {}

impl Version {
    pub(crate) fn run(self) -> Outcome {
        print_line(env!("CARGO_PKG_VERSION"))
    }
}
