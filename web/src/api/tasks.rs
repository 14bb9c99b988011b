//! Tasks of the newest version of a DAG: `/api/v2/dags/{dag_id}/tasks`, and the complete structure under
//! `/api/orch/v1`.

use super::dags::find;
use super::version_history::{VersionParams, no_such_version};
use crate::extract::{DagPath, Names, Query, query_params};
use crate::openapi::kinds::QueryParamType;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_core::plan::{Plan, TaskIdx};
use orch_store::narrow;
use orch_store::version::structure;
use orch_wire::timestamp::{Timestamp, stamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TaskPage {
    tasks: Vec<TaskView>,
    total_entries: usize,
}

/// A length of time as Airflow says it.
#[derive(Debug, Serialize, JsonSchema)]
struct TimeDelta {
    #[serde(rename = "__type")]
    kind: &'static str,
    days: u64,
    seconds: u64,
    microseconds: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TaskView {
    task_id: String,
    task_display_name: String,
    owner: Option<String>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    trigger_rule: String,
    depends_on_past: bool,
    wait_for_downstream: bool,
    retries: u32,
    queue: String,
    pool: String,
    pool_slots: u32,
    execution_timeout: Option<TimeDelta>,
    retry_delay: Option<TimeDelta>,
    retry_exponential_backoff: f64,
    priority_weight: i32,
    weight_rule: String,
    ui_color: String,
    ui_fgcolor: String,
    template_fields: Vec<String>,
    downstream_task_ids: Vec<String>,
    doc_md: Option<String>,
    operator_name: String,
    params: Map<String, Value>,
    class_ref: Map<String, Value>,
    is_mapped: bool,
    extra_links: Vec<String>,
}

/// The structure of a version of a DAG, as its worker registered it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Structure {
    dag_id: String,
    version_number: i32,
    aliases: Vec<String>,
    spec: Value,
}

const ORDERS: &[&str] =
    &["task_id", "task_display_name", "retries", "queue", "pool", "priority_weight", "operator_name", "trigger_rule"];

query_params! {
    pub(crate) struct TasksParams {
        /// The field to sort by; `-` in front of it reverses the order
        order_by: Option<String> as QueryParamType::Order(ORDERS),
    }
}

pub(crate) async fn list(
    State(app): State<App>,
    DagPath(dag_id): DagPath,
    mut query: Query,
) -> Result<Json<TaskPage>, Refusal> {
    let TasksParams { order_by } = query.whole()?;
    let order_by = order_by.as_deref().unwrap_or("task_id");
    let (order, descends) = order_by.strip_prefix('-').map_or((order_by, false), |word| (word, true));
    let mut db = app.pages().await?;
    let dag = find(&mut db, &dag_id).await?;
    let version = app.versions.get(&mut db, dag.version).await?;
    let plan = &version.plan;
    let mut tasks: Vec<TaskView> = (0..narrow::task(plan.tasks.len())).map(|task| view(plan, task)).collect();
    // Keep these in sync with `ORDERS`.
    match order {
        "task_id" | "task_display_name" => tasks.sort_by(|a, b| a.task_id.cmp(&b.task_id)),
        "retries" => tasks.sort_by_key(|task| task.retries),
        "queue" => tasks.sort_by(|a, b| a.queue.cmp(&b.queue)),
        "pool" => tasks.sort_by(|a, b| a.pool.cmp(&b.pool)),
        "priority_weight" => tasks.sort_by_key(|task| task.priority_weight),
        "operator_name" => tasks.sort_by(|a, b| a.operator_name.cmp(&b.operator_name)),
        "trigger_rule" => tasks.sort_by(|a, b| a.trigger_rule.cmp(&b.trigger_rule)),
        other => {
            let other: String = other.chars().take(100).collect();
            return Err(Refusal::bad_request(format!("'TaskResponse' object has no attribute '{other}'")));
        }
    }
    if descends {
        tasks.reverse();
    }
    Ok(Json(TaskPage { total_entries: tasks.len(), tasks }))
}

pub(crate) async fn get(State(app): State<App>, names: Names) -> Result<Json<TaskView>, Refusal> {
    let dag_id = names.dag()?;
    let mut db = app.hot().await?;
    let dag = find(&mut db, &dag_id).await?;
    let version = app.versions.get(&mut db, dag.version).await?;
    let task_id = names.get("task_id");
    let task = version.plan.index_of(task_id).ok_or_else(|| {
        let shown = task_id.chars().take(250).collect::<String>().escape_debug().to_string();
        Refusal::not_found(format!("Task with id {shown} was not found"))
    })?;
    Ok(Json(view(&version.plan, task)))
}

/// Returns the complete structure of a DAG, which is not part of Airflow's API.
pub(crate) async fn whole(
    State(app): State<App>,
    DagPath(dag_id): DagPath,
    mut query: Query,
) -> Result<Json<Structure>, Refusal> {
    let VersionParams { version_number } = query.whole()?;
    let mut db = app.pages().await?;
    let dag = find(&mut db, &dag_id).await?;
    let version_number = version_number.unwrap_or(dag.version_number);
    let spec = structure(&mut db, &dag.dag_id, version_number).await?;
    let spec = spec.ok_or_else(|| no_such_version(&dag.dag_id, version_number))?;
    Ok(Json(Structure { dag_id: dag.dag_id, version_number, aliases: dag.aliases, spec }))
}

fn view(plan: &Plan, task: TaskIdx) -> TaskView {
    let (spec, planned) = (&plan.spec.tasks[usize::from(task)], plan.task(task));
    let options = &spec.options;
    let below = planned.down.iter().map(|edge| edge.task);
    let mut below: Vec<&str> = below
        .filter(|&down| plan.task(down).up.iter().any(|edge| edge.task == task))
        .map(|down| plan.task_id(down))
        .collect();
    below.sort_unstable();
    below.dedup();
    let rule = json!(options.trigger_rule.unwrap_or_default());
    let weight = json!(options.weight_rule.unwrap_or_default());
    TaskView {
        task_id: spec.task_id.clone(),
        task_display_name: spec.task_id.clone(),
        owner: options.owner.as_ref().or(plan.spec.owners.first()).cloned(),
        start_date: stamp(plan.spec.start),
        end_date: stamp(plan.spec.end),
        trigger_rule: rule.as_str().unwrap_or_default().into(),
        depends_on_past: options.depends_on_past.unwrap_or(false),
        wait_for_downstream: options.wait_for_downstream.unwrap_or(false),
        retries: planned.retries,
        queue: planned.queue.clone(),
        pool: options.pool.clone().unwrap_or_else(|| "default_pool".into()),
        pool_slots: options.pool_slots.unwrap_or(1),
        execution_timeout: options.timeout_ms.map(length),
        retry_delay: options.retry_delay_ms.map(length),
        retry_exponential_backoff: options.retry_backoff.unwrap_or(0.0),
        priority_weight: options.priority.unwrap_or(1),
        weight_rule: weight.as_str().unwrap_or_default().into(),
        ui_color: "#fff".into(),
        ui_fgcolor: "#000".into(),
        template_fields: Vec::new(),
        downstream_task_ids: below.into_iter().map(String::from).collect(),
        doc_md: Some(spec.doc.clone()).filter(|words| !words.is_empty()),
        operator_name: spec.kind.clone(),
        params: params(plan.spec.params_schema.as_ref()),
        class_ref: Map::from_iter([("class_name".into(), json!(spec.kind)), ("module_path".into(), Value::Null)]),
        is_mapped: planned.map.is_some(),
        extra_links: Vec::new(),
    }
}

fn length(ms: u64) -> TimeDelta {
    let seconds = ms / 1000;
    TimeDelta { kind: "TimeDelta", days: seconds / 86_400, seconds: seconds % 86_400, microseconds: ms % 1000 * 1000 }
}

/// Returns params in Airflow's format: by name, each with its default and its schema.
pub(super) fn params(schema: Option<&Value>) -> Map<String, Value> {
    let properties = schema.and_then(|schema| schema.get("properties")).and_then(Value::as_object);
    let one = |(name, schema): (&String, &Value)| {
        let word = |field: &str| schema.get(field).cloned().unwrap_or(Value::Null);
        let param = json!({ "value": word("default"), "schema": schema, "description": word("description"),
            "source": "dag" });
        (name.clone(), param)
    };
    properties.into_iter().flatten().map(one).collect()
}
