//! The fields of bodies, for `/openapi.json`. Handlers read bodies field by field, so that one answer names all that is
//! wrong; a test holds these against what they take.
#![expect(dead_code, reason = "only their schemas are used")]

use crate::timestamp::Timestamp;
use schemars::JsonSchema;
use serde_json::{Map, Value};

#[derive(JsonSchema)]
pub(crate) struct LoginBody {
    username: String,
    password: String,
}

#[derive(JsonSchema)]
pub(crate) struct DAGPatchBody {
    is_paused: bool,
}

#[derive(JsonSchema)]
pub(crate) struct TriggerDAGRunPostBody {
    dag_run_id: Option<String>,
    data_interval_start: Option<Timestamp>,
    data_interval_end: Option<Timestamp>,
    #[schemars(required)]
    logical_date: Option<Timestamp>,
    run_after: Option<Timestamp>,
    conf: Option<Map<String, Value>>,
    #[schemars(length(max = 1000))]
    note: Option<String>,
    partition_key: Option<String>,
}

/// What people may say of a run.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum RunEndWord {
    Queued,
    Success,
    Failed,
}

/// What people may say of a task instance.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum MarkWord {
    Success,
    Failed,
    Skipped,
}

#[derive(JsonSchema)]
pub(crate) struct DAGRunPatchBody {
    state: Option<RunEndWord>,
    #[schemars(length(max = 1000))]
    note: Option<String>,
}

#[derive(JsonSchema)]
pub(crate) struct DAGRunClearBody {
    dry_run: Option<bool>,
    only_failed: Option<bool>,
    only_new: Option<bool>,
    run_on_latest_version: Option<bool>,
    #[schemars(length(max = 1000))]
    note: Option<String>,
}

/// What both lists by a body are narrowed by.
#[derive(JsonSchema)]
struct Ranges {
    run_after_gte: Option<Timestamp>,
    run_after_gt: Option<Timestamp>,
    run_after_lte: Option<Timestamp>,
    run_after_lt: Option<Timestamp>,
    logical_date_gte: Option<Timestamp>,
    logical_date_gt: Option<Timestamp>,
    logical_date_lte: Option<Timestamp>,
    logical_date_lt: Option<Timestamp>,
    start_date_gte: Option<Timestamp>,
    start_date_gt: Option<Timestamp>,
    start_date_lte: Option<Timestamp>,
    start_date_lt: Option<Timestamp>,
    end_date_gte: Option<Timestamp>,
    end_date_gt: Option<Timestamp>,
    end_date_lte: Option<Timestamp>,
    end_date_lt: Option<Timestamp>,
    duration_gte: Option<f64>,
    duration_gt: Option<f64>,
    duration_lte: Option<f64>,
    duration_lt: Option<f64>,
}

#[derive(JsonSchema)]
pub(crate) struct DAGRunsBatchBody {
    order_by: Option<String>,
    page_offset: Option<u32>,
    page_limit: Option<u32>,
    dag_ids: Option<Vec<String>>,
    states: Option<Vec<Option<String>>>,
    #[schemars(flatten)]
    within: Ranges,
    conf_contains: Option<String>,
}

#[derive(JsonSchema)]
pub(crate) struct TaskInstancesBatchBody {
    dag_ids: Option<Vec<String>>,
    dag_run_ids: Option<Vec<String>>,
    task_ids: Option<Vec<String>>,
    state: Option<Vec<Option<String>>>,
    #[schemars(flatten)]
    within: Ranges,
    pool: Option<Vec<String>>,
    queue: Option<Vec<String>>,
    executor: Option<Vec<String>>,
    page_offset: Option<u32>,
    page_limit: Option<u32>,
    order_by: Option<String>,
}

#[derive(JsonSchema)]
pub(crate) struct PatchTaskInstanceBody {
    new_state: Option<MarkWord>,
    #[schemars(length(max = 1000))]
    note: Option<String>,
    include_upstream: Option<bool>,
    include_downstream: Option<bool>,
    include_future: Option<bool>,
    include_past: Option<bool>,
}

#[derive(JsonSchema)]
pub(crate) struct ClearTaskInstancesBody {
    dry_run: Option<bool>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    only_failed: Option<bool>,
    only_running: Option<bool>,
    reset_dag_runs: Option<bool>,
    /// Task ids, or pairs of a task id and a map index.
    task_ids: Option<Vec<Value>>,
    dag_run_id: Option<String>,
    include_upstream: Option<bool>,
    include_downstream: Option<bool>,
    include_future: Option<bool>,
    include_past: Option<bool>,
    run_on_latest_version: Option<bool>,
    prevent_running_task: Option<bool>,
    #[schemars(length(max = 1000))]
    note: Option<String>,
}

#[derive(JsonSchema)]
struct BulkDAGRunBody {
    dag_run_id: String,
    dag_id: Option<String>,
    state: Option<RunEndWord>,
    #[schemars(length(max = 1000))]
    note: Option<String>,
}

#[derive(JsonSchema)]
struct BulkTaskInstanceBody {
    task_id: String,
    map_index: Option<i32>,
    dag_id: Option<String>,
    dag_run_id: Option<String>,
    new_state: Option<MarkWord>,
    #[schemars(length(max = 1000))]
    note: Option<String>,
    include_upstream: Option<bool>,
    include_downstream: Option<bool>,
    include_future: Option<bool>,
    include_past: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum OnMissing {
    Fail,
    Skip,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum OnExistence {
    Fail,
    Skip,
    Overwrite,
}

/// By its id, or with all its fields.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Named<E> {
    Id(String),
    Entity(E),
}

#[derive(JsonSchema)]
#[schemars(tag = "action", rename_all = "lowercase")]
enum BulkAction<E> {
    Create { entities: Vec<E>, action_on_existence: Option<OnExistence> },
    Update { entities: Vec<E>, action_on_non_existence: Option<OnMissing>, update_mask: Option<Vec<String>> },
    Delete { entities: Vec<Named<E>>, action_on_non_existence: Option<OnMissing> },
}

#[derive(JsonSchema)]
pub(crate) struct BulkDAGRunsBody {
    actions: Vec<BulkAction<BulkDAGRunBody>>,
}

#[derive(JsonSchema)]
pub(crate) struct BulkTaskInstancesBody {
    actions: Vec<BulkAction<BulkTaskInstanceBody>>,
}

#[derive(JsonSchema)]
pub(crate) struct BulkDAGRunClearBody {
    #[schemars(length(min = 1, max = 100))]
    dag_runs: Vec<BulkDAGRunBody>,
    dry_run: Option<bool>,
    only_failed: Option<bool>,
    /// Not supported: clear with `run_on_latest_version`.
    only_new: Option<bool>,
    run_on_latest_version: Option<bool>,
    #[schemars(length(max = 1000))]
    note: Option<String>,
    /// DAGs here are not partitioned.
    partition_key: Option<String>,
    partition_date_start: Option<String>,
    partition_date_end: Option<String>,
}

#[derive(JsonSchema)]
pub(crate) struct XComCreateBody {
    #[schemars(length(min = 1, max = 512))]
    key: String,
    value: Value,
    map_index: Option<i32>,
}

#[derive(JsonSchema)]
pub(crate) struct XComUpdateBody {
    value: Value,
    map_index: Option<i32>,
}

/// Like `TriggerDAGRunPostBody`; nothing of it must be there.
#[derive(JsonSchema)]
pub(crate) struct TriggerAndWaitBody {
    dag_run_id: Option<String>,
    data_interval_start: Option<Timestamp>,
    data_interval_end: Option<Timestamp>,
    logical_date: Option<Timestamp>,
    run_after: Option<Timestamp>,
    conf: Option<Map<String, Value>>,
    #[schemars(length(max = 1000))]
    note: Option<String>,
    partition_key: Option<String>,
}
