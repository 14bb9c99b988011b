//! What every bench of orch shares: a binary with two faces, an installation in a temporary folder, a table of figures beside
//! what was promised, `bench/results.json`.

#![expect(clippy::cast_precision_loss, reason = "figures of some digits are made from counts and nanoseconds")]

mod bodies;
mod clock;
mod dags;
pub mod measure;

use std::process::ExitCode;

pub use measure::{Bench, Figure, Group, IdleUsage, Suite, pause, percentile, process, server, stand_still, targets};

/// The engine's rows.
pub const ENGINE: Suite = Suite {
    name: "orch-bench",
    targets: &targets::ENGINE,
    groups: &measure::ENGINE,
    floor: &measure::FLOOR,
    is_apart: false,
    orch: || orch_cli::main(orch::Binary::new(dags::dags).source()),
};

/// With the word `measure` the driver of the suite: it starts this same binary as `standalone` on a new cluster and
/// measures. With every other word the `orch` that is measured.
pub fn main(suite: &Suite) -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == "measure") {
        return measure::main(suite);
    }
    (suite.orch)()
}
