//! `orch-bench`: the engine measured. `orch-bench measure` is the driver; every other word is an ordinary orch command over
//! the DAGs that are measured.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch_bench::main(&orch_bench::ENGINE)
}
