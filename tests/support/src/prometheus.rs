//! Reads metrics with Prometheus' own parser.

use crate::venv::venv;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const PACKAGE: &str = "prometheus-client==0.26.0";

/// Returns the names of the metrics at a URL. `secret` is the variable with the credential and its value:
/// `ORCH_METRICS_TOKEN` for a process, or `ORCH_PASSWORD` of the user `admin` for a web server.
///
/// # Errors
/// Returns the message of the parser if it rejects the metrics.
pub fn read_metrics(url: &str, (kind, secret): (&str, &str)) -> Result<BTreeSet<String>, String> {
    let python = venv("prometheus", &[PACKAGE]).join("python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/prometheus.py");
    let read = Command::new(python).arg(script).arg(url).env(kind, secret).output().expect("Python can be started");
    let names = String::from_utf8_lossy(&read.stdout).lines().map(ToOwned::to_owned).collect();
    if read.status.success() { Ok(names) } else { Err(String::from_utf8_lossy(&read.stderr).into_owned()) }
}
