//! Code shared by the benchmarks of orch: a binary that is both driver and orch, a temporary installation, a table of
//! results beside their targets, and `bench/results.json`.

#![expect(clippy::cast_precision_loss, reason = "figures of some digits are made from counts and nanoseconds")]

mod bodies;
mod clock;
mod dags;
pub mod measure;

use std::process::ExitCode;

pub use measure::{Bench, Figure, Group, IdleUsage, Suite, pause, percentile, process, server, stand_still, targets};

/// The benchmark of the engine.
pub const ENGINE: Suite = Suite {
    name: "orch-bench",
    targets: &targets::ENGINE,
    groups: &measure::ENGINE,
    floor: &measure::FLOOR,
    is_apart: false,
    orch: || orch_cli::main(orch::Binary::new(dags::dags).source()),
};

/// Runs the driver of the suite if the first argument is `measure`: it starts this same binary as `standalone` on a new
/// cluster and measures it. Any other argument runs the `orch` that is measured.
pub fn main(suite: &Suite) -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == "measure") {
        return measure::main(suite);
    }
    (suite.orch)()
}
