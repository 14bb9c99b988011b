//! Prepares all steps of an attempt concurrently, before the completion transaction.

use super::transaction::failed;
use super::{CompletionStep, Unrecorded};
use crate::{StoreError, boxed};
use futures::future::try_join_all;
use sqlx::error::DatabaseError;

/// Prepares all steps of an attempt. If this future is dropped, files remain that no table references, as after the
/// loss of a worker.
///
/// # Errors
/// Returns the error of the first step that fails, as in the transaction, or `Store` if the database cannot be reached.
#[boxed]
pub async fn prepare(steps: &mut [Box<dyn CompletionStep>]) -> Result<(), Unrecorded> {
    let all = steps.iter_mut().map(|step| async move {
        let name = step.name();
        step.prepare().await.map_err(|error| unprepared(name, error))
    });
    try_join_all(all).await.map(drop)
}

/// Returns `Store` if the database is unreachable: the transaction would wait too, so the attempt does not fail.
fn unprepared(step: String, error: anyhow::Error) -> Unrecorded {
    let unreachable = error.chain().filter_map(|cause| cause.downcast_ref::<sqlx::Error>()).any(|cause| {
        matches!(cause, sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed)
            || cause.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code.starts_with("57P"))
    });
    if unreachable {
        let text = format!("{error:#}");
        return Unrecorded::Store(StoreError::Unreachable(sqlx::Error::Protocol(text)));
    }
    failed(step, error)
}
