//! `orch-pipelines`: the bundle with the pipelines, which `orch standalone` runs beside itself.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch_dags::binary().main()
}
