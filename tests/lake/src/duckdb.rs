//! DuckDB with a catalog attached over HTTP, as a reader of orch's tables.

use crate::python::Python;
use crate::rows::Rows;
use crate::spark::{number, version_of};
use crate::steps::Reader;
use orch_lake::TableName;
use orch_lake::table::At;
use tempfile::TempDir;

const ANSWER: &str = include_str!("duckdb/answer.py");

/// An in-memory DuckDB.
#[derive(Debug)]
pub struct DuckDb {
    python: Python,
    _extensions: TempDir,
}

impl DuckDb {
    /// Attaches the catalog at this address, authenticated with `token`.
    pub fn attach(uri: &str, token: &str) -> Self {
        let extensions = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = extensions.path().display().to_string();
        let command = Python::command(&orch_test_support::data_python(), ANSWER, &[uri, token, &folder]);
        Self { python: Python::start(command), _extensions: extensions }
    }
}

impl Reader for DuckDb {
    fn program(&self) -> &'static str {
        "DuckDB"
    }

    /// DuckDB cannot read a table by the name of a branch or tag.
    fn reads(&self, at: &At) -> bool {
        !matches!(at, At::Ref(_))
    }

    fn rows(&mut self, table: &TableName, at: Option<&At>) -> Rows {
        let version = at.map_or_else(String::new, |_| format!("at (version => {})", version_of(at, "")));
        self.python.rows(&format!("select * from lake.{table} {version}"))
    }

    fn delete_files(&mut self, table: &TableName) -> u64 {
        let files = format!("iceberg_metadata(lake.{table})");
        let deletes = "manifest_content = 'DELETE' and status <> 'DELETED'";
        number(&self.python.rows(&format!("select count(*) from {files} where {deletes}")))
    }
}
