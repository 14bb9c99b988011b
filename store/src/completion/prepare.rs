//! Prepares all steps of an attempt concurrently, before the completion transaction.

use super::transaction::failed;
use super::{CompletionStep, Unrecorded};
use crate::{StoreError, boxed};
use futures::future::try_join_all;
use sqlx::error::DatabaseError;

/// Prepares all steps of an attempt. If this future is dropped, files may remain that no table references, as after the
/// loss of a worker.
///
/// # Errors
/// Returns the error of the first step that fails, or `Store` if the database cannot be reached.
#[boxed]
pub async fn prepare(steps: &mut [Box<dyn CompletionStep>]) -> Result<(), Unrecorded> {
    let all = steps.iter_mut().map(|step| async move {
        let name = step.name();
        step.prepare().await.map_err(|error| unprepared(name, error))
    });
    try_join_all(all).await.map(drop)
}

/// Converts the error of a preparation. If the database is unreachable, returns `Store`, which does not fail the
/// attempt, because the completion transaction would have to wait for the database anyway.
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
