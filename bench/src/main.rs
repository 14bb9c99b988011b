//! `orch-bench`, the benchmark of the engine. `orch-bench measure` runs the driver; every other argument is an ordinary
//! orch command with the measured DAGs.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch_bench::main(&orch_bench::ENGINE)
}
