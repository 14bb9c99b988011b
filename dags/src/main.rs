//! `orch` with every DAG of this repository.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch::Binary::new(orch_dags::dags).connections(orch_dags::connections::defaults).lake(orch_dags::lake()).main()
}
