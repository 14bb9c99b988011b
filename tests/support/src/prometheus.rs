//! Prometheus' own parser, for what processes tell it.

use crate::venv::venv;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const PACKAGE: &str = "prometheus-client==0.26.0";

/// The names that are told at an address. `secret`: what its door asks for, `ORCH_METRICS_TOKEN` of a process or `ORCH_PASSWORD` of
/// the user `admin` of a web server, with its value.
///
/// # Errors
/// What the parser said.
pub fn read_metrics(url: &str, (kind, secret): (&str, &str)) -> Result<BTreeSet<String>, String> {
    let python = venv("prometheus", &[PACKAGE]).join("python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/prometheus.py");
    let read = Command::new(python).arg(script).arg(url).env(kind, secret).output().expect("Python can be started");
    let names = String::from_utf8_lossy(&read.stdout).lines().map(ToOwned::to_owned).collect();
    if read.status.success() { Ok(names) } else { Err(String::from_utf8_lossy(&read.stderr).into_owned()) }
}
