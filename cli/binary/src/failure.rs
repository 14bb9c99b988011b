//! Failures of commands. Each problem is printed as an `error:` line with a `hint:` for the next step, and the exit
//! code is 2. A command that worked but found a failure (of a run, of a check) returns `Exit::Failed` instead.

use orch_cluster::ClusterError;
use orch_document::kept::BadDocument;
use orch_sdk::task::BadConnection;
use orch_spec::check::{FileProblem, Problem};
use orch_spec::ids::BadId;
use orch_spec::params::BadConf;
use orch_spec::state::UnknownWord;
use orch_store::StoreError;
use orch_store::error::{chain, chain_with_hint};
use orch_store::lake_view::LakeError;
use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;

/// Outcome of a command that was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// The checked object, such as a run, failed, and the command has reported that.
    Failed,
}

pub type Outcome = Result<Exit, Failure>;

/// Why a command could not be carried out, as one or more problems.
#[derive(Debug)]
pub struct Failure {
    problems: Vec<FailureMessage>,
    code: u8,
    is_lost_connection: bool,
}

/// Exit code of commands that could not be carried out.
const NOT_CARRIED_OUT: u8 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureMessage {
    message: String,
    hint: Option<String>,
}

impl FailureMessage {
    /// Splits a text that contains a hint.
    fn of(text: &str) -> FailureMessage {
        match text.split_once("\nhint: ") {
            Some((message, hint)) => FailureMessage { message: message.into(), hint: Some(hint.into()) },
            None => FailureMessage { message: text.into(), hint: None },
        }
    }
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Failure {
        Failure::of(vec![FailureMessage { message: message.into(), hint: None }])
    }

    fn of(problems: Vec<FailureMessage>) -> Failure {
        Failure { problems, code: NOT_CARRIED_OUT, is_lost_connection: false }
    }

    /// Returns the failure for an error and its causes. Its text may contain a hint.
    pub fn from_error(error: &(dyn Error + 'static)) -> Failure {
        Failure::of(vec![FailureMessage::of(&chain_with_hint(error))])
    }

    /// Returns true if the database connection was lost or the server stopped, so that the same step may succeed on a
    /// new connection.
    pub fn is_lost_connection(&self) -> bool {
        self.is_lost_connection
    }

    /// Sets an exit code other than 2.
    #[must_use]
    pub fn code(mut self, code: u8) -> Failure {
        self.code = code;
        self
    }

    /// Sets the hint of the last problem, unless it has one.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        if let Some(last) = self.problems.last_mut() {
            last.hint.get_or_insert_with(|| hint.into());
        }
        self
    }

    /// Returns a function that converts an I/O error. `doing` is the failed action, as in "cannot write `x`".
    pub fn io(doing: impl Display) -> impl FnOnce(std::io::Error) -> Failure {
        move |error| Failure::new(format!("{doing}: {error}"))
    }

    /// Combines several failures into one. The highest exit code wins.
    pub fn all(failures: impl IntoIterator<Item = Failure>) -> Failure {
        let mut all = Failure::of(Vec::new());
        for failure in failures {
            all.code = all.code.max(failure.code);
            all.problems.extend(failure.problems);
        }
        all
    }

    /// Returns the failure for problems of the DAGs of this binary.
    pub fn dags(problems: &[Problem]) -> Failure {
        let text = |problem: &Problem| problem.to_string().trim_start_matches("error: ").to_owned();
        Failure::of(problems.iter().map(|problem| FailureMessage::of(&text(problem))).collect())
    }

    /// Returns the failure for problems in files, each with its location.
    pub fn files(problems: &[FileProblem]) -> Failure {
        let text = |problem: &FileProblem| problem.to_string().trim_start_matches("error: ").to_owned();
        Failure::of(problems.iter().map(|problem| FailureMessage::of(&text(problem))).collect())
    }

    /// Returns all messages in one line, for the log.
    pub fn line(&self) -> String {
        self.problems.iter().map(|said| said.message.as_str()).collect::<Vec<_>>().join("; ")
    }

    pub fn tell(&self, style: crate::style::Style) {
        for FailureMessage { message, hint } in &self.problems {
            eprintln!("{} {message}", style.error("error:"));
            if let Some(hint) = hint {
                eprintln!("{} {hint}", style.hint("hint:"));
            }
        }
    }
}

impl Exit {
    pub fn code(outcome: &Outcome) -> ExitCode {
        match outcome {
            Ok(Exit::Done) => ExitCode::SUCCESS,
            Ok(Exit::Failed) => ExitCode::from(1),
            Err(failure) => ExitCode::from(failure.code),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        // A new connection does not help if the disk is full.
        let is_lost_connection = matches!(error, StoreError::Unreachable(_)) && !error.is_disk_full();
        Failure { is_lost_connection, ..Failure::from_error(&error) }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        StoreError::from(error).into()
    }
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Failure {
        Failure::of(vec![FailureMessage { message: chain(&error), hint: error.hint() }])
    }
}

impl From<BadId> for Failure {
    fn from(error: BadId) -> Failure {
        Failure::new(error.to_string())
    }
}

impl From<BadConf> for Failure {
    fn from(error: BadConf) -> Failure {
        Failure::new(error.to_string()).hint(error.hint())
    }
}

impl From<UnknownWord> for Failure {
    fn from(error: UnknownWord) -> Failure {
        Failure::new(error.to_string())
    }
}

impl From<BadConnection> for Failure {
    fn from(error: BadConnection) -> Failure {
        Failure::from_error(&error)
    }
}

impl From<BadDocument> for Failure {
    fn from(error: BadDocument) -> Failure {
        let hint = match &error {
            BadDocument::Ending { .. } => "rename the file by its format: JSON, YAML, or lines `NAME=value`",
            BadDocument::Form { .. } | BadDocument::Connection { .. } => {
                "correct the file: it has the form that `orch connections export` and `orch variables export` write"
            }
        };
        Failure::from_error(&error).hint(hint)
    }
}

impl From<LakeError> for Failure {
    fn from(error: LakeError) -> Failure {
        Failure::from_error(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_carries_its_hint_is_taken_apart() {
        let failure = Failure::from(StoreError::Schema { found: 1, needed: 2, hint: "migrate" });
        assert_eq!(
            failure.problems,
            [FailureMessage {
                message: "the database schema is version 1, this binary needs 2".into(),
                hint: Some("migrate".into())
            }]
        );
    }

    #[test]
    fn causes_are_told_once() {
        let io = std::io::Error::other("no route");
        let error = StoreError::Unreachable(sqlx::Error::Io(io));
        assert_eq!(chain(&error), "the database cannot be reached: no route");
    }

    #[test]
    fn a_failure_of_the_database_carries_the_next_step() {
        let io = std::io::Error::other("invalid peer certificate: UnknownIssuer");
        let failure = Failure::from(StoreError::Unreachable(sqlx::Error::Io(io)));
        let [FailureMessage { message, hint }] = failure.problems.as_slice() else { panic!("one problem") };
        let expected =
            "the TLS certificate of the database server is rejected: invalid peer certificate: UnknownIssuer";
        assert_eq!(message, expected);
        assert!(hint.as_deref().is_some_and(|hint| hint.contains("sslrootcert")), "{hint:?}");
        assert!(failure.is_lost_connection());
    }
}
