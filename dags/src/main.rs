//! `orch` with every DAG of this repository.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch::main(orch_dags::dags)
}
