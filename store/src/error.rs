//! What can go wrong between us and Postgres, told apart only where a caller acts differently.

use crate::archive::ArchiveError;

/// Raised by `fence_lost()`: an outcome is not ours to record any more.
const FENCE_LOST: &str = "OR001";
const DEADLOCK: &str = "40P01";
const SERIALIZATION: &str = "40001";
/// It took longer than `connect::STATEMENT_TIMEOUT`.
const CANCELLED: &str = "57014";
/// It took longer than the `lock_timeout` of its transaction.
const LOCK_NOT_AVAILABLE: &str = "55P03";

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A lease was lost: record what still counts, one by one.
    #[error("an outcome of this batch is no longer this worker's to record")]
    FenceLost,
    /// The server took the statement back; the same statement may be sent again.
    #[error("the database asked to try again")]
    TryAgain(#[source] sqlx::Error),
    /// The connection is gone, or the server is not there (yet). Whether the statement was carried out is not known.
    #[error("{}", shortage(.0).unwrap_or("the database cannot be reached"))]
    Unreachable(#[source] sqlx::Error),
    #[error("the database schema is version {found}, this binary needs {needed}\nhint: {hint}")]
    Schema { found: i32, needed: i32, hint: &'static str },
    #[error("the database refused a statement")]
    Sql(#[source] sqlx::Error),
    /// The database has given this worker up, or it could not tell it that it lives.
    #[error("this worker is lost to the others: it begins anew")]
    WorkerLost,
    #[error("stored data cannot be read: {what}")]
    Corrupt { what: String },
    /// Where old rows and logs go, or are, cannot be used. Nothing was dropped.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Tasks were meant by their places in another version.
    #[error("the run goes on in another version of its DAG since it was looked at\nhint: look again, and say it again")]
    OtherVersion,
    /// Another process cleans.
    #[error(
        "another process cleans this database at the moment\nhint: wait until it is done: `select * from cleanup` says how far it is"
    )]
    CleaningElsewhere,
    /// Somebody has had a table open for longer than anybody may be made to wait for it. Nothing was changed.
    #[error(
        "`{table}` cannot be taken away while {by}\nhint: it is tried again; whoever cannot wait ends that transaction: `select pg_terminate_backend(…)`"
    )]
    Held { table: String, by: String },
}

pub type StoreResult<T> = Result<T, StoreError>;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(e) => match e.code().as_deref() {
                Some(FENCE_LOST) => StoreError::FenceLost,
                Some(DEADLOCK | SERIALIZATION | CANCELLED) => StoreError::TryAgain(error),
                // Class 08: connection; 57P: shutdown, crash, cannot connect now; 25P03: ended while idle in a
                // transaction; 25006: read only for a while; class 53: out of disk, memory or connections.
                Some(code)
                    if ["08", "57P", "53"].iter().any(|class| code.starts_with(class))
                        || matches!(code, "25P03" | "25006") =>
                {
                    StoreError::Unreachable(error)
                }
                _ => StoreError::Sql(error),
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

    /// What the server has run out of, if that is why it cannot be used.
    pub fn shortage(&self) -> Option<&'static str> {
        match self {
            StoreError::Unreachable(error) => shortage(error),
            _ => None,
        }
    }

    /// Somebody else has what was to be locked.
    pub(crate) fn is_locked_out(&self) -> bool {
        matches!(self, StoreError::Sql(sqlx::Error::Database(e)) if e.code().as_deref() == Some(LOCK_NOT_AVAILABLE))
    }

    /// What is behind it, innermost last, for a log line.
    pub fn source_text(&self) -> String {
        let mut causes = Vec::new();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            causes.push(error.to_string());
            source = error.source();
        }
        causes.join(": ")
    }

    /// The constraint a statement hit, if it did.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            StoreError::Sql(sqlx::Error::Database(e)) => e.constraint(),
            _ => None,
        }
    }
}

fn shortage(error: &sqlx::Error) -> Option<&'static str> {
    match error.as_database_error()?.code()?.as_ref() {
        "53100" => Some("the disk of the database is full"),
        "53200" => Some("the database is out of memory"),
        "53300" => Some("the database has no connection left"),
        code if code.starts_with("53") => Some("the database is out of resources"),
        _ => None,
    }
}
