//! Errors of statements and connections, with one variant for each kind that callers handle differently.

mod message;

use crate::archive::ArchiveError;
use crate::bounded::TooManyBytes;
pub use message::{chain, chain_with_hint, has_unknown_issuer};

/// SQLSTATE of `fence_lost()`: this worker may no longer record the outcome.
const FENCE_LOST: &str = "OR001";
/// SQLSTATE: a lock was not available within `lock_timeout`.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// How to handle a Postgres error. Chosen by its SQLSTATE, and only here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The connection is lost or the server is unavailable: resume on another connection.
    Resume,
    /// The server rolled the statement back: send it again.
    TryAgain,
    /// A value cannot be written or read: find the item it belongs to, and continue with the others.
    Isolate,
    /// The schema does not fit this binary: stop and report it.
    Stop,
    /// Any other error: a user must decide.
    Fail,
}

impl Policy {
    pub fn of(sqlstate: &str) -> Policy {
        match sqlstate {
            // Deadlock, serialization failure, lock timeout, or a statement that exceeded `connect::STATEMENT_TIMEOUT`.
            "40P01" | "40001" | "57014" | LOCK_NOT_AVAILABLE => Policy::TryAgain,
            // The session was idle in a transaction for too long, or the server is temporarily read-only.
            "25P03" | "25006" => Policy::Resume,
            // Corrupt pages of a table or an index. Other items may not need these pages.
            "XX001" | "XX002" => Policy::Isolate,
            // Undefined table, column, function, type or schema.
            "42P01" | "42703" | "42883" | "42704" | "3F000" => Policy::Stop,
            code => match code.get(..2) {
                // Connection lost; out of disk, memory or connections; shutdown, crash or startup.
                Some("08" | "53") => Policy::Resume,
                Some("57") if code.starts_with("57P") => Policy::Resume,
                // Invalid data, a violated constraint, or a limit of the server (depth of JSON, size of a value).
                Some("22" | "23" | "54") => Policy::Isolate,
                _ => Policy::Fail,
            },
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A lease in the batch was lost. The caller records the outcomes one by one, to find those whose lease is still
    /// valid.
    #[error("an outcome of this batch is no longer this worker's to record")]
    FenceLost,
    /// The server rolled the statement back; the same statement may be sent again.
    #[error("the statement must be sent again")]
    TryAgain(#[source] sqlx::Error),
    /// The connection is lost, or the server does not accept one (yet). The statement may have been executed.
    #[error("{}", message::summary(.0))]
    Unreachable(#[source] sqlx::Error),
    #[error("the database schema is version {found}, this binary needs {needed}\nhint: {hint}")]
    Schema { found: i32, needed: i32, hint: &'static str },
    #[error("migration {version} failed; the schema is as the one before it left it")]
    Migration { version: i64, source: sqlx::Error },
    #[error("{}", message::summary(.0))]
    Sql(#[source] sqlx::Error),
    /// The tables of orch exist, but the login may not read them.
    #[error("{message}\nhint: {hint}")]
    Privilege { message: String, hint: String },
    /// The database considers this worker lost, or the worker could not renew its lease.
    #[error("this worker is lost to the others: it begins anew")]
    WorkerLost,
    #[error("stored data cannot be read: {what}")]
    Corrupt { what: String },
    /// The archive for old rows and logs cannot be used. No row was dropped.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The rows exceed the number of bytes that the caller reads.
    #[error(transparent)]
    TooManyBytes(#[from] TooManyBytes),
    /// The caller passed task indexes of another DAG version than the run has now.
    #[error("the run moved to another DAG version after you loaded it\nhint: reload and retry")]
    OtherVersion,
    /// Another process is removing old rows from this database.
    #[error(
        "another process cleans this database at the moment\nhint: wait until it is done: `select * from cleanup` says how far it is"
    )]
    CleaningElsewhere,
    /// A long transaction of another session uses the table, and waiting for the table's lock would block other
    /// sessions too long. Nothing was changed.
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

    /// True if a retry may succeed, after a pause and perhaps on another connection.
    pub fn passes(&self) -> bool {
        matches!(self, StoreError::TryAgain(_) | StoreError::Unreachable(_))
    }

    /// Returns the resource (such as disk or memory) that the server has run out of, or `None` if the error has another
    /// cause.
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

    /// Returns advice for users, if the error is a Postgres or TLS error with a known remedy.
    pub fn hint(&self) -> Option<String> {
        match self {
            StoreError::Unreachable(error) | StoreError::Sql(error) | StoreError::Migration { source: error, .. } => {
                message::hint(error)
            }
            _ => None,
        }
    }

    pub fn policy(&self) -> Policy {
        match self {
            StoreError::TryAgain(_) => Policy::TryAgain,
            StoreError::Unreachable(_) => Policy::Resume,
            StoreError::Corrupt { .. } => Policy::Isolate,
            StoreError::Schema { .. } => Policy::Stop,
            StoreError::Sql(sqlx::Error::Database(e)) => e.code().map_or(Policy::Fail, |code| Policy::of(&code)),
            // The stored value does not have the expected type.
            StoreError::Sql(sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_)) => {
                Policy::Isolate
            }
            _ => Policy::Fail,
        }
    }

    /// True if a single item of the batch causes the error, so that the other items can be processed.
    pub fn is_of_one_item(&self) -> bool {
        self.policy() == Policy::Isolate
    }

    /// True if another session holds the lock.
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

    /// Returns the constraint that the statement violated, if any.
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
