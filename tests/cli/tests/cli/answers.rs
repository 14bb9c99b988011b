//! Schemathesis against `/openapi.json` of a real server, with valid and invalid data: no response may be a server
//! error, and every response must match its schema. It is installed once, below the target folder; without Python or
//! the package index the test fails with the command that is missing. It takes minutes on one core, and the name of
//! this module makes it one of the first tests to start, so that it does not run alone at the end.

use crate::binary::run;
use crate::remote::{PASSWORD, token};
use crate::standalone::Standalone;
use std::path::Path;
use std::process::Command;

const PACKAGE: &str = "schemathesis==4.32.5";
/// Random cases per operation, in addition to those that cover its schema systematically.
const EXAMPLES: u32 = 4;
/// Factor for the number of cases with `ORCH_TEST_LONG`.
const LONGER: u32 = 10;

#[test]
fn every_answer_is_as_described_whatever_is_sent() {
    let program = orch_test_support::venv("schemathesis", &[PACKAGE]).join("st");
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let standalone = Standalone::start(home.path(), &["--admin-password", PASSWORD]);
    for dag in ["example_chain", "example_fan", "example_hello"] {
        run(home.path(), ["dags", "trigger", dag, "--run-id", "seeded", "--wait"]).done();
    }
    let token = token(&standalone.url);
    #[expect(clippy::disallowed_methods, reason = "what a test run may take is said by the environment")]
    let long = std::env::var_os("ORCH_TEST_LONG").is_some();
    let examples = if long { EXAMPLES * LONGER } else { EXAMPLES };
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/schemathesis.toml");
    let mut command = Command::new(program);
    command.current_dir(home.path()).arg("--config-file").arg(config).arg("run");
    command.arg(format!("{}/openapi.json", standalone.url));
    command.arg(format!("--header=Authorization: Bearer {token}")).arg(format!("--max-examples={examples}"));
    let ended = command.env("ORCH_TOKEN", &token).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{out}\n{err}");
    assert!(out.contains("Test cases:"), "{out}");
}
