//! PyIceberg beside orch, on the same catalog and the same files: one Python process that is asked line by line.

use std::process::Command;

use serde_json::{Value, json};

use crate::python::Python;
use crate::rows::Rows;
use crate::steps::Reader;
use orch_lake::TableName;
use orch_lake::table::At;

const ANSWER: &str = include_str!("pyiceberg/answer.py");

/// The URL of a Postgres as Python wants it.
pub fn uri(postgres: &str) -> String {
    postgres.replacen("postgresql://", "postgres://", 1).replacen("postgres://", "postgresql+psycopg2://", 1)
}

/// A Python process with a catalog open.
#[derive(Debug)]
pub struct PyIceberg(Python);

impl PyIceberg {
    /// Opens a catalog that is in the schema `lake` of this Postgres.
    pub fn open(postgres: &str, catalog: &str, warehouse: &str) -> Self {
        let uri = uri(postgres);
        let uri = format!("{uri}{}options=-csearch_path%3Dlake", if uri.contains('?') { '&' } else { '?' });
        Self::open_with(catalog, &json!({"type": "sql", "uri": uri, "warehouse": warehouse}))
    }

    /// Opens a catalog that these properties lead to.
    pub fn open_with(catalog: &str, properties: &Value) -> Self {
        let mut command = Command::new(orch_test_support::data_python());
        command.args(["-c", ANSWER]);
        let mut python = Self(Python::start(command));
        python.ask(&json!({"ask": "open", "name": catalog, "properties": properties}));
        python
    }

    /// # Panics
    /// With what Python says, if it cannot do it.
    pub fn ask(&mut self, question: &Value) -> Value {
        self.0.ask(question)
    }

    /// The answer, or the trace of Python's error.
    pub fn try_ask(&mut self, question: &Value) -> Result<Value, String> {
        self.0.try_ask(question)
    }

    /// All rows of a table, or those of a `ref`, a `snapshot` or a `filter`; sorted.
    pub fn rows(&mut self, table: &str, more: &Value) -> Rows {
        let mut question = json!({"ask": "rows", "table": table});
        for (key, value) in more.as_object().into_iter().flatten() {
            question[key] = value.clone();
        }
        let answer = self.ask(&question);
        let mut rows: Rows = serde_json::from_value(answer["rows"].clone()).expect("rows of text");
        rows.sort();
        rows
    }
}

impl Reader for PyIceberg {
    fn program(&self) -> &'static str {
        "PyIceberg"
    }

    fn rows(&mut self, table: &TableName, at: Option<&At>) -> Rows {
        let asked = match at {
            None => json!({}),
            Some(At::Snapshot(id)) => json!({ "snapshot": id }),
            Some(At::Ref(name)) => json!({ "ref": name }),
            Some(other) => panic!("PyIceberg is not asked for {other:?}"),
        };
        PyIceberg::rows(self, &table.to_string(), &asked)
    }

    fn delete_files(&mut self, table: &TableName) -> u64 {
        let described = self.ask(&json!({ "ask": "describe", "table": table.to_string() }));
        described["delete_files"].as_u64().expect("a number")
    }
}
