//! What tasks gave: `…/taskInstances/{task_id}/xcomEntries`. Values are JSON, so there is nothing to deserialize.

mod change;

use change::missing;
pub(crate) use change::{create, delete, patch};

use super::dag_runs::find;
use super::narrow::{Span, fits};
use super::pages::{Page, name_pattern, orders};
use crate::extract::{Names, Query, RunPath};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_core::plan::{Plan, TaskIdx};
use orch_store::output::{OutputFilter, OutputOrder, OutputRow, count_outputs, get as get_output, list_outputs, shown};
use orch_store::run::RunDetails;
use orch_wire::timestamp::{Timestamp, stamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

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

/// Of one task, or of all of the run with `~`.
pub(crate) async fn list(State(app): State<App>, names: Names, mut query: Query) -> Result<Json<XComPage>, Refusal> {
    let page = Page::of(&mut query);
    let index = |query: &mut Query, name: &str| query.whole_numbers(name).last().copied();
    let map_index = index(&mut query, "map_index").or(index(&mut query, "map_index_filter"));
    let (logical_date, run_after) = (Span::of(&mut query, "logical_date"), Span::of(&mut query, "run_after"));
    query.finish()?;
    let order = orders(&query, |name| match name {
        // All are of one DAG and one run.
        "task_id" | "dag_id" | "run_id" | "run_after" => Some(OutputOrder::Task),
        "map_index" => Some(OutputOrder::MapIndex),
        "key" => Some(OutputOrder::Key),
        "timestamp" => Some(OutputOrder::Age),
        _ => None,
    })?;
    let run_path = run_of(&names)?;
    let mut db = app.pages().await?;
    let run = find(&mut db, &run_path).await?;
    let version = app.versions.get(&mut db, run.version).await?;
    let plan = &version.plan;
    let is_run_meant = logical_date.holds(run.logical_date)
        && run_after.holds(Some(run.run_after))
        && fits(&name_pattern(&query, "run_id"), &run.run_id)
        && fits(&name_pattern(&query, "dag_display_name"), &run.dag_id);
    let (task, pattern) = (names.get("task_id"), name_pattern(&query, "task_id"));
    let is_meant = |id: &str| is_run_meant && (task == "~" || task == id) && fits(&pattern, id);
    let filter = OutputFilter {
        tasks: Some(
            (0..plan.tasks.len())
                .filter_map(|index| TaskIdx::try_from(index).ok())
                .filter(|index| is_meant(plan.task_id(*index)))
                .collect(),
        ),
        map_index: map_index.map(|index| i32::try_from(index).unwrap_or(i32::MAX)),
        key: query.text("xcom_key").map(String::from),
        keys: name_pattern(&query, "xcom_key"),
        order,
    };
    let rows = list_outputs(&mut db, run.id, &filter, (page.offset, page.limit)).await?;
    let total_entries = match page.total(rows.len()) {
        Some(total) => total,
        None => count_outputs(&mut db, run.id, &filter).await?,
    };
    let xcom_entries = rows.into_iter().map(|row| view(&run, plan, row)).collect();
    Ok(Json(XComPage { xcom_entries, total_entries }))
}

pub(crate) async fn get(State(app): State<App>, names: Names, mut query: Query) -> Result<Json<XComValue>, Refusal> {
    let map_index = query.whole_numbers("map_index").last().copied().unwrap_or(-1);
    let stringify = query.flag("stringify").unwrap_or(false);
    // Nothing is serialized but JSON: asking for it changes nothing.
    query.flag("deserialize");
    query.finish()?;
    let path = names.task()?;
    let key = names.get("xcom_key");
    let missing = || missing(key);
    let map_index = i32::try_from(map_index).map_err(|_| missing())?;
    let mut db = app.pages().await?;
    let run = find(&mut db, &path.run).await?;
    let version = app.versions.get(&mut db, run.version).await?;
    let task = version.plan.index_of(&path.task_id).ok_or_else(missing)?;
    let filter = of_one(task, map_index, key);
    let row = list_outputs(&mut db, run.id, &filter, (0, 1)).await?.pop().ok_or_else(missing)?;
    let value = get_output(&mut db, run.id, task, map_index, key).await?.ok_or_else(missing)?;
    let value = match shown(value) {
        Value::String(text) => Value::String(text),
        other if stringify => Value::String(other.to_string()),
        other => other,
    };
    Ok(Json(XComValue { entry: view(&run, &version.plan, row), value }))
}

/// One by its names.
fn of_one(task: TaskIdx, map_index: i32, key: &str) -> OutputFilter {
    let (tasks, map_index, key) = (Some(vec![task]), Some(map_index), Some(key.into()));
    OutputFilter { tasks, map_index, key, ..OutputFilter::default() }
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
