//! A session of Trino beside orch: its client for Python, asked line by line.

use crate::python::{Python, sorted_rows};
use crate::rows::Rows;
use crate::spark::{number, version_of};
use crate::steps::Reader;
use orch_lake::TableName;
use orch_lake::table::At;
use orch_test_support::{Trino, until, venv};
use serde_json::json;

const ANSWER: &str = include_str!("trino/answer.py");
const CLIENT: [&str; 1] = ["trino==0.340.0"];

/// In one catalog.
#[derive(Debug)]
pub struct TrinoSession(Python);

impl TrinoSession {
    pub fn open(server: &Trino) -> Self {
        let python = venv("trino", &CLIENT).join("python");
        let command = Python::command(&python, ANSWER, &[&server.port().to_string(), Trino::CATALOG]);
        Self(Python::start(command))
    }

    /// The rows of a statement, sorted.
    ///
    /// # Panics
    /// With what Trino says, if it cannot do it.
    pub fn run(&mut self, statement: &str) -> Rows {
        let question = json!({ "sql": statement });
        // In its first seconds a server does not know that it is a worker, too.
        let answer = until("a worker of Trino", || match self.0.try_ask(&question) {
            Err(trace) if trace.contains("NO_NODES_AVAILABLE") => Err(trace),
            answer => Ok(answer),
        });
        sorted_rows(answer.unwrap_or_else(|trace| panic!("Trino could not answer `{statement}`:\n{trace}")))
    }
}

impl Reader for TrinoSession {
    fn program(&self) -> &'static str {
        "Trino"
    }

    fn rows(&mut self, table: &TableName, at: Option<&At>) -> Rows {
        self.run(&format!("select * from {table} {}", version_of(at, "for version as of")))
    }

    fn delete_files(&mut self, table: &TableName) -> u64 {
        let (namespace, name) = (table.namespace(), table.name());
        number(&self.run(&format!("select count(*) from {namespace}.\"{name}$files\" where content <> 0")))
    }
}
