//! Tests of `orch` without a bundle: its own features work, and errors for missing features contain the next step.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

use std::io::BufRead as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Returns a command for a copy of `orch` in an empty folder, without the `ORCH_*` variables of this machine.
fn orch(home: &Path) -> Command {
    let binary = home.join("orch");
    if !binary.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_orch"), &binary).unwrap();
    }
    let mut command = Command::new(binary);
    #[expect(clippy::disallowed_methods, reason = "to take things out of it, not to read it")]
    let foreign = std::env::vars_os().map(|(name, _)| name);
    for name in foreign.filter(|name| name.as_encoded_bytes().starts_with(b"ORCH_")) {
        command.env_remove(name);
    }
    command.env("HOME", home).env("ORCH_DATA_DIR", home.join("data")).stdin(Stdio::null());
    command
}

fn run_orch(home: &Path, arguments: &[&str]) -> Output {
    orch(home).args(arguments).output().unwrap()
}

#[test]
fn it_runs_the_examples_and_says_what_needs_a_bundle() {
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let mut standalone = orch(home.path())
        .args(["standalone", "--port", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let url = std::io::BufReader::new(standalone.stdout.take().unwrap()).lines().next();
    assert!(url.unwrap().unwrap().starts_with("http://127.0.0.1:"));
    let ran = run_orch(home.path(), &["dags", "trigger", "example_hello", "--wait"]);
    assert!(ran.status.success(), "{ran:?}");
    let asked = run_orch(home.path(), &["sql", "select 1"]);
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(
        asked.status.code() == Some(2) && said.contains("hint: build `orch-pipelines` with `make build`"),
        "{said}"
    );
    let pid = nix::unistd::Pid::from_raw(standalone.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert!(standalone.wait().unwrap().success());
}
