//! The Python client with a standalone and its pipelines: runs the tests of the client, the examples of its guide, its
//! type and style checks, and its wheel in an empty environment.

use crate::standalone::{PASSWORD, Standalone};
use std::path::Path;
use std::process::Command;

#[test]
fn the_python_client_does_what_its_tests_and_guides_say() {
    let standalone = Standalone::start();
    let mut tests = Command::new(orch_test_support::data_python());
    tests.args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]);
    tests.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/python"));
    tests.env("PYTHONDONTWRITEBYTECODE", "1").env_remove("ORCH_API_TOKEN");
    tests.env("ORCH_API_URL", &standalone.url).env("ORCH_PASSWORD", PASSWORD);
    tests.env("ORCH_DATA_DIR", standalone.home.path().join("data"));
    let said = tests.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && out.contains(" passed"), "{out}\n{err}");
}
