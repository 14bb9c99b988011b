//! The interface between a running task and its worker: the untyped task function, the facts about its run, how it can
//! fail, and the requests that it can make to its host. Contains no async runtime: a task function is a future that the
//! worker polls.

mod bundle;
mod condition;
mod connection;
mod context;
mod default_connections;
mod deferral;
mod error;
mod host;
mod memory;

pub use bundle::{Bundle, BundleDag};
pub use condition::{Condition, ConditionResult, Conditions, Eyes, RunSeen};
pub use connection::{BadConnection, Changed, Connection};
pub use context::{Ctx, RunFacts, TryFacts};
pub use default_connections::{DefaultConnections, Installation};
pub use deferral::{Awaited, Deferral, OnTimeout, Resumed, WaitEnd, defer};
pub use error::{TaskError, fatal, skip};
pub use host::{Host, LogLevel, TriggerRequest, Triggered};
pub use memory::{LogLine, MemoryHost};
pub use orch_spec::asset::{AssetEvent, LineageEdge, TriggeringEvent};

use serde_json::Value;
use std::{fmt, future::Future, pin::Pin, sync::Arc};

/// An owned future that can move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The return type of a task. Any error (`?`, `bail!`, `.context(…)`) fails the attempt; `skip` and `fatal` return more
/// specific errors.
pub type TaskResult<T> = anyhow::Result<T>;

/// An untyped task function: takes the inputs as JSON in the order of the parameters and returns the output as JSON.
pub type Run = dyn Fn(Ctx, Vec<Value>) -> BoxFuture<Result<Option<Value>, TaskError>> + Send + Sync;

/// The function that a worker calls for one attempt.
#[derive(Clone)]
pub struct TaskFn {
    /// `Ok(None)` means "not yet" and is only returned by sensors.
    pub run: Arc<Run>,
    /// Rejects a JSON value that does not fit the output type of the task.
    pub check_output: fn(&Value) -> Result<(), String>,
}

impl TaskFn {
    /// Creates a task function whose output may be any JSON.
    pub fn untyped<F>(run: F) -> Self
    where
        F: Fn(Ctx, Vec<Value>) -> BoxFuture<Result<Option<Value>, TaskError>> + Send + Sync + 'static,
    {
        TaskFn { run: Arc::new(run), check_output: |_| Ok(()) }
    }

    /// Starts one attempt with resolved inputs.
    pub fn call(&self, ctx: Ctx, inputs: Vec<Value>) -> BoxFuture<Result<Option<Value>, TaskError>> {
        (self.run)(ctx, inputs)
    }
}

impl fmt::Debug for TaskFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskFn")
    }
}
