//! Errors of the lake. Errors have separate variants only if callers handle them differently.

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
    /// The data that a change has read was changed by another writer. The files of the change are useless; the caller
    /// must repeat its work on the current table.
    #[error(
        "table `{table}` was changed by another writer meanwhile: {why}\nhint: run it again; it works on the table as it is now"
    )]
    Conflict { table: TableName, why: String },
    /// Another writer committed between the staging of a commit and its compare-and-swap. The data that the change
    /// read may be unchanged, so the caller should stage the change again.
    #[error(
        "table `{table}` moved after this commit was staged\nhint: roll back, stage the commit again, and repeat the transaction"
    )]
    Moved { table: TableName },
    /// Invalid input, such as a name, a type or a row.
    #[error("{what}\nhint: {hint}")]
    Input { what: String, hint: String },
    /// The source of the rows failed while they were written.
    #[error("the rows to be written could not be read")]
    Source(#[source] anyhow::Error),
    #[error("the catalog of the lake did not answer as it should")]
    Catalog(#[source] sqlx::Error),
    /// A REST catalog did not respond, or its response was unexpected. The request may have been processed.
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

    /// Wraps an error of a source of rows. A `LakeError` is returned unchanged.
    pub(crate) fn source(error: anyhow::Error) -> Self {
        error.downcast::<LakeError>().unwrap_or_else(LakeError::Source)
    }

    pub(crate) fn conflict(table: &TableName, why: impl Into<String>) -> Self {
        LakeError::Conflict { table: table.clone(), why: why.into() }
    }

    /// Returns true if a retry cannot succeed because the input is invalid. Other errors are transient, such as a
    /// concurrent commit, an unreachable server or a full disk.
    pub fn is_fatal(&self) -> bool {
        matches!(self, LakeError::Input { .. } | LakeError::TableExists { .. })
    }

    /// Converts the error to a task error. The task is not retried if the error is fatal.
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
