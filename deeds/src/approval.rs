//! Answers to approvals. The first answer wins.

use crate::{Actor, boxed};
use chrono::{DateTime, Utc};
use orch_spec::approval::ApprovalInput;
use orch_store::StoreResult;
use orch_store::approval::{ApprovalRow, answer_approval};
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use serde_json::json;
use sqlx::PgConnection;

/// Hint for the watchers, which resume the waiting task.
pub const ANSWERED: Hint = Hint::Due;

/// Stores an answer and returns its time. `None` if the approval was answered already, timed out or was withdrawn.
#[boxed]
pub async fn answer(
    tx: &mut PgConnection,
    actor: &Actor,
    row: &ApprovalRow,
    given: &ApprovalInput,
) -> StoreResult<Option<DateTime<Utc>>> {
    let at = answer_approval(tx, row.attempt, given, &actor.name).await?;
    if at.is_some() {
        let deed = Deed {
            event: "answer_approval",
            dag_id: Some(&row.dag_id),
            run_id: Some(&row.run_id),
            task_id: Some(&row.task_id),
            map_index: Some(row.map_index),
            extra: Some(json!({ "chosen_options": given.chosen_options, "try_number": row.try_no })),
            ..Deed::default()
        };
        actor.did(tx, deed).await?;
    }
    Ok(at)
}
