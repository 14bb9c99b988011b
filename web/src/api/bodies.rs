//! The fields of bodies, for `/openapi.json`. Handlers read bodies field by field, so that one answer names all that is
//! wrong; a test holds these against what they take.
#![expect(dead_code, reason = "only their schemas are used")]

use crate::api::task_instances::choice;
use crate::openapi::kept::BodyOf;
use crate::openapi::queries::orders;
use orch_deeds::Kept;
use orch_spec::state::{RunState, TaskState};
use orch_store::run::RUNS;
use orch_wire::timestamp::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::marker::PhantomData;

/// A run's id as people may give it.
const RUN_ID: &str = "^[A-Za-z0-9_.:+-][A-Za-z0-9_.~:+-]{0,249}$";

/// A partition key as people may give it.
const PARTITION_KEY: &str =
    r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";

fn run_order(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [{ "type": "string", "enum": orders(RUNS.columns) }, { "type": "null" }] })
}

fn instance_order(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [{ "type": "string", "enum": orders(choice::COLUMNS) }, { "type": "null" }] })
}

fn task_states(_: &mut SchemaGenerator) -> Schema {
    let one = json_schema!({ "anyOf": [{ "type": "string", "enum": TaskState::WORDS }, { "type": "null" }] });
    json_schema!({ "anyOf": [{ "type": "array", "items": one }, { "type": "null" }] })
}

fn run_states(_: &mut SchemaGenerator) -> Schema {
    let one = json_schema!({ "anyOf": [{ "type": "string", "enum": RunState::WORDS }, { "type": "null" }] });
    json_schema!({ "anyOf": [{ "type": "array", "items": one }, { "type": "null" }] })
}

/// A task id, or a task id and a map index.
fn tasks(_: &mut SchemaGenerator) -> Schema {
    let pair = json_schema!({ "type": "array", "minItems": 2, "maxItems": 2,
        "prefixItems": [{ "type": "string" }, { "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX }] });
    json_schema!({ "anyOf": [{ "type": "null" }, { "type": "array", "minItems": 1,
        "items": { "anyOf": [{ "type": "string" }, pair] } }] })
}

/// What is not supported.
fn not_true(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": [false, null] })
}

/// What DAGs here do not have.
fn nothing(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "null" })
}

#[derive(JsonSchema)]
pub(crate) struct LoginBody {
    username: String,
    password: String,
}

#[derive(JsonSchema)]
pub(crate) struct DAGPatchBody {
    is_paused: bool,
}

/// What a new run may be told, but for its logical date.
#[derive(JsonSchema)]
struct NewRunFields {
    #[schemars(regex(pattern = RUN_ID))]
    dag_run_id: Option<String>,
    data_interval_start: Option<Timestamp>,
    data_interval_end: Option<Timestamp>,
    run_after: Option<Timestamp>,
    conf: Option<Map<String, Value>>,
    #[schemars(length(max = 1000))]
    note: Option<String>,
    #[schemars(length(max = 250), regex(pattern = PARTITION_KEY))]
    partition_key: Option<String>,
}

#[derive(JsonSchema)]
pub(crate) struct TriggerDAGRunPostBody {
    #[schemars(required)]
    logical_date: Option<Timestamp>,
    #[schemars(flatten)]
    new: NewRunFields,
}

/// How far a change goes from the task that is named.
#[derive(JsonSchema)]
struct Reach {
    include_upstream: Option<bool>,
    include_downstream: Option<bool>,
    include_future: Option<bool>,
    include_past: Option<bool>,
}

/// Airflow's `MaterializeAssetBody`.
#[derive(JsonSchema)]
pub(crate) struct MaterializeAssetBody {
    logical_date: Option<Timestamp>,
    #[schemars(flatten)]
    new: NewRunFields,
}

#[derive(JsonSchema)]
pub(crate) struct CreateAssetEventsBody {
    asset_id: i32,
    #[schemars(length(max = 250), regex(pattern = PARTITION_KEY))]
    partition_key: Option<String>,
    extra: Option<Map<String, Value>>,
    /// Read and not used: there are no teams.
    access_control: Option<Map<String, Value>>,
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
    #[schemars(default, schema_with = "not_true")]
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
    #[schemars(default, schema_with = "run_order")]
    order_by: Option<String>,
    page_offset: Option<u32>,
    page_limit: Option<u32>,
    dag_ids: Option<Vec<String>>,
    #[schemars(default, schema_with = "run_states")]
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
    #[schemars(default, schema_with = "task_states")]
    state: Option<Vec<Option<String>>>,
    #[schemars(flatten)]
    within: Ranges,
    pool: Option<Vec<String>>,
    queue: Option<Vec<String>>,
    executor: Option<Vec<String>>,
    page_offset: Option<u32>,
    page_limit: Option<u32>,
    #[schemars(default, schema_with = "instance_order")]
    order_by: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(extend("anyOf" = [
    { "required": ["new_state"], "properties": { "new_state": { "type": "string" } } },
    { "required": ["note"] },
]))]
pub(crate) struct PatchTaskInstanceBody {
    new_state: Option<MarkWord>,
    #[schemars(length(max = 1000))]
    note: Option<String>,
    #[schemars(flatten)]
    reach: Reach,
}

#[derive(JsonSchema)]
pub(crate) struct ClearTaskInstancesBody {
    dry_run: Option<bool>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    only_failed: Option<bool>,
    only_running: Option<bool>,
    reset_dag_runs: Option<bool>,
    #[schemars(default, schema_with = "tasks")]
    task_ids: Option<Vec<Value>>,
    dag_run_id: Option<String>,
    #[schemars(flatten)]
    reach: Reach,
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

/// Of what is created or deleted only the name counts.
#[derive(JsonSchema)]
struct BulkTaskInstanceBody {
    task_id: String,
    map_index: Option<i32>,
    dag_id: Option<String>,
    dag_run_id: Option<String>,
    new_state: Option<String>,
    #[schemars(length(max = 1000))]
    note: Option<String>,
    #[schemars(flatten)]
    reach: Reach,
}

#[derive(JsonSchema)]
#[schemars(extend("anyOf" = [
    { "required": ["new_state"], "properties": { "new_state": { "type": "string" } } },
    { "required": ["note"] },
]))]
struct BulkTaskInstanceUpdate {
    task_id: String,
    map_index: Option<i32>,
    dag_id: Option<String>,
    dag_run_id: Option<String>,
    new_state: Option<MarkWord>,
    #[schemars(length(max = 1000))]
    note: Option<String>,
    #[schemars(flatten)]
    reach: Reach,
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
enum BulkAction<E, U> {
    Create { entities: Vec<E>, action_on_existence: Option<OnExistence> },
    Update { entities: Vec<U>, action_on_non_existence: Option<OnMissing>, update_mask: Option<Vec<String>> },
    Delete { entities: Vec<Named<E>>, action_on_non_existence: Option<OnMissing> },
}

#[derive(JsonSchema)]
pub(crate) struct BulkDAGRunsBody {
    actions: Vec<BulkAction<BulkDAGRunBody, BulkDAGRunBody>>,
}

#[derive(JsonSchema)]
pub(crate) struct BulkTaskInstancesBody {
    actions: Vec<BulkAction<BulkTaskInstanceBody, BulkTaskInstanceUpdate>>,
}

#[derive(JsonSchema)]
pub(crate) struct BulkDAGRunClearBody {
    #[schemars(length(min = 1, max = 100))]
    dag_runs: Vec<BulkDAGRunBody>,
    dry_run: Option<bool>,
    only_failed: Option<bool>,
    /// Not supported: clear with `run_on_latest_version`.
    #[schemars(default, schema_with = "not_true")]
    only_new: Option<bool>,
    run_on_latest_version: Option<bool>,
    #[schemars(length(max = 1000))]
    note: Option<String>,
    #[schemars(default, schema_with = "nothing")]
    partition_key: Option<String>,
    #[schemars(default, schema_with = "nothing")]
    partition_date_start: Option<String>,
    #[schemars(default, schema_with = "nothing")]
    partition_date_end: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum ReprocessWord {
    Failed,
    Completed,
    None,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum StepWord {
    Hourly,
    Daily,
}

/// `from_date` and `to_date`, or `dates`.
#[derive(JsonSchema)]
#[schemars(extend("anyOf" = [
    { "required": ["from_date", "to_date"], "properties": {
        "from_date": orch_wire::timestamp::moment_schema(), "to_date": orch_wire::timestamp::moment_schema(), "dates": { "type": "null" } } },
    { "required": ["dates"], "properties": {
        "dates": { "type": "array", "minItems": 1 }, "from_date": false, "to_date": false, "step": false } },
]))]
pub(crate) struct BackfillPostBody {
    dag_id: String,
    from_date: Option<Timestamp>,
    to_date: Option<Timestamp>,
    /// Instead of the two: exactly these.
    dates: Option<Vec<Timestamp>>,
    /// The dates of a DAG without a schedule.
    step: Option<StepWord>,
    run_backwards: Option<bool>,
    dag_run_conf: Option<Map<String, Value>>,
    reprocess_behavior: Option<ReprocessWord>,
    #[schemars(range(min = 1))]
    max_active_runs: Option<i32>,
    run_on_latest_version: Option<bool>,
    /// Only tasks whose ids contain a match, and what they wait for.
    task_regex: Option<String>,
    /// Without what they wait for.
    ignore_dependencies: Option<bool>,
}

#[derive(JsonSchema)]
pub(crate) struct HitlBody {
    #[schemars(length(min = 1))]
    chosen_options: Vec<String>,
    params_input: Option<Map<String, Value>>,
}

#[derive(JsonSchema)]
pub(crate) struct AlertTestBody {
    #[schemars(length(min = 1, max = 250))]
    connection_id: String,
    /// One line, with fields in braces.
    subject: Option<String>,
    /// With fields in braces.
    message: Option<String>,
    /// Of an e-mail: to these instead of those that the connection names.
    to: Option<Vec<String>>,
}

#[derive(JsonSchema)]
pub(crate) struct PresetBody {
    conf: Option<Map<String, Value>>,
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
    logical_date: Option<Timestamp>,
    #[schemars(flatten)]
    new: NewRunFields,
}

/// Many named things of one kind.
pub(crate) struct BulkBodyOf<K>(PhantomData<K>);

impl<K: Kept> JsonSchema for BulkBodyOf<K> {
    fn schema_name() -> Cow<'static, str> {
        format!("Bulk{}sBody", K::NOUN.one).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let action = generator.subschema_for::<BulkAction<BodyOf<K>, BodyOf<K>>>();
        json_schema!({ "type": "object", "properties": { "actions": { "type": "array", "items": action } },
            "required": ["actions"] })
    }
}

#[derive(JsonSchema)]
pub(crate) struct SqlBody {
    /// Reads only: `select`, `explain`, `show`, `describe`.
    sql: String,
    /// At most so many rows; 1,000 without it.
    #[schemars(range(min = 0))]
    limit: Option<i64>,
    /// It ends after so long; 30 without it, no more than 300.
    timeout_seconds: Option<f64>,
    /// The whole answer, or a file that is written while rows come.
    format: Option<SqlForm>,
    /// To cancel it by before it answers.
    #[schemars(extend("format" = "uuid"))]
    query_id: Option<String>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
enum SqlForm {
    Json,
    Csv,
    Jsonl,
}

#[derive(JsonSchema)]
pub(crate) struct RecordsBody {
    #[schemars(length(min = 1, max = 10_000))]
    records: Vec<NewRecordBody>,
}

#[derive(JsonSchema)]
pub(crate) struct ResetStreamBody {
    to: ResetToBody,
    /// Of this partition only; an offset needs it where there are several.
    #[schemars(range(min = 0))]
    partition: Option<i32>,
    /// Also empties the table, in the moment in which the stream begins anew.
    empty_table: Option<bool>,
}

#[derive(JsonSchema)]
pub(crate) struct SeekReaderBody {
    to: ResetToBody,
    /// Of this partition only; an offset needs it where there are several.
    #[schemars(range(min = 0))]
    partition: Option<i32>,
}

/// Where a stream or a reader goes on reading.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum ResetToBody {
    /// The oldest record that is kept.
    Earliest,
    /// What comes from now on.
    Latest,
    Offset(#[schemars(range(min = 0))] i64),
    /// The first record that is not older.
    Time(Timestamp),
}

/// Without a value it is a tombstone, and needs a key.
#[derive(JsonSchema)]
struct NewRecordBody {
    key: Option<String>,
    /// What is not text is kept as its JSON.
    value: Option<Value>,
    /// Instead of `value`: any bytes.
    #[schemars(extend("contentEncoding" = "base64"))]
    value_base64: Option<String>,
    /// Texts by name.
    headers: Option<Map<String, Value>>,
    /// Without it the key decides, as Kafka's own producers do.
    partition: Option<i32>,
}
