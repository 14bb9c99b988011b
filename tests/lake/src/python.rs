//! A Python process that answers requests line by line: each request and each response is one line of JSON.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::rows::Rows;
use serde_json::{Value, json};

/// Start of every script.
const ASKED: &str = include_str!("python/asked.py");

/// The process ends when its standard input is closed.
#[derive(Debug)]
pub(crate) struct Python {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// Returns the command of a Python process that runs this script.
    pub(crate) fn command(program: &Path, answer: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(["-c", &format!("{ASKED}\n\n{answer}")]).args(arguments);
        command
    }

    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("Python does not start: {error}"));
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, questions, answers }
    }

    /// # Panics
    /// Panics with Python's traceback if the request fails.
    pub(crate) fn ask(&mut self, question: &Value) -> Value {
        match self.try_ask(question) {
            Ok(answer) => answer,
            Err(trace) => panic!("Python could not answer {question}:\n{trace}"),
        }
    }

    /// Returns the rows of a statement, sorted.
    ///
    /// # Panics
    /// Panics with Python's traceback if the statement fails.
    pub(crate) fn rows(&mut self, statement: &str) -> Rows {
        sorted_rows(self.ask(&json!({ "sql": statement })))
    }

    /// Sends a request. Returns the response, or the traceback of Python's error.
    pub(crate) fn try_ask(&mut self, question: &Value) -> Result<Value, String> {
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
}

pub(crate) fn sorted_rows(answer: Value) -> Rows {
    let mut rows: Rows = serde_json::from_value(answer).expect("rows of text");
    rows.sort();
    rows
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.questions.take());
        let ended = self.child.wait();
        assert!(ended.is_ok() || std::thread::panicking(), "Python does not end: {ended:?}");
    }
}
