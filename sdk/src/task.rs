//! What a running task and its worker agree on: the function without its types, the facts it is told, how it can end
//! other than well, and what it may ask of whoever runs it. No runtime: a body is a future, the worker polls it.

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

/// A future that owns what it needs and may move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a task returns. Any error (`?`, `bail!`, `.context(…)`) fails the try; `skip` and `fatal` say more.
pub type TaskResult<T> = anyhow::Result<T>;

/// The body of a task without its types: inputs as JSON in the order of the parameters, the output as JSON.
pub type Run = dyn Fn(Ctx, Vec<Value>) -> BoxFuture<Result<Option<Value>, TaskError>> + Send + Sync;

/// What a worker calls for one attempt.
#[derive(Clone)]
pub struct TaskFn {
    /// `Ok(None)` is a sensor saying "not yet".
    pub run: Arc<Run>,
    /// Refuses a JSON value that is not the output type of the task.
    pub check_output: fn(&Value) -> Result<(), String>,
}

impl TaskFn {
    /// A body whose output may be any JSON.
    pub fn untyped<F>(run: F) -> Self
    where
        F: Fn(Ctx, Vec<Value>) -> BoxFuture<Result<Option<Value>, TaskError>> + Send + Sync + 'static,
    {
        TaskFn { run: Arc::new(run), check_output: |_| Ok(()) }
    }

    /// One attempt, its inputs already resolved.
    pub fn call(&self, ctx: Ctx, inputs: Vec<Value>) -> BoxFuture<Result<Option<Value>, TaskError>> {
        (self.run)(ctx, inputs)
    }
}

impl fmt::Debug for TaskFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskFn")
    }
}
