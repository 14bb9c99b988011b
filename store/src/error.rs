//! Errors of statements and connections, with a variant for each that a caller handles differently.

mod message;

use crate::archive::ArchiveError;
use crate::bounded::TooManyBytes;
pub use message::{chain, chain_with_hint, has_unknown_issuer};

/// Raised by `fence_lost()`: an outcome is not ours to record any more.
const FENCE_LOST: &str = "OR001";
/// It took longer than the `lock_timeout` of its transaction.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// What to do about an error of Postgres, by its SQLSTATE. The one place that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The connection is gone or the server is not there: resume on another connection.
    Resume,
    /// The server took the statement back: send it again.
    TryAgain,
    /// One of the values cannot be written or read: find the item it belongs to, and go on with the others.
    Isolate,
    /// The schema is not the one this binary knows: stop and say so.
    Stop,
    /// Anything else: a person must look.
    Fail,
}

impl Policy {
    pub fn of(sqlstate: &str) -> Policy {
        match sqlstate {
            // Deadlock, serialization; a lock that was not free in time, a statement that took longer than `connect::STATEMENT_TIMEOUT`.
            "40P01" | "40001" | "57014" | LOCK_NOT_AVAILABLE => Policy::TryAgain,
            // Ended while idle in a transaction; read only for a while.
            "25P03" | "25006" => Policy::Resume,
            // Damaged data or a damaged index: other items may not touch it.
            "XX001" | "XX002" => Policy::Isolate,
            // No such table, column, function, type or schema.
            "42P01" | "42703" | "42883" | "42704" | "3F000" => Policy::Stop,
            code => match code.get(..2) {
                // Connection; out of disk, memory or connections; shutdown, crash, cannot connect now.
                Some("08" | "53") => Policy::Resume,
                Some("57") if code.starts_with("57P") => Policy::Resume,
                // Data, a constraint, a limit of the server (depth of JSON, size of a value).
                Some("22" | "23" | "54") => Policy::Isolate,
                _ => Policy::Fail,
            },
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A lease was lost: record what still counts, one by one.
    #[error("an outcome of this batch is no longer this worker's to record")]
    FenceLost,
    /// The server rolled the statement back; the same statement may be sent again.
    #[error("the statement must be sent again")]
    TryAgain(#[source] sqlx::Error),
    /// The connection is lost, or the server does not accept one (yet). Whether the statement was carried out is not known.
    #[error("{}", message::summary(.0))]
    Unreachable(#[source] sqlx::Error),
    #[error("the database schema is version {found}, this binary needs {needed}\nhint: {hint}")]
    Schema { found: i32, needed: i32, hint: &'static str },
    #[error("migration {version} failed; the schema is as the one before it left it")]
    Migration { version: i64, source: sqlx::Error },
    #[error("{}", message::summary(.0))]
    Sql(#[source] sqlx::Error),
    /// The login may not read the tables of orch, although they exist.
    #[error("{message}\nhint: {hint}")]
    Privilege { message: String, hint: String },
    /// The database has given this worker up, or it could not tell it that it lives.
    #[error("this worker is lost to the others: it begins anew")]
    WorkerLost,
    #[error("stored data cannot be read: {what}")]
    Corrupt { what: String },
    /// Where old rows and logs go, or are, cannot be used. Nothing was dropped.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Rows have more bytes together than the caller reads.
    #[error(transparent)]
    TooManyBytes(#[from] TooManyBytes),
    /// Tasks were meant by their places in another version.
    #[error("the run moved to another DAG version after you loaded it\nhint: reload and retry")]
    OtherVersion,
    /// Another process cleans.
    #[error(
        "another process cleans this database at the moment\nhint: wait until it is done: `select * from cleanup` says how far it is"
    )]
    CleaningElsewhere,
    /// Somebody has had a table open for longer than anybody may be made to wait for it. Nothing was changed.
    #[error(
        "`{table}` cannot be taken away while {by}\nhint: it is retried; to go on now, end that transaction: `select pg_terminate_backend(…)`"
    )]
    Held { table: String, by: String },
}

pub type StoreResult<T> = Result<T, StoreError>;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(e) => match e.code().as_deref() {
                Some(FENCE_LOST) => StoreError::FenceLost,
                Some(code) => match Policy::of(code) {
                    Policy::TryAgain => StoreError::TryAgain(error),
                    Policy::Resume => StoreError::Unreachable(error),
                    Policy::Isolate | Policy::Stop | Policy::Fail => StoreError::Sql(error),
                },
                None => StoreError::Sql(error),
            },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => StoreError::Unreachable(error),
            _ => StoreError::Sql(error),
        }
    }
}

impl StoreError {
    pub fn corrupt(what: impl Into<String>) -> Self {
        StoreError::Corrupt { what: what.into() }
    }

    pub(crate) fn packing(error: &std::io::Error) -> Self {
        StoreError::Archive(ArchiveError(format!("what is archived cannot be packed: {error}")))
    }

    /// It may go well the next time, after a pause and perhaps on another connection.
    pub fn passes(&self) -> bool {
        matches!(self, StoreError::TryAgain(_) | StoreError::Unreachable(_))
    }

    /// Returns the resource that the server has run out of, or `None` if it can be used or fails for another reason.
    pub fn shortage(&self) -> Option<&'static str> {
        match self {
            StoreError::Unreachable(error) => message::shortage(error),
            _ => None,
        }
    }

    /// True if the disk of the server is full.
    pub fn is_disk_full(&self) -> bool {
        match self {
            StoreError::Unreachable(error) | StoreError::Sql(error) | StoreError::Migration { source: error, .. } => {
                message::has_full_disk(error)
            }
            _ => false,
        }
    }

    /// Returns the next step if the error of Postgres or TLS has a known one.
    pub fn hint(&self) -> Option<String> {
        match self {
            StoreError::Unreachable(error) | StoreError::Sql(error) | StoreError::Migration { source: error, .. } => {
                message::hint(error)
            }
            _ => None,
        }
    }

    /// What to do about it.
    pub fn policy(&self) -> Policy {
        match self {
            StoreError::TryAgain(_) => Policy::TryAgain,
            StoreError::Unreachable(_) => Policy::Resume,
            StoreError::Corrupt { .. } => Policy::Isolate,
            StoreError::Schema { .. } => Policy::Stop,
            StoreError::Sql(sqlx::Error::Database(e)) => e.code().map_or(Policy::Fail, |code| Policy::of(&code)),
            // What is stored has not the type that was asked for.
            StoreError::Sql(sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_)) => {
                Policy::Isolate
            }
            _ => Policy::Fail,
        }
    }

    /// One item is to blame: the others are done without it.
    pub fn is_of_one_item(&self) -> bool {
        self.policy() == Policy::Isolate
    }

    /// Somebody else has what was to be locked.
    pub(crate) fn is_locked_out(&self) -> bool {
        matches!(self, StoreError::TryAgain(sqlx::Error::Database(e)) if e.code().as_deref() == Some(LOCK_NOT_AVAILABLE))
    }

    /// Returns the messages of the causes, outermost first, for a log line.
    pub fn source_text(&self) -> String {
        message::join(std::error::Error::source(self), true)
    }

    /// Returns the message followed by the messages of the causes.
    pub fn in_full(&self) -> String {
        chain(self)
    }

    /// The constraint a statement hit, if it did.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            StoreError::Sql(sqlx::Error::Database(e)) => e.constraint(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_of_sqlstates_has_its_policy() {
        for (policy, codes) in [
            (Policy::Resume, &["08006", "57P01", "57P03", "53300", "53100", "25006"][..]),
            (Policy::TryAgain, &["40001", "40P01", "57014"]),
            (Policy::Isolate, &["22003", "22P05", "22021", "23505", "23514", "54000", "54001", "XX001", "XX002"]),
            (Policy::Stop, &["42P01", "42703", "42883"]),
            (Policy::Fail, &["42501", "XX000", "", "2", "é22"]),
        ] {
            codes.iter().for_each(|code| assert_eq!(Policy::of(code), policy, "{code}"));
        }
    }
}
