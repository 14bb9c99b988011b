//! A Trino session as a reader of orch's tables: Trino's Python client, which answers requests line by line.

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

/// A session in one catalog.
#[derive(Debug)]
pub struct TrinoSession(Python);

impl TrinoSession {
    pub fn open(server: &Trino) -> Self {
        let python = venv("trino", &CLIENT).join("python");
        let command = Python::command(&python, ANSWER, &[&server.port().to_string(), Trino::CATALOG]);
        Self(Python::start(command))
    }

    /// Returns the rows of a statement, sorted.
    ///
    /// # Panics
    /// Panics with Trino's message if the statement fails.
    pub fn run(&mut self, statement: &str) -> Rows {
        let question = json!({ "sql": statement });
        // In its first seconds, a server has not registered itself as a worker yet.
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
