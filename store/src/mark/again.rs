//! Clears failed tasks downstream of a task that a user marked as succeeded, as Airflow does.

use crate::{
    StoreResult, boxed,
    clear::{ClearScope, clear_instances},
    locks::{Locks, Runs},
    step::Stepper,
    version::Versions,
};
use orch_core::plan::TaskIdx;
use orch_core::select::{Selection, relatives};
use orch_core::transition::Selected;
use orch_spec::state::TaskState;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// Clears the failed instances downstream of instances that a user marked as succeeded or skipped, so that they run
/// again. Must be called in the transaction of the mark.
#[boxed]
pub async fn ask_again(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    versions: &mut Versions,
    (run, version): (Uuid, i32),
    marked: &[TaskIdx],
) -> StoreResult<()> {
    let plan = versions.get(db, version).await?.plan.clone();
    let below = relatives(&plan, marked, false, true).into_iter().filter(|task| !marked.contains(task));
    let tasks: Vec<Selected> = below.map(|task| Selected { task, index: None }).collect();
    if tasks.is_empty() {
        return Ok(());
    }
    let wish = ClearScope {
        selection: Selection { tasks, ..Selection::default() },
        version: Some(version),
        states: vec![TaskState::Failed, TaskState::UpstreamFailed],
    };
    clear_instances(db, locks, &mut Stepper::default(), versions, run, &wish).await?;
    Ok(())
}
