//! Errors of the lake. A variant exists where callers act differently.

use crate::table::TableName;
use orch_sdk::task::fatal;

#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    #[error("table `{table}` is not in the lake `{lake}`\nhint: {hint}")]
    NoTable { table: TableName, lake: String, hint: String },
    #[error(
        "table `{table}` is in the lake already\nhint: open it with `lake.table(…)`, or let `lake.ensure(…)` do what is needed"
    )]
    TableExists { table: TableName },
    /// The state that the change read has changed. The files of the change are useless; repeat the work on the current
    /// table.
    #[error(
        "table `{table}` was changed by another writer meanwhile: {why}\nhint: run it again; it works on the table as it is now"
    )]
    Conflict { table: TableName, why: String },
    /// Another writer committed between staging and the swap. The data that the change read may be unchanged, so stage
    /// the change again.
    #[error(
        "table `{table}` moved after this commit was staged\nhint: roll back, stage the commit again, and repeat the transaction"
    )]
    Moved { table: TableName },
    /// Invalid input: a name, a type, a row.
    #[error("{what}\nhint: {hint}")]
    Input { what: String, hint: String },
    /// The source of the rows to be written failed.
    #[error("the rows to be written could not be read")]
    Source(#[source] anyhow::Error),
    #[error("the catalog of the lake did not answer as it should")]
    Catalog(#[source] sqlx::Error),
    /// A REST catalog did not respond, or not as expected. The request may have been processed.
    #[error("the catalog at `{address}` {why}\nhint: see whether it is up, and what its log says")]
    Unanswered { address: String, why: String },
    #[error("a file of the lake cannot be read or written")]
    Iceberg(#[source] iceberg::Error),
    #[error("a folder of the lake cannot be looked into")]
    Bucket(#[from] crate::bucket::Error),
    #[error("a batch of rows cannot be computed")]
    Arrow(#[from] arrow::error::ArrowError),
    #[error("a Parquet file cannot be read or written")]
    Parquet(#[from] parquet::errors::ParquetError),
}

pub type LakeResult<T> = Result<T, LakeError>;

impl LakeError {
    pub(crate) fn input(what: impl Into<String>, hint: impl Into<String>) -> Self {
        LakeError::Input { what: what.into(), hint: hint.into() }
    }

    /// Wraps an error of the source of rows; a `LakeError` stays as it is.
    pub(crate) fn source(error: anyhow::Error) -> Self {
        error.downcast::<LakeError>().unwrap_or_else(LakeError::Source)
    }

    pub(crate) fn conflict(table: &TableName, why: impl Into<String>) -> Self {
        LakeError::Conflict { table: table.clone(), why: why.into() }
    }

    /// Returns true if retries cannot succeed because the input is wrong. Other errors are transient: a concurrent
    /// commit, an unreachable server, a full disk.
    pub fn is_fatal(&self) -> bool {
        matches!(self, LakeError::Input { .. } | LakeError::TableExists { .. })
    }

    /// Converts to an error for a task, which is not retried if retries cannot succeed.
    pub fn without_retry(self) -> anyhow::Error {
        if self.is_fatal() { fatal(self.to_string()) } else { self.into() }
    }
}

impl From<sqlx::Error> for LakeError {
    fn from(error: sqlx::Error) -> Self {
        LakeError::Catalog(error)
    }
}

impl From<iceberg::Error> for LakeError {
    fn from(error: iceberg::Error) -> Self {
        LakeError::Iceberg(error)
    }
}
