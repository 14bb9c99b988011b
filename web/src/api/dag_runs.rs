//! DAG runs: `/api/v2/dags/{dag_id}/dagRuns`.

mod batch;
mod bulk;
mod change;
mod clear;
mod list;
mod relocate;
mod result;
mod trigger;
mod view;
mod wait;

pub(crate) use batch::{DAGRunsBatchBody, batch};
pub(crate) use bulk::RunEntity;
pub(crate) use change::{DAGRunPatchBody, cancel, delete, patch, tell};
pub(crate) use clear::{BulkDAGRunClearBody, ClearedRun, ClearedRuns, DAGRunClearBody, clear_run, clear_runs};
pub(crate) use list::{DagRunPage, list};
pub(crate) use relocate::move_to_newest;
pub(crate) use result::{RunResult, TriggerAndWaitBody, TriggerAndWaitParams, trigger_and_wait};
pub(super) use trigger::{NewRunFields, create_of};
pub(crate) use trigger::{TriggerDAGRunPostBody, trigger};
pub(crate) use wait::{ResultParams, WaitLine, WaitParams, wait};

use crate::extract::{RunPath, no_such_run};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_store::dag::resolve;
use orch_store::run::{RunDetails, get_run};
use orch_store::{StoreError, StoreResult};
use sqlx::PgConnection;
pub(crate) use view::DagRunView;

pub(crate) async fn get(State(app): State<App>, path: RunPath) -> Result<Json<DagRunView>, Refusal> {
    let mut db = app.hot().await?;
    Ok(Json(find(&mut db, &path).await?.into()))
}

/// Returns a run by the ids in the path. The DAG id may be an alias.
pub(super) async fn find(db: &mut PgConnection, path: &RunPath) -> Result<RunDetails, Refusal> {
    let RunPath { dag_id, run_id } = path;
    if let Some(run) = get_run(db, dag_id, run_id).await? {
        return Ok(run);
    }
    let missing = || no_such_run(dag_id, run_id);
    let named = alias(db, dag_id).await?.ok_or_else(missing)?;
    get_run(db, &named, run_id).await?.ok_or_else(missing)
}

/// Returns the id of the DAG with this alias.
pub(super) async fn alias(db: &mut PgConnection, name: &str) -> StoreResult<Option<String>> {
    Ok::<_, StoreError>(resolve(db, name).await?.filter(|dag_id| dag_id != name))
}
