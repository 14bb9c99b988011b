//! Runs other tools on the same task, servers and files directly after orch. They run if a Python that has them is set
//! (`bench/peers/install.sh lake`); `bench/peers/table.py` tabulates their output.

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs::File;
use std::process::{Command, Stdio};

/// Variables with the path of the Python, and of the file that collects its output.
const PYTHON: &str = "ORCH_BENCH_LAKE_PYTHON";
const RESULTS: &str = "ORCH_BENCH_LAKE_RESULTS";

#[expect(clippy::disallowed_methods, reason = "a bench is told by its script what else to run")]
fn asked() -> Option<(OsString, OsString)> {
    Some((std::env::var_os(PYTHON)?, std::env::var_os(RESULTS)?))
}

/// Returns true if peers are requested, so that their input files are needed.
pub(crate) fn are_asked() -> bool {
    asked().is_some()
}

/// Runs one part of `bench/peers/run_lake.py` if peers are requested.
pub(crate) fn run_peer(part: &str, arguments: &[&str]) -> Result<()> {
    let Some((python, results)) = asked() else { return Ok(()) };
    let results = File::options().create(true).append(true).open(&results).context("cannot keep what peers print")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../peers/run_lake.py");
    eprintln!("  and its peers");
    let status =
        Command::new(python).arg(script).arg(part).args(arguments).stdin(Stdio::null()).stdout(results).status();
    let status = status.context("cannot start the Python of the peers")?;
    if !status.success() {
        bail!("`{script} {part}` ended with {status}");
    }
    Ok(())
}
