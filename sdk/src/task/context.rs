//! The context of a running task: the facts about its run and attempt, and access to its host.

use super::{BoxFuture, Connection, Host, LogLevel, MemoryHost, Resumed, TaskResult, fatal};
use chrono::{DateTime, Utc};
use orch_spec::asset::{AssetEvent, LineageEdge, TriggeringEvent};
use orch_spec::ids::{DagId, RunId, TaskId};
use orch_spec::state::{RunType, TriggeredBy};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::{fmt, sync::Arc};
use uuid::Uuid;

/// Facts that are the same for all attempts of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFacts {
    pub dag_id: DagId,
    pub run_id: RunId,
    /// The run's key in the database.
    pub run_key: Uuid,
    /// The version of the DAG that the run is pinned to.
    pub version: String,
    pub logical_date: Option<DateTime<Utc>>,
    pub data_interval_start: Option<DateTime<Utc>>,
    pub data_interval_end: Option<DateTime<Utc>>,
    pub run_after: DateTime<Utc>,
    pub run_type: RunType,
    pub triggered_by: Option<TriggeredBy>,
    /// Number of times that the run was cleared as a whole.
    pub clear_number: u32,
    /// The conf that the run was started with, without the defaults of the params.
    pub conf: Arc<Value>,
    #[serde(default)]
    pub partition_key: Option<String>,
}

/// Facts about one attempt. (`attempt`, `lease_no`) is its fencing token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TryFacts {
    pub task_id: TaskId,
    /// Index in a mapped task or group; `None` for a task that is not mapped.
    pub map_index: Option<u32>,
    /// 1 for the first attempt.
    pub try_number: u32,
    /// Number of retries. With `retries = 2` it is 2, and the third attempt is the last.
    pub max_tries: u32,
    pub attempt: Uuid,
    pub lease_no: i32,
    /// The end of its wait, if the attempt was deferred and resumes.
    #[serde(default)]
    pub resumed: Option<Resumed>,
}

/// A task's handle to its run. Cloning is cheap, and `Ctx::test()` works without a worker.
#[derive(Clone)]
pub struct Ctx {
    inner: Arc<Inner>,
}

struct Inner {
    run: Arc<RunFacts>,
    this_try: TryFacts,
    params: Arc<Value>,
    host: Arc<dyn Host>,
}

impl Ctx {
    /// Creates a context. `params` is the conf of the run with the defaults of the params schema filled in.
    pub fn new(run: Arc<RunFacts>, this_try: TryFacts, params: Arc<Value>, host: Arc<dyn Host>) -> Self {
        Ctx { inner: Arc::new(Inner { run, this_try, params, host }) }
    }

    /// Creates a context for the unit test of a task. To inspect its logs and pushes afterwards, use
    /// `MemoryHost::new().ctx()`.
    pub fn test() -> Self {
        MemoryHost::new().ctx()
    }

    pub fn dag_id(&self) -> &str {
        &self.inner.run.dag_id
    }

    pub fn run_id(&self) -> &str {
        &self.inner.run.run_id
    }

    pub fn task_id(&self) -> &str {
        &self.inner.this_try.task_id
    }

    pub fn map_index(&self) -> Option<u32> {
        self.inner.this_try.map_index
    }

    /// Returns the number of the attempt, starting at 1.
    pub fn try_number(&self) -> u32 {
        self.inner.this_try.try_number
    }

    /// Returns whether this is the last attempt: no retry follows if it fails.
    pub fn is_last_try(&self) -> bool {
        self.inner.this_try.try_number > self.inner.this_try.max_tries
    }

    pub fn attempt(&self) -> Uuid {
        self.inner.this_try.attempt
    }

    /// Returns how the wait ended that this attempt started with `Err(defer(…))`. `None` in the first call of the
    /// function.
    pub fn resumed(&self) -> Option<&Resumed> {
        self.inner.this_try.resumed.as_ref()
    }

    /// Returns the date that the run is for. Runs that were started manually or by an asset may have none.
    pub fn logical_date(&self) -> Option<DateTime<Utc>> {
        self.inner.run.logical_date
    }

    pub fn data_interval_start(&self) -> Option<DateTime<Utc>> {
        self.inner.run.data_interval_start
    }

    pub fn data_interval_end(&self) -> Option<DateTime<Utc>> {
        self.inner.run.data_interval_end
    }

    /// Returns the earliest start time of the run. Unlike the logical date, every run has one.
    pub fn run_after(&self) -> DateTime<Utc> {
        self.inner.run.run_after
    }

    pub fn run_type(&self) -> RunType {
        self.inner.run.run_type
    }

    /// Returns the conf that the run was started with.
    pub fn conf(&self) -> &Value {
        &self.inner.run.conf
    }

    pub fn run(&self) -> &RunFacts {
        &self.inner.run
    }

    pub fn this_try(&self) -> &TryFacts {
        &self.inner.this_try
    }

    /// Returns the params as JSON. `d.params::<P>()` passes them to a task as a typed input.
    pub fn params(&self) -> &Value {
        &self.inner.params
    }

    /// Returns the params as a `P`, or a fatal error if they do not fit.
    pub fn params_as<P: DeserializeOwned>(&self) -> TaskResult<P> {
        P::deserialize(self.params()).map_err(|e| fatal(format!("the params are not a `{}`: {e}", type_name::<P>())))
    }

    pub fn debug(&self, message: impl AsRef<str>) {
        self.log(LogLevel::Debug, message.as_ref(), Value::Null);
    }

    pub fn info(&self, message: impl AsRef<str>) {
        self.log(LogLevel::Info, message.as_ref(), Value::Null);
    }

    pub fn warning(&self, message: impl AsRef<str>) {
        self.log(LogLevel::Warning, message.as_ref(), Value::Null);
    }

    pub fn error(&self, message: impl AsRef<str>) {
        self.log(LogLevel::Error, message.as_ref(), Value::Null);
    }

    /// Writes a log line with fields: `ctx.log(LogLevel::Info, "loaded", json!({ "rows": 7 }))`.
    pub fn log(&self, level: LogLevel, message: &str, fields: Value) {
        let fields = match fields {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            other => Map::from_iter([("value".to_string(), other)]),
        };
        self.inner.host.log(level, message, fields);
    }

    /// Reports the totals of this attempt so far. The UI shows them while the task runs.
    pub fn progress(&self, rows: u64, bytes: u64) {
        self.inner.host.progress(rows, bytes);
    }

    pub fn is_cancelled(&self) -> bool {
        self.inner.host.cancelled()
    }

    /// Completes when this attempt should end. Use it in `select!` to clean up.
    pub fn cancelled(&self) -> BoxFuture<()> {
        self.inner.host.cancelled_future()
    }

    /// Returns a connection by its id, or a fatal error if it does not exist.
    pub async fn connection(&self, id: &str) -> TaskResult<Connection> {
        self.inner.host.connection(id).await
    }

    /// Returns a variable, or a fatal error if it does not exist.
    pub async fn variable(&self, key: &str) -> TaskResult<String> {
        let value = self.inner.host.variable(key).await?;
        value.ok_or_else(|| {
            fatal(format!("there is no variable `{key}`: set it, or ask with `ctx.variable_or(\"{key}\", …)`"))
        })
    }

    pub async fn variable_or(&self, key: &str, default: &str) -> TaskResult<String> {
        Ok(self.inner.host.variable(key).await?.unwrap_or_else(|| default.into()))
    }

    /// Stores a value in addition to the output, for `pull` and the UI. The return value of a task needs no push.
    pub async fn push(&self, key: &str, value: impl Serialize) -> TaskResult<()> {
        let value = serde_json::to_value(value).map_err(|e| fatal(format!("`{key}` is not JSON: {e}")))?;
        self.inner.host.push(key, value).await
    }

    /// Returns a value that a task of this run pushed, or `None`.
    pub async fn pull<T: DeserializeOwned>(&self, task_id: &str, key: &str) -> TaskResult<Option<T>> {
        self.pull_from(task_id, key, None).await
    }

    /// Returns a value that one element of a mapped task pushed, or `None`.
    pub async fn pull_element<T: DeserializeOwned>(
        &self,
        task_id: &str,
        key: &str,
        index: u32,
    ) -> TaskResult<Option<T>> {
        self.pull_from(task_id, key, Some(index)).await
    }

    async fn pull_from<T: DeserializeOwned>(
        &self,
        task_id: &str,
        key: &str,
        map_index: Option<u32>,
    ) -> TaskResult<Option<T>> {
        let Some(value) = self.inner.host.pull(task_id, key, map_index).await? else { return Ok(None) };
        T::deserialize(value)
            .map(Some)
            .map_err(|e| fatal(format!("`{key}` of task `{task_id}` is not a `{}`: {e}", type_name::<T>())))
    }

    /// Records an asset update, which takes effect when this attempt succeeds. Not needed for `.outlet(asset(…))`.
    pub fn asset_event(&self, uri: &str, extra: impl Serialize) -> TaskResult<()> {
        let extra = serde_json::to_value(extra).map_err(|e| fatal(format!("the extra of `{uri}` is not JSON: {e}")))?;
        self.emit(AssetEvent::of(uri).extra(extra))
    }

    /// Like [`Ctx::asset_event`], with more options:
    /// `ctx.emit(AssetEvent::of(uri).through("alias").partition("2026-11-20").rows(7))`. The last event for the same
    /// asset, alias and key wins.
    pub fn emit(&self, event: AssetEvent) -> TaskResult<()> {
        event.problem().map_or(Ok(()), |problem| Err(fatal(problem)))?;
        self.inner.host.asset_event(event)
    }

    /// Records that a number of rows flowed from one asset into another; stored when this attempt succeeds. Declared
    /// inlets and outlets without such a call are recorded automatically, without rows.
    pub fn lineage(&self, from: &str, to: &str, rows: impl Into<Option<u64>>) -> TaskResult<()> {
        let edge = LineageEdge { from: from.into(), to: to.into(), rows: rows.into() };
        edge.problem().map_or(Ok(()), |problem| Err(fatal(problem)))?;
        self.inner.host.lineage(edge)
    }

    /// Returns the asset updates that started the run, oldest first. Empty if the run was started otherwise.
    pub async fn triggering_events(&self) -> TaskResult<Vec<TriggeringEvent>> {
        self.inner.host.triggering_events().await
    }

    /// Returns the partition that the run is for, if its DAG runs by partition or the run was triggered with one.
    pub fn partition_key(&self) -> Option<&str> {
        self.inner.run.partition_key.as_deref()
    }

    /// Returns the host of this attempt, for requests that have no method here.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.inner.host
    }
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx").field("run", &self.inner.run).field("this_try", &self.inner.this_try).finish()
    }
}

impl RunFacts {
    /// Returns facts for tests: a manual run of the DAG `test` at the start of 2025.
    pub fn test() -> Self {
        RunFacts {
            dag_id: DagId::new("test").expect("a plain word is an id"),
            run_id: RunId::new("manual__test").expect("a plain word is an id"),
            run_key: Uuid::nil(),
            version: String::new(),
            logical_date: None,
            data_interval_start: None,
            data_interval_end: None,
            run_after: DateTime::from_timestamp(1_735_689_600, 0).expect("2025 is in range"),
            run_type: RunType::Manual,
            triggered_by: Some(TriggeredBy::Test),
            clear_number: 0,
            conf: Arc::new(Value::Object(Map::new())),
            partition_key: None,
        }
    }
}

impl TryFacts {
    /// Returns facts for tests: the first and only attempt of the task `test`.
    pub fn test() -> Self {
        TryFacts {
            task_id: TaskId::new("test").expect("a plain word is an id"),
            map_index: None,
            try_number: 1,
            max_tries: 0,
            attempt: Uuid::nil(),
            lease_no: 0,
            resumed: None,
        }
    }
}

fn type_name<T>() -> &'static str {
    std::any::type_name::<T>()
}
