//! The ways in which an attempt can end without success. Inside a task function they are `anyhow::Error`s. They are
//! stored as data because they are read after the process has exited.

use super::Deferral;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Returns an error that ends the task as skipped: `return Err(skip("no new data"))`.
pub fn skip(reason: impl Into<String>) -> anyhow::Error {
    Stop::Skip(reason.into()).into()
}

/// Returns an error that fails the task immediately, even if retries are left, because a retry could not succeed.
pub fn fatal(message: impl Into<String>) -> anyhow::Error {
    Stop::Fatal(message.into()).into()
}

/// Marker inside an `anyhow::Error`, found below `.context(…)` and errors of libraries when the attempt is recorded.
#[derive(Debug)]
pub(super) enum Stop {
    Skip(String),
    Fatal(String),
    Defer(Box<Deferral>),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Skip(text) | Stop::Fatal(text) => f.write_str(text),
            Stop::Defer(deferral) => write!(f, "deferred: it waits for `{}`", deferral.until.kind),
        }
    }
}

impl std::error::Error for Stop {}

/// The stored end of an attempt without success. Causes are ordered outermost first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TaskError {
    /// Retried while retries are left.
    Retryable {
        causes: Vec<String>,
    },
    /// Fails the task, even if retries are left.
    Fatal {
        causes: Vec<String>,
    },
    Skipped {
        reason: String,
    },
    /// The attempt has not ended: it resumes when the condition holds.
    Deferred {
        deferral: Box<Deferral>,
    },
}

impl TaskError {
    pub fn retryable(cause: impl Into<String>) -> Self {
        TaskError::Retryable { causes: vec![cause.into()] }
    }

    pub fn fatal(cause: impl Into<String>) -> Self {
        TaskError::Fatal { causes: vec![cause.into()] }
    }

    pub fn skipped(reason: impl Into<String>) -> Self {
        TaskError::Skipped { reason: reason.into() }
    }
}

impl From<anyhow::Error> for TaskError {
    fn from(error: anyhow::Error) -> Self {
        let causes = causes(&error);
        // `error.downcast_ref` would not find markers below an error that has its own source.
        match error.chain().find_map(|cause| cause.downcast_ref::<Stop>()) {
            None => TaskError::Retryable { causes },
            Some(Stop::Fatal(_)) => TaskError::Fatal { causes },
            Some(Stop::Skip(reason)) => TaskError::Skipped { reason: reason.clone() },
            Some(Stop::Defer(deferral)) => TaskError::Deferred { deferral: deferral.clone() },
        }
    }
}

/// Returns the messages of an error and its causes, outermost first. A message that ends with the message of its cause
/// appears once. sqlx repeats the message of a database in the cause and appends the line of the database's own source
/// code, which is removed.
fn causes(error: &anyhow::Error) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    for cause in error.chain() {
        let message = cause.to_string();
        match causes.last_mut() {
            Some(outer) if outer.strip_suffix(message.as_str()) == Some("error returned from database: ") => {
                *outer = format!("the database reported an error: {}", without_line(&message));
            }
            Some(outer) if outer.ends_with(&message) => {}
            _ => causes.push(message),
        }
    }
    causes
}

fn without_line(message: &str) -> &str {
    match message.rsplit_once(" at line ") {
        Some((start, line)) if line.bytes().all(|byte| byte.is_ascii_digit()) => start,
        _ => message,
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Retryable { causes } | TaskError::Fatal { causes } => f.write_str(&causes.join(": ")),
            TaskError::Skipped { reason } => write!(f, "skipped: {reason}"),
            TaskError::Deferred { deferral } => write!(f, "deferred: it waits for `{}`", deferral.until.kind),
        }
    }
}

impl std::error::Error for TaskError {}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_stop_is_found_below_its_context() {
        let skipped = Err::<(), _>(skip("holiday")).context("while loading").expect_err("it is one");
        assert_eq!(TaskError::from(skipped), TaskError::skipped("holiday"));
        let failed = Err::<(), _>(fatal("no such table")).context("while loading").expect_err("it is one");
        let stored = TaskError::from(failed);
        assert_eq!(stored, TaskError::Fatal { causes: vec!["while loading".into(), "no such table".into()] });
        assert_eq!(stored.to_string(), "while loading: no such table");
    }

    #[test]
    fn a_stop_is_found_below_an_error_that_carries_it() {
        #[derive(Debug)]
        struct Carrier(anyhow::Error);
        impl fmt::Display for Carrier {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the rows cannot be read")
            }
        }
        impl std::error::Error for Carrier {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(self.0.as_ref())
            }
        }
        let below = |stop: anyhow::Error| anyhow::Error::new(Carrier(stop.context("row 7"))).context("while writing");
        let stored = TaskError::from(below(fatal("it is no number")));
        let causes = ["while writing", "the rows cannot be read", "row 7", "it is no number"];
        assert_eq!(stored, TaskError::Fatal { causes: causes.map(Into::into).into() });
        assert_eq!(TaskError::from(below(skip("holiday"))), TaskError::skipped("holiday"));
        assert!(matches!(TaskError::from(below(anyhow::anyhow!("cut"))), TaskError::Retryable { .. }));
    }

    #[test]
    fn a_message_that_is_repeated_in_a_cause_is_stored_once() {
        /// Includes its cause in `Display`, like errors of many libraries.
        #[derive(Debug)]
        struct Repeating(&'static str, std::io::Error);
        impl fmt::Display for Repeating {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}: {}", self.0, self.1)
            }
        }
        impl std::error::Error for Repeating {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.1)
            }
        }
        let stored = |what, cause: &str| {
            let error = Repeating(what, std::io::Error::other(cause.to_owned()));
            match TaskError::from(anyhow::Error::new(error).context("while loading")) {
                TaskError::Retryable { causes } => causes,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            stored("error returned from database", "permission denied for table dag_run at line 3456"),
            ["while loading", "the database reported an error: permission denied for table dag_run"]
        );
        assert_eq!(stored("cannot read x", "no such file"), ["while loading", "cannot read x: no such file"]);
    }

    #[test]
    fn every_other_error_is_tried_again_and_is_stored_with_its_causes() {
        let stored = TaskError::from(anyhow::anyhow!("connection refused").context("while loading"));
        let json = serde_json::to_value(&stored).expect("it is data");
        assert_eq!(json, serde_json::json!({ "kind": "retryable", "causes": ["while loading", "connection refused"] }));
    }
}
