//! Before the completion transaction: every step does what takes long, all of them at the same time.

use super::transaction::failed;
use super::{CompletionStep, Unrecorded};
use crate::{StoreError, boxed};
use futures::future::try_join_all;
use sqlx::error::DatabaseError;

/// Prepares all steps of a try. Whoever drops this future leaves behind what a lost worker would: files of which no table
/// knows.
///
/// # Errors
/// The first step that fails, as in the transaction; `Store` if the database could not be reached.
#[boxed]
pub async fn prepare(steps: &mut [Box<dyn CompletionStep>]) -> Result<(), Unrecorded> {
    let all = steps.iter_mut().map(|step| async move {
        let name = step.name();
        step.prepare().await.map_err(|error| unprepared(name, error))
    });
    try_join_all(all).await.map(drop)
}

/// A database that cannot be reached for a while fails no try: the transaction would wait for it too.
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
