//! Airflow's own Python client against orch: its strict models must accept every answer. It is installed once, below the
//! target folder; without Python or the package index the test fails with the command that is missing.

use crate::remote::PASSWORD;
use crate::standalone::Standalone;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "apache-airflow-client==3.3.2";

/// A Python that has the client.
fn python() -> PathBuf {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("airflow-client-3.3.2");
    let (python, whole) = (venv.join("bin/python"), venv.join("installed"));
    if !whole.exists() {
        let folder = venv.to_str().unwrap();
        let install = format!("python3 -m venv --clear {folder} && {folder}/bin/pip install -q {PACKAGE}");
        let done = Command::new("sh").args(["-c", &install]).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "the client could not be installed: try `{install}`\n{said}");
        std::fs::write(&whole, PACKAGE).unwrap();
    }
    python
}

#[test]
fn the_official_client_accepts_every_answer() {
    let python = python();
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let standalone = Standalone::start(home.path(), &["--admin-password", PASSWORD]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/official_client.py");
    let mut command = Command::new(python);
    command.arg(script).arg(&standalone.url).env("ORCH_PASSWORD", PASSWORD);
    let ended = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{out}\n{err}");
}
