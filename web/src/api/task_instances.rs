//! Task instances of a run: `/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances`.
//!
//! What was not decided yet is listed too, with state null: made up from the structure of the run's version.

mod view;

use super::dag_runs::find;
use super::pages::{Page, orders};
use crate::extract::{Dags, MappedPath, Query, RunPath, Runs, TaskPath, no_such_instance};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::state::TaskState;
use orch_store::instance::{
    InstanceFilter, InstanceRow, MOST_INSTANCES, get_instance, ledger, list_instances, page_of_instances,
};
use orch_store::run::RunDetails;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;
use std::collections::{BTreeSet, HashSet};
use view::TaskInstanceView;

pub(super) use view::OfRun;

#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct TaskInstancePage {
    pub(super) task_instances: Vec<TaskInstanceView>,
    pub(super) total_entries: usize,
    total_entries_limit: Option<i64>,
    next_cursor: Option<String>,
    previous_cursor: Option<String>,
}

/// The order of the DAG, then of the elements; other orders are taken and do not change it yet.
const ORDERS: [&str; 15] = [
    "id",
    "state",
    "duration",
    "start_date",
    "end_date",
    "map_index",
    "try_number",
    "logical_date",
    "run_after",
    "data_interval_start",
    "data_interval_end",
    "rendered_map_index",
    "operator",
    "task_display_name",
    "task_id",
];

pub(crate) async fn list(
    State(app): State<App>,
    Runs { dags, run_id }: Runs,
    mut query: Query,
) -> Result<Json<TaskInstancePage>, Refusal> {
    let page = Page::of(&mut query);
    let map_index = query.whole_numbers("map_index");
    query.finish()?;
    orders(&query, |name| ORDERS.contains(&name).then_some(()))?;
    let states = states(&query)?;
    let task_ids: Vec<String> = query.all("task_id").map(String::from).collect();
    let (Dags::One(dag_id), Some(run_id)) = (dags, run_id) else {
        let text = "task instances are listed for one run: name the dag and the run";
        return Err(Refusal::plain(StatusCode::BAD_REQUEST, text));
    };
    let filter = InstanceFilter {
        states,
        task_ids: (!task_ids.is_empty()).then_some(task_ids),
        map_index: map_index.last().map(|&index| i32::try_from(index).unwrap_or(i32::MAX)),
        after: None,
    };
    let mut db = app.pages().await?;
    let run = find(&mut db, &RunPath { dag_id, run_id }).await?;
    let mut versions = app.versions.clone();
    let part = (page.offset as usize, page.limit as usize);
    let found = page_of_instances(&mut db, &mut versions, run.id, &filter, part).await?;
    let found = found.ok_or_else(|| Refusal::Broken(format!("run `{}` is gone", run.id)))?;
    let of_run = OfRun { run: &run, plan: &found.version.plan };
    let task_instances = found.instances.into_iter().map(|row| of_run.instance(row)).collect();
    Ok(Json(TaskInstancePage {
        task_instances,
        total_entries: found.total,
        total_entries_limit: None,
        next_cursor: None,
        previous_cursor: None,
    }))
}

/// An instance that is not mapped.
pub(crate) async fn get(State(app): State<App>, path: TaskPath) -> Result<Json<TaskInstanceView>, Refusal> {
    one(&app, path, -1).await
}

/// An element.
pub(crate) async fn get_mapped(State(app): State<App>, path: MappedPath) -> Result<Json<TaskInstanceView>, Refusal> {
    one(&app, path.task, path.map_index).await
}

async fn one(app: &App, path: TaskPath, map_index: i32) -> Result<Json<TaskInstanceView>, Refusal> {
    let TaskPath { run: run_path, task_id } = path;
    let mut db = app.hot().await?;
    let mut versions = app.versions.clone();
    let run = find(&mut db, &run_path).await?;
    let missing = || no_such_instance(&run_path, &task_id, map_index);
    if let Some(row) = get_instance(&mut db, &mut versions, run.id, &task_id, map_index).await? {
        let version = versions.get(&mut db, run.version).await?;
        return Ok(Json(OfRun { run: &run, plan: &version.plan }.instance(row)));
    }
    let ledger = ledger(&mut db, &mut versions, run.id).await?.ok_or_else(missing)?;
    let task = ledger.version.plan.index_of(&task_id).ok_or_else(missing)?;
    match ledger.run.len(ledger.version.plan.task(task)) {
        Some(_) if map_index < 0 => {
            Err(Refusal::not_found("Task instance is mapped, add the map_index value to the URL"))
        }
        _ => Err(missing()),
    }
}

/// Rows of chosen instances of a run, in the order of the DAG. Those of the same tasks are read with them.
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

/// `none` and `no_status` stand for what has no state yet.
fn states(query: &Query) -> Result<Vec<TaskState>, Refusal> {
    let read = |word: &str| match word {
        "no_status" | "null" => Ok(TaskState::None),
        word => word.parse().map_err(|_| {
            let known: Vec<&str> = TaskState::ALL.iter().map(|state| state.as_str()).collect();
            let text = format!("Invalid value for state. Valid values are {}", known.join(", "));
            Refusal::plain(StatusCode::UNPROCESSABLE_ENTITY, text)
        }),
    };
    query.all("state").map(read).collect()
}
