//! `orch` with every DAG of this repository.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch_dags::binary().main()
}
