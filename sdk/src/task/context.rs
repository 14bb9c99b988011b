//! What a running task knows about itself and its run, and its door to whoever runs it.

use super::{BoxFuture, Connection, Host, LogLevel, MemoryHost, Resumed, TaskResult, fatal};
use chrono::{DateTime, Utc};
use orch_spec::asset::{AssetEvent, LineageEdge, TriggeringEvent};
use orch_spec::ids::{DagId, RunId, TaskId};
use orch_spec::state::{RunType, TriggeredBy};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::{fmt, sync::Arc};
use uuid::Uuid;

/// What every attempt of a run is told alike.
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
    /// How often the run was cleared as a whole.
    pub clear_number: u32,
    /// What the run was started with, before the defaults of the params.
    pub conf: Arc<Value>,
    /// The partition the run is for.
    #[serde(default)]
    pub partition_key: Option<String>,
}

/// What one attempt is told about itself. (`attempt`, `lease_no`) is its fence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TryFacts {
    pub task_id: TaskId,
    /// The element of a mapped task or group; `None` for a task that is not mapped.
    pub map_index: Option<u32>,
    /// 1 for the first try.
    pub try_number: u32,
    /// With `retries = 2` it is 2: the third try is the last.
    pub max_tries: u32,
    pub attempt: Uuid,
    pub lease_no: i32,
    /// It was deferred and goes on.
    #[serde(default)]
    pub resumed: Option<Resumed>,
}

/// A task's handle of its run. Cheap to clone; works from `Ctx::test()` without any worker.
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
    /// `params` is the run's conf with the defaults of the params' schema filled in.
    pub fn new(run: Arc<RunFacts>, this_try: TryFacts, params: Arc<Value>, host: Arc<dyn Host>) -> Self {
        Ctx { inner: Arc::new(Inner { run, this_try, params, host }) }
    }

    /// For the unit test of a task. To look at its logs and pushes afterwards, make it with `MemoryHost::new().ctx()`.
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

    /// 1 for the first try.
    pub fn try_number(&self) -> u32 {
        self.inner.this_try.try_number
    }

    /// No retry follows when this try fails.
    pub fn is_last_try(&self) -> bool {
        self.inner.this_try.try_number > self.inner.this_try.max_tries
    }

    pub fn attempt(&self) -> Uuid {
        self.inner.this_try.attempt
    }

    /// How the wait ended that this try began with `Err(defer(…))`; `None` in the first call of the body.
    pub fn resumed(&self) -> Option<&Resumed> {
        self.inner.this_try.resumed.as_ref()
    }

    /// The date the run is for. Runs started by hand or by an asset may have none.
    pub fn logical_date(&self) -> Option<DateTime<Utc>> {
        self.inner.run.logical_date
    }

    pub fn data_interval_start(&self) -> Option<DateTime<Utc>> {
        self.inner.run.data_interval_start
    }

    pub fn data_interval_end(&self) -> Option<DateTime<Utc>> {
        self.inner.run.data_interval_end
    }

    /// The time from which the run could start: unlike the logical date, every run has one.
    pub fn run_after(&self) -> DateTime<Utc> {
        self.inner.run.run_after
    }

    pub fn run_type(&self) -> RunType {
        self.inner.run.run_type
    }

    /// What the run was started with, as JSON.
    pub fn conf(&self) -> &Value {
        &self.inner.run.conf
    }

    /// All facts of the run.
    pub fn run(&self) -> &RunFacts {
        &self.inner.run
    }

    /// All facts of this try.
    pub fn this_try(&self) -> &TryFacts {
        &self.inner.this_try
    }

    /// The params as JSON; `d.params::<P>()` gives them to a task as an input with a type.
    pub fn params(&self) -> &Value {
        &self.inner.params
    }

    /// # Errors
    /// A fatal error when the params are not a `P`.
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

    /// A line with fields: `ctx.log(LogLevel::Info, "loaded", json!({ "rows": 7 }))`.
    pub fn log(&self, level: LogLevel, message: &str, fields: Value) {
        let fields = match fields {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            other => Map::from_iter([("value".to_string(), other)]),
        };
        self.inner.host.log(level, message, fields);
    }

    /// How far this try is, in all so far; the UI shows it while the task runs.
    pub fn progress(&self, rows: u64, bytes: u64) {
        self.inner.host.progress(rows, bytes);
    }

    pub fn is_cancelled(&self) -> bool {
        self.inner.host.cancelled()
    }

    /// Ready when somebody wants this try to end: `select!` on it to clean up.
    pub fn cancelled(&self) -> BoxFuture<()> {
        self.inner.host.cancelled_future()
    }

    /// # Errors
    /// A fatal error when there is no such connection.
    pub async fn connection(&self, id: &str) -> TaskResult<Connection> {
        self.inner.host.connection(id).await
    }

    /// # Errors
    /// A fatal error when there is no such variable.
    pub async fn variable(&self, key: &str) -> TaskResult<String> {
        let value = self.inner.host.variable(key).await?;
        value.ok_or_else(|| {
            fatal(format!("there is no variable `{key}`: set it, or ask with `ctx.variable_or(\"{key}\", …)`"))
        })
    }

    pub async fn variable_or(&self, key: &str, default: &str) -> TaskResult<String> {
        Ok(self.inner.host.variable(key).await?.unwrap_or_else(|| default.into()))
    }

    /// Stores a value beside the output, for `pull` and the UI. What a task returns needs no push.
    pub async fn push(&self, key: &str, value: impl Serialize) -> TaskResult<()> {
        let value = serde_json::to_value(value).map_err(|e| fatal(format!("`{key}` is not JSON: {e}")))?;
        self.inner.host.push(key, value).await
    }

    /// A value pushed by a task of this run, `None` when there is none.
    pub async fn pull<T: DeserializeOwned>(&self, task_id: &str, key: &str) -> TaskResult<Option<T>> {
        self.pull_from(task_id, key, None).await
    }

    /// A value pushed by one element of a mapped task.
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

    /// Says that an asset was updated, in force when this try succeeds. `.outlet(asset(…))` needs no call of this.
    pub fn asset_event(&self, uri: &str, extra: impl Serialize) -> TaskResult<()> {
        let extra = serde_json::to_value(extra).map_err(|e| fatal(format!("the extra of `{uri}` is not JSON: {e}")))?;
        self.emit(AssetEvent::of(uri).extra(extra))
    }

    /// The same with more to say: `ctx.emit(AssetEvent::of(uri).through("alias").partition("2026-11-20").rows(7))`. The
    /// last word about the same asset, alias and key counts.
    pub fn emit(&self, event: AssetEvent) -> TaskResult<()> {
        event.problem().map_or(Ok(()), |problem| Err(fatal(problem)))?;
        self.inner.host.asset_event(event)
    }

    /// Records that so many rows went from one asset into another, kept when this try succeeds. Declared inlets and
    /// outlets of which nothing is said are recorded by themselves, without rows.
    pub fn lineage(&self, from: &str, to: &str, rows: impl Into<Option<u64>>) -> TaskResult<()> {
        let edge = LineageEdge { from: from.into(), to: to.into(), rows: rows.into() };
        edge.problem().map_or(Ok(()), |problem| Err(fatal(problem)))?;
        self.inner.host.lineage(edge)
    }

    /// The updates that began the run, oldest first; none of a run that began otherwise.
    pub async fn triggering_events(&self) -> TaskResult<Vec<TriggeringEvent>> {
        self.inner.host.triggering_events().await
    }

    /// The partition the run is for: of a DAG by partition, or as somebody asked.
    pub fn partition_key(&self) -> Option<&str> {
        self.inner.run.partition_key.as_deref()
    }

    /// Whoever runs this try, for what has no method of its own here.
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
    /// For tests: a manual run of DAG `test` at the start of 2025.
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
    /// For tests: the first and only try of task `test`.
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
