//! Errors for rows that Postgres rejects.

use crate::source::postgres::without_rows;
use orch_sdk::task::fatal;
use std::fmt;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// The database rejected some of the rows and would reject them again on a retry. The error does not identify the
/// rows.
#[derive(Debug, Clone, Copy)]
pub struct RowsRefused;

impl fmt::Display for RowsRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the database refuses some of the rows")
    }
}

impl RowsRefused {
    pub(super) fn because(says: impl Into<String>) -> anyhow::Error {
        fatal(says).context(RowsRefused)
    }

    /// Returns the message of the database if it rejected rows, and `None` for every other error.
    pub fn reason(error: &anyhow::Error) -> Option<String> {
        error.downcast_ref::<RowsRefused>().map(|_| error.root_cause().to_string())
    }
}

/// Removes the detail from the error of a `copy`, because it contains rows, which must not be logged.
pub(super) fn about_rows(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<Error>().and_then(Error::as_db_error) {
        Some(refused) if is_about_rows(refused.code()) => RowsRefused::because(refused.message()),
        _ => without_rows(error),
    }
}

/// Returns true for SQLSTATE classes that depend on the rows: invalid values, violated constraints, check options of
/// views, and exceptions raised by triggers.
pub(super) fn is_about_rows(code: &SqlState) -> bool {
    ["22", "23", "44", "P0"].iter().any(|class| code.code().starts_with(class))
}
