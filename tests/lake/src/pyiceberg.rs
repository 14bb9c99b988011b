//! PyIceberg beside orch, on the same catalog and the same files: one Python process that is asked line by line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::rows::Rows;

const ANSWER: &str = include_str!("pyiceberg/answer.py");

/// The URL of a Postgres as Python wants it.
pub fn uri(postgres: &str) -> String {
    postgres.replacen("postgresql://", "postgres://", 1).replacen("postgres://", "postgresql+psycopg2://", 1)
}

/// A Python process with a catalog open. It ends with its standard input.
#[derive(Debug)]
pub struct PyIceberg {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl PyIceberg {
    /// Opens a catalog that is in the schema `lake` of this Postgres.
    pub fn open(postgres: &str, catalog: &str, warehouse: &str) -> Self {
        let mut command = Command::new(orch_test_support::data_python());
        command.args(["-c", ANSWER]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("Python does not start: {error}"));
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut python = Self { child, questions, answers };
        let uri = uri(postgres);
        let uri = format!("{uri}{}options=-csearch_path%3Dlake", if uri.contains('?') { '&' } else { '?' });
        python.ask(&json!({"ask": "open", "uri": uri, "name": catalog, "warehouse": warehouse}));
        python
    }

    /// # Panics
    /// With what Python says, if it cannot do it.
    pub fn ask(&mut self, question: &Value) -> Value {
        match self.try_ask(question) {
            Ok(answer) => answer,
            Err(trace) => panic!("PyIceberg could not answer {question}:\n{trace}"),
        }
    }

    /// The answer, or the trace of Python's error.
    pub fn try_ask(&mut self, question: &Value) -> Result<Value, String> {
        let questions = self.questions.as_mut().expect("it is open until it is dropped");
        writeln!(questions, "{question}").unwrap_or_else(|error| panic!("Python hears nothing: {error}"));
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap_or_else(|error| panic!("Python says nothing: {error}"));
        let mut answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: `{line}`"));
        match answer.get("error") {
            Some(trace) => Err(trace.as_str().unwrap_or_default().to_owned()),
            None => Ok(answer["ok"].take()),
        }
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

impl Drop for PyIceberg {
    fn drop(&mut self) {
        drop(self.questions.take());
        let ended = self.child.wait();
        assert!(ended.is_ok() || std::thread::panicking(), "Python does not end: {ended:?}");
    }
}
