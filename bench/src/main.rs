//! `orch-bench`, a binary with two faces. `orch-bench measure` is the driver: it starts this same binary as
//! `standalone` on a new cluster, triggers through the API and the command line, and prints what it cost. Every other
//! word is an ordinary orch command over the DAGs that are measured.

#![expect(clippy::cast_precision_loss, reason = "figures of some digits are made from counts and nanoseconds")]

mod bodies;
mod clock;
mod dags;
mod measure;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == "measure") {
        return measure::main();
    }
    orch::main(dags::dags)
}
