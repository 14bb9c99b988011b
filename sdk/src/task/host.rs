//! The host of a task function: a worker, a child process that is connected to one, or memory in a test.
//!
//! Methods that some hosts cannot serve have a default that returns an error, so that new methods do not break existing
//! hosts.

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

/// A request of a task to start a run of a DAG.
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

/// The run that was started, by this call or by an earlier call of the same attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triggered {
    pub dag_id: String,
    pub run_id: String,
    pub logical_date: Option<DateTime<Utc>>,
}

/// The host behind a `Ctx`. Futures own their data: they may outlive the borrow of the host, but not the attempt.
pub trait Host: Send + Sync {
    /// Writes one line to the log of the attempt. Never blocks and never fails; dropped lines are counted.
    fn log(&self, level: LogLevel, message: &str, fields: Map<String, Value>);

    /// Reports the totals of the attempt so far. They are displayed, but not kept permanently.
    fn progress(&self, rows: u64, bytes: u64);

    /// Returns whether the attempt should end, because of a user, a timeout or a worker that shuts down.
    fn cancelled(&self) -> bool;

    /// Returns a future that completes once `cancelled` returns true, or immediately if it already does.
    fn cancelled_future(&self) -> BoxFuture<()>;

    /// Returns a connection by its id, or a fatal error if it does not exist.
    fn connection(&self, id: &str) -> BoxFuture<TaskResult<Connection>> {
        not_here(format!("connection `{id}`"))
    }

    fn variable(&self, key: &str) -> BoxFuture<TaskResult<Option<String>>> {
        not_here(format!("variable `{key}`"))
    }

    /// Stores a value in addition to the output, under its own key.
    fn push(&self, key: &str, _value: Value) -> BoxFuture<TaskResult<()>> {
        not_here(format!("pushing `{key}`"))
    }

    /// Returns a value that a task of this run pushed. The key `return_value` is the output of the task.
    fn pull(&self, task_id: &str, key: &str, _map_index: Option<u32>) -> BoxFuture<TaskResult<Option<Value>>> {
        not_here(format!("pulling `{key}` of task `{task_id}`"))
    }

    /// Starts a run of a DAG. Idempotent: the same request of the same attempt returns the same run.
    fn trigger(&self, wish: TriggerRequest) -> BoxFuture<TaskResult<Triggered>> {
        not_here(format!("a run of dag `{}`", wish.dag_id))
    }

    /// Records an asset update, which takes effect when the attempt succeeds.
    fn asset_event(&self, event: AssetEvent) -> TaskResult<()> {
        Err(fatal(format!("an event of asset `{}` is not possible where this task runs", event.uri)))
    }

    /// Records a lineage edge, which is stored when the attempt succeeds.
    fn lineage(&self, edge: LineageEdge) -> TaskResult<()> {
        Err(fatal(format!("lineage from `{}` is not possible where this task runs", edge.from)))
    }

    /// Adds a step that runs in the transaction that records the end of the attempt: a `CompletionStep` of the store,
    /// whose type is not available in this crate. Tasks add their steps with `ctx.commit(…)`.
    fn leave(&self, _step: Box<dyn Any + Send>) -> TaskResult<()> {
        Err(fatal("`ctx.commit` is not possible where this task runs"))
    }

    /// Returns the identity of the database that records how attempts end, as returned by `orch_store::identity`.
    /// `None` if nothing is recorded, as in a test, or if the result is discarded.
    fn home(&self) -> BoxFuture<TaskResult<Option<String>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Returns a `PgPool` of that database, whose type is not available in this crate. For data that orch stores for
    /// tasks, such as topics.
    fn database(&self) -> TaskResult<Box<dyn Any + Send>> {
        Err(fatal("the database of orch cannot be reached where this task runs"))
    }

    /// Returns the asset updates that started the run.
    fn triggering_events(&self) -> BoxFuture<TaskResult<Vec<TriggeringEvent>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

fn not_here<T: Send + 'static>(what: String) -> BoxFuture<TaskResult<T>> {
    Box::pin(async move { Err(fatal(format!("{what} is not possible where this task runs"))) })
}
