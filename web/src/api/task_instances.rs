//! Task instances of a run: `/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances`.
//!
//! Instances without a state are listed too. They have no row yet and are derived from the structure of the run's
//! version.

mod bulk;
pub(crate) mod choice;
mod clear;
mod list;
mod logs;
mod mark;
mod meant;
mod tries;
mod view;

pub(crate) use bulk::InstanceEntity;
pub(crate) use choice::TaskInstancesBatchBody;
pub(crate) use clear::{ClearTaskInstancesBody, clear_chosen};
pub(crate) use list::{batch, list, list_mapped};
pub(crate) use logs::{LogParams, logs};
pub(crate) use mark::{PatchTaskInstanceBody, carry_out, dependencies, dry_run, patch};
pub(crate) use meant::{Note, TaskInstancePatch};
pub(crate) use tries::{get as get_try, list as list_tries, list_with_causes as list_tries_with_causes};

use super::dag_runs::find;
use crate::extract::{MappedPath, TaskPath, no_such_instance};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
pub(crate) use logs::LogPage;
use orch_core::plan::{Plan, TaskIdx};
use orch_store::instance::{InstanceFilter, InstanceRow, MOST_INSTANCES, get_instance, ledger, list_instances};
use orch_store::note::notes_of;
use orch_store::run::RunDetails;
use orch_store::version::Version;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
pub(super) use tries::named;
pub(crate) use tries::{CausedTryPage, ElementParams, TryPage};
pub(crate) use view::{TaskInstanceView, TaskTryView};

pub(super) use view::OfRun;

#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct TaskInstancePage {
    pub(super) task_instances: Vec<TaskInstanceView>,
    pub(super) total_entries: usize,
    total_entries_limit: Option<i64>,
    next_cursor: Option<String>,
    previous_cursor: Option<String>,
}

/// Returns an instance that is not mapped.
pub(crate) async fn get(State(app): State<App>, path: TaskPath) -> Result<Json<TaskInstanceView>, Refusal> {
    one(&app, path, -1).await
}

pub(crate) async fn get_mapped(State(app): State<App>, path: MappedPath) -> Result<Json<TaskInstanceView>, Refusal> {
    one(&app, path.task, path.map_index).await
}

async fn one(app: &App, path: TaskPath, map_index: i32) -> Result<Json<TaskInstanceView>, Refusal> {
    let Instance { run, version, row, .. } = one_instance(app, path, map_index).await?;
    let notes = notes_of(&mut *app.hot().await?, &[run.id]).await?;
    Ok(Json(OfRun { run: &run, plan: &version.plan, notes: &notes }.instance(row)))
}

pub(super) struct Instance {
    pub(super) path: TaskPath,
    pub(super) run: RunDetails,
    pub(super) version: Arc<Version>,
    pub(super) row: InstanceRow,
}

pub(super) async fn one_instance(app: &App, path: TaskPath, map_index: i32) -> Result<Instance, Refusal> {
    find_instance(app, &mut *app.hot().await?, path, map_index).await
}

/// Finds an instance over the caller's connection. A caller that waits for a second connection while it holds one can
/// cause a deadlock.
pub(super) async fn find_instance(
    app: &App,
    db: &mut PgConnection,
    path: TaskPath,
    map_index: i32,
) -> Result<Instance, Refusal> {
    let mut versions = app.versions.clone();
    let run = find(db, &path.run).await?;
    let missing = || no_such_instance(&path.run, &path.task_id, map_index);
    if let Some(row) = get_instance(db, &mut versions, run.id, &path.task_id, map_index).await? {
        let version = versions.get(db, run.version).await?;
        return Ok(Instance { path, run, version, row });
    }
    let ledger = ledger(db, &mut versions, run.id).await?.ok_or_else(missing)?;
    let task = ledger.version.plan.index_of(&path.task_id).ok_or_else(missing)?;
    match ledger.run.len(ledger.version.plan.task(task)) {
        Some(_) if map_index < 0 => {
            Err(Refusal::not_found("Task instance is mapped, add the map_index value to the URL"))
        }
        _ => Err(missing()),
    }
}

/// Returns the rows of the given instances of a run, in the order of the DAG. Reads all instances of the same tasks.
pub(super) async fn rows_of(
    app: &App,
    db: &mut PgConnection,
    run: &RunDetails,
    plan: &Plan,
    wanted: &[(TaskIdx, i32)],
) -> Result<Vec<InstanceRow>, Refusal> {
    let mut left: HashSet<(TaskIdx, i32)> = wanted.iter().copied().collect();
    let tasks: BTreeSet<TaskIdx> = wanted.iter().map(|instance| instance.0).collect();
    let ids = tasks.iter().map(|&task| plan.task_id(task).to_string()).collect();
    let mut filter = InstanceFilter { task_ids: Some(ids), ..InstanceFilter::default() };
    let mut rows = Vec::new();
    loop {
        let mut versions = app.versions.clone();
        let page = list_instances(db, &mut versions, run.id, &filter, MOST_INSTANCES).await?.unwrap_or_default();
        let is_last = page.len() < MOST_INSTANCES;
        filter.after = page.last().map(|row| (row.task, row.map_index));
        rows.extend(page.into_iter().filter(|row| left.remove(&(row.task, row.map_index))));
        if is_last || left.is_empty() {
            return Ok(rows);
        }
    }
}
