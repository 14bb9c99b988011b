//! What whoever runs a body gives to it: a worker, a child process speaking to one, or memory in a test.
//!
//! Every method that not every host can serve has a default that says so, so that the trait grows without breaking one.

use super::{BoxFuture, Connection, TaskResult, fatal};
use chrono::{DateTime, Utc};
use orch_spec::asset::{AssetEvent, LineageEdge, TriggeringEvent};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::any::Any;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
}

impl LogLevel {
    pub const fn as_str(self) -> &'static str {
        match self {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warning => "warning",
            LogLevel::Error => "error",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A run of a DAG that a task wants.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TriggerRequest {
    pub dag_id: String,
    #[serde(default)]
    pub run_id: Option<String>,
    #[serde(default)]
    pub logical_date: Option<DateTime<Utc>>,
    #[serde(default)]
    pub conf: Option<Value>,
    pub note: Option<String>,
}

/// The run that was started, now or by an earlier call of the same try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triggered {
    pub dag_id: String,
    pub run_id: String,
    pub logical_date: Option<DateTime<Utc>>,
}

/// Behind every `Ctx`. Futures own what they need: they may outlive the borrow of the host, not the attempt.
pub trait Host: Send + Sync {
    /// One line of the attempt's log. Never blocks and never fails: what cannot be kept is counted.
    fn log(&self, level: LogLevel, message: &str, fields: Map<String, Value>);

    /// How far the attempt is, in all so far. Shown, not stored for good.
    fn progress(&self, rows: u64, bytes: u64);

    /// Somebody wants this attempt to end: a person, a timeout, a worker that shuts down.
    fn cancelled(&self) -> bool;

    /// Ready when `cancelled` turns true; never before, and at once after.
    fn cancelled_future(&self) -> BoxFuture<()>;

    /// A connection by its id; one that does not exist is a fatal error.
    fn connection(&self, id: &str) -> BoxFuture<TaskResult<Connection>> {
        not_here(format!("connection `{id}`"))
    }

    fn variable(&self, key: &str) -> BoxFuture<TaskResult<Option<String>>> {
        not_here(format!("variable `{key}`"))
    }

    /// Stores a value beside the output, under a key of its own.
    fn push(&self, key: &str, _value: Value) -> BoxFuture<TaskResult<()>> {
        not_here(format!("pushing `{key}`"))
    }

    /// A value that a task of this run pushed; `return_value` is its output.
    fn pull(&self, task_id: &str, key: &str, _map_index: Option<u32>) -> BoxFuture<TaskResult<Option<Value>>> {
        not_here(format!("pulling `{key}` of task `{task_id}`"))
    }

    /// Starts a run of a DAG. The same wish of the same try is the same run, however often it is said.
    fn trigger(&self, wish: TriggerRequest) -> BoxFuture<TaskResult<Triggered>> {
        not_here(format!("a run of dag `{}`", wish.dag_id))
    }

    /// An update of an asset, in force when the attempt succeeds.
    fn asset_event(&self, event: AssetEvent) -> TaskResult<()> {
        Err(fatal(format!("an event of asset `{}` is not possible where this task runs", event.uri)))
    }

    /// A way that data took, kept when the attempt succeeds.
    fn lineage(&self, edge: LineageEdge) -> TaskResult<()> {
        Err(fatal(format!("lineage from `{}` is not possible where this task runs", edge.from)))
    }

    /// Something that whoever records the end of the attempt carries out with it: a `CompletionStep` of the store, which
    /// this trait does not know. Tasks leave theirs with `ctx.commit(…)`.
    fn leave(&self, _step: Box<dyn Any + Send>) -> TaskResult<()> {
        Err(fatal("`ctx.commit` is not possible where this task runs"))
    }

    /// Which database records how attempts end, as `orch_store::identity` names it now. `None`: none does, as in a test, or it
    /// is thrown away.
    fn home(&self) -> BoxFuture<TaskResult<Option<String>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// That database: a `PgPool`, which this trait does not know. For what orch keeps there for tasks, such as topics.
    fn database(&self) -> TaskResult<Box<dyn Any + Send>> {
        Err(fatal("the database of orch cannot be reached where this task runs"))
    }

    /// The updates that began the run.
    fn triggering_events(&self) -> BoxFuture<TaskResult<Vec<TriggeringEvent>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

fn not_here<T: Send + 'static>(what: String) -> BoxFuture<TaskResult<T>> {
    Box::pin(async move { Err(fatal(format!("{what} is not possible where this task runs"))) })
}
