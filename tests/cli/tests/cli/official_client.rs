//! Airflow's own Python client against orch: its strict models must accept every response. It is installed once, below
//! the target folder; without Python or the package index the test fails with the command that is missing.

use crate::remote::PASSWORD;
use crate::standalone::Standalone;
use std::path::Path;
use std::process::Command;

const PACKAGE: &str = "apache-airflow-client==3.3.2";

#[test]
fn the_official_client_accepts_every_answer() {
    let python = orch_test_support::venv("airflow-client", &[PACKAGE]).join("python");
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let standalone = Standalone::start(home.path(), &["--admin-password", PASSWORD]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/official_client.py");
    let mut command = Command::new(python);
    command.arg(script).arg(&standalone.url).env("ORCH_PASSWORD", PASSWORD);
    let ended = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{out}\n{err}");
}
