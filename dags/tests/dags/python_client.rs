//! The Python client beside a standalone with the pipelines: its own tests run, and with them the examples of its guide, its types
//! and style, and its wheel in an empty environment.

use crate::standalone::{PASSWORD, Standalone};
use std::path::Path;
use std::process::Command;

/// What `clients/python/tests` needs. DuckDB is the newest whose extensions are packages.
const TESTS: [&str; 14] = [
    "duckdb==1.5.5",
    "duckdb-extension-avro==1.5.5",
    "duckdb-extension-httpfs==1.5.5",
    "duckdb-extension-iceberg==1.5.5",
    "httpx==0.28.1",
    "mypy==2.4.1",
    "pandas==3.1.1",
    "polars==2.1.0",
    "psycopg[binary]==3.3.9",
    "pyarrow==26.0.1",
    "pyiceberg==0.12.0",
    "pytest==9.2.0",
    "ruff==0.17.6",
    "sqlalchemy==2.1.9",
];

#[test]
fn the_python_client_does_what_its_tests_and_guides_say() {
    let python = orch_test_support::venv("orch-client", &TESTS).join("python");
    let standalone = Standalone::start();
    let mut tests = Command::new(python);
    tests.args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]);
    tests.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/python"));
    tests.env("PYTHONDONTWRITEBYTECODE", "1").env_remove("ORCH_API_TOKEN");
    tests.env("ORCH_API_URL", &standalone.url).env("ORCH_PASSWORD", PASSWORD);
    tests.env("ORCH_DATA_DIR", standalone.home.path().join("data"));
    let said = tests.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && out.contains(" passed"), "{out}\n{err}");
}
