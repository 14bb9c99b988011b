//! The bundle binary `orch-pipelines`, which `orch standalone` runs next to itself.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch_dags::binary().main()
}
