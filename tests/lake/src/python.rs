//! A Python process that is asked line by line: one line of JSON is a question, one line of JSON its answer.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::rows::Rows;
use serde_json::{Value, json};

/// What all of them begin with.
const ASKED: &str = include_str!("python/asked.py");

/// It ends with its standard input.
#[derive(Debug)]
pub(crate) struct Python {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// A Python that answers as this script does.
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
    /// With what Python says, if it cannot do it.
    pub(crate) fn ask(&mut self, question: &Value) -> Value {
        match self.try_ask(question) {
            Ok(answer) => answer,
            Err(trace) => panic!("Python could not answer {question}:\n{trace}"),
        }
    }

    /// The rows of a statement, sorted.
    ///
    /// # Panics
    /// With what Python says, if it cannot do it.
    pub(crate) fn rows(&mut self, statement: &str) -> Rows {
        sorted_rows(self.ask(&json!({ "sql": statement })))
    }

    /// The answer, or the trace of Python's error.
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
