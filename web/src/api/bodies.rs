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
    note: Option<String>,
    partition_key: Option<String>,
}

#[derive(JsonSchema)]
pub(crate) struct DAGRunPatchBody {
    /// `queued`, `success` or `failed`.
    state: Option<String>,
    note: Option<String>,
}

#[derive(JsonSchema)]
pub(crate) struct DAGRunClearBody {
    dry_run: Option<bool>,
    only_failed: Option<bool>,
    only_new: Option<bool>,
    run_on_latest_version: Option<bool>,
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
    /// `success`, `failed` or `skipped`.
    new_state: Option<String>,
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
    note: Option<String>,
}
