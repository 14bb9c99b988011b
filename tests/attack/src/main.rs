//! The control plane of the attacked installation. It starts the bundle binary from its own folder.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch_cli::main(orch::Binary::new(Vec::new).bundle("orch-bundle-under-attack").source())
}
