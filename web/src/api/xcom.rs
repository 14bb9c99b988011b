//! Outputs of tasks: `…/taskInstances/{task_id}/xcomEntries`. Values are JSON, so deserialization does not apply.

mod change;

use change::missing;
pub(crate) use change::{XComCreateBody, XComUpdateBody, create, delete, patch};

use super::dag_runs::find;
use super::list::asked;
use super::task_instances::ElementParams;
use crate::extract::{Names, Query, RunPath, query_params};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_core::plan::{Plan, TaskIdx};
use orch_store::list::{Cell, Column, ListPage, Search};
use orch_store::narrow;
use orch_store::output::{OUTPUTS, OutputRow, by, get as get_output, mask_sealed};
use orch_store::run::RunDetails;
use orch_wire::timestamp::{Timestamp, stamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

query_params! {
    pub(crate) struct XComParams {
        /// The value as text
        stringify: bool,
        /// Values are JSON either way
        deserialize: bool,
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct XComPage {
    xcom_entries: Vec<XComView>,
    total_entries: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct XComView {
    key: String,
    timestamp: Timestamp,
    logical_date: Option<Timestamp>,
    map_index: i32,
    task_id: String,
    dag_id: String,
    run_id: String,
    dag_display_name: String,
    task_display_name: String,
    run_after: Timestamp,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct XComValue {
    #[serde(flatten)]
    entry: XComView,
    value: Value,
}

/// Lists the outputs of one task, or of all tasks of the run with `~`.
pub(crate) async fn list(State(app): State<App>, names: Names, mut query: Query) -> Result<Json<XComPage>, Refusal> {
    let mut search = asked(&mut query, OUTPUTS.columns)?;
    let run_path = run_of(&names)?;
    let mut db = app.pages().await?;
    let run = find(&mut db, &run_path).await?;
    let version = app.versions.get(&mut db, run.version).await?;
    let plan = &version.plan;
    let (elsewhere, stored) = search.conditions.into_iter().partition(|one| one.column.sql.is_empty());
    search.conditions = stored;
    let elsewhere = Search { conditions: elsewhere, ..Search::default() };
    let task = names.get("task_id");
    let is_meant = |id: &str| (task == "~" || task == id) && elsewhere.fits(&(&run, id), cell);
    let tasks = (0..narrow::task(plan.tasks.len())).filter(|place| is_meant(plan.task_id(*place)));
    let search = search.and(by::RUN.is(run.id)).and(by::TASK.any_of(tasks.map(i64::from)));
    let ListPage { rows, total: total_entries } = OUTPUTS.find(&mut db, &search).await?;
    let xcom_entries = rows.into_iter().map(|row| view(&run, plan, row)).collect();
    Ok(Json(XComPage { xcom_entries, total_entries }))
}

/// Returns the value of a column that belongs to the run or to the task id.
fn cell<'a>((run, task_id): &'a (&RunDetails, &str), column: &Column) -> Cell<'a> {
    match column.name {
        "logical_date" => run.logical_date.into(),
        "run_after" => run.run_after.into(),
        "run_id" => run.run_id.as_str().into(),
        "dag_display_name" => run.dag_id.as_str().into(),
        "task_id" => (*task_id).into(),
        _ => Cell::Nothing,
    }
}

pub(crate) async fn get(State(app): State<App>, names: Names, mut query: Query) -> Result<Json<XComValue>, Refusal> {
    let element: ElementParams = query.take();
    // All values are JSON, so `deserialize` has no effect.
    let XComParams { stringify, deserialize: _either } = query.whole()?;
    let path = names.task()?;
    let key = names.get("xcom_key");
    let missing = || missing(key);
    let map_index = element.index().ok_or_else(missing)?;
    let mut db = app.pages().await?;
    let run = find(&mut db, &path.run).await?;
    let version = app.versions.get(&mut db, run.version).await?;
    let task = version.plan.index_of(&path.task_id).ok_or_else(missing)?;
    let row = OUTPUTS.first(&mut db, &of_one(run.id, task, map_index, key)).await?.ok_or_else(missing)?;
    let value = get_output(&mut db, run.id, task, map_index, key).await?.ok_or_else(missing)?;
    let value = match mask_sealed(value) {
        Value::String(text) => Value::String(text),
        other if stringify => Value::String(other.to_string()),
        other => other,
    };
    Ok(Json(XComValue { entry: view(&run, &version.plan, row), value }))
}

fn of_one(run: Uuid, task: TaskIdx, map_index: i32, key: &str) -> Search {
    let of_task = Search::default().and(by::RUN.is(run)).and(by::TASK.is(i64::from(task)));
    of_task.and(by::MAP_INDEX.is(map_index)).and(by::KEY.is(key))
}

fn run_of(names: &Names) -> Result<RunPath, Refusal> {
    if names.get("dag_id") == "~" || names.get("dag_run_id") == "~" {
        let text = "outputs are listed for one run: name the dag and the run";
        return Err(Refusal::plain(StatusCode::BAD_REQUEST, text));
    }
    names.run()
}

fn view(run: &RunDetails, plan: &Plan, row: OutputRow) -> XComView {
    let task_id = plan.task_id(row.task).to_string();
    XComView {
        key: row.key,
        timestamp: Timestamp(row.created_at),
        logical_date: stamp(run.logical_date),
        map_index: row.map_index,
        task_display_name: task_id.clone(),
        task_id,
        dag_display_name: run.dag_id.clone(),
        dag_id: run.dag_id.clone(),
        run_id: run.run_id.clone(),
        run_after: Timestamp(run.run_after),
    }
}
