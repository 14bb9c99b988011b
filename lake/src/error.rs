//! What can go wrong in the lake. A variant exists where a caller acts differently; every text names the thing.

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
    /// What was read is no longer so. The files of this change are of no use: do the work again on the table as it is now.
    #[error(
        "table `{table}` was changed by another writer meanwhile: {why}\nhint: run it again; it works on the table as it is now"
    )]
    Conflict { table: TableName, why: String },
    /// Between staging and swapping another writer was faster. What the change read may still be so: stage again.
    #[error(
        "table `{table}` moved after this commit was staged\nhint: roll back, stage the commit again, and repeat the transaction"
    )]
    Moved { table: TableName },
    /// What was given cannot be used: a name, a type, a row.
    #[error("{what}\nhint: {hint}")]
    Input { what: String, hint: String },
    /// What was to be written could not be read to its end.
    #[error("the rows to be written could not be read")]
    Source(#[source] anyhow::Error),
    #[error("the catalog of the lake did not answer as it should")]
    Catalog(#[source] sqlx::Error),
    /// A catalog over HTTP did not answer, or not as it should: what was asked of it may have been done.
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

    /// Of rows that were to be read: what lake itself says stays as it is.
    pub(crate) fn source(error: anyhow::Error) -> Self {
        error.downcast::<LakeError>().unwrap_or_else(LakeError::Source)
    }

    pub(crate) fn conflict(table: &TableName, why: impl Into<String>) -> Self {
        LakeError::Conflict { table: table.clone(), why: why.into() }
    }

    /// No further try could end otherwise: what was given is wrong. All else may pass: somebody was faster, something
    /// cannot be reached, a disk is full.
    pub fn is_fatal(&self) -> bool {
        matches!(self, LakeError::Input { .. } | LakeError::TableExists { .. })
    }

    /// The error for a task, which fails without further attempts if they could not succeed.
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
