//! Outputs of task instances (Airflow's `XCom`) that users create, change or delete.

use crate::instance::about;
use crate::{Actor, boxed};
use orch_core::plan::TaskIdx;
use orch_store::StoreResult;
use orch_store::output::{OutputAddress, change_output, create_output, delete_output};
use orch_store::run::RunDetails;
use serde_json::{Value, json};
use sqlx::PgConnection;

/// The address of one output.
#[derive(Debug, Clone, Copy)]
pub struct OutputOf<'a> {
    pub run: &'a RunDetails,
    pub task: TaskIdx,
    pub task_id: &'a str,
    pub map_index: i32,
    pub key: &'a str,
}

impl<'a> OutputOf<'a> {
    fn address(self) -> OutputAddress<'a> {
        OutputAddress { run: self.run.id, task: self.task, map_index: self.map_index, key: self.key }
    }

    /// Writes the audit record if the change was made.
    async fn wrote(self, tx: &mut PgConnection, actor: &Actor, event: &str, done: bool) -> StoreResult<bool> {
        if done {
            let mut deed = about(event, self.run, self.task_id, self.map_index);
            deed.extra = Some(json!({ "key": self.key }));
            actor.did(tx, deed).await?;
        }
        Ok(done)
    }
}

/// Returns `false` if the instance already has an output with this key.
#[boxed]
pub async fn create(tx: &mut PgConnection, actor: &Actor, of: &OutputOf<'_>, value: &Value) -> StoreResult<bool> {
    let done = create_output(tx, of.address(), value).await?;
    of.wrote(tx, actor, "create_xcom", done).await
}

/// Returns `false` if the instance has no output with this key.
#[boxed]
pub async fn change(tx: &mut PgConnection, actor: &Actor, of: &OutputOf<'_>, value: &Value) -> StoreResult<bool> {
    let done = change_output(tx, of.address(), value).await?;
    of.wrote(tx, actor, "patch_xcom", done).await
}

/// Returns `false` if the instance has no output with this key.
#[boxed]
pub async fn delete(tx: &mut PgConnection, actor: &Actor, of: &OutputOf<'_>) -> StoreResult<bool> {
    let done = delete_output(tx, of.address()).await?;
    of.wrote(tx, actor, "delete_xcom", done).await
}
