//! An in-memory host for unit tests of tasks and for running a DAG without a database.

use super::{
    BoxFuture, Connection, Ctx, Host, LogLevel, RunFacts, TaskResult, TriggerRequest, Triggered, TryFacts, fatal,
};
use orch_spec::asset::{AssetEvent, LineageEdge, TriggeringEvent};
use serde::Serialize;
use serde_json::{Map, Value};
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

/// Records what a task does and serves the data of the test. Clones and contexts share their memory.
#[derive(Clone, Default)]
pub struct MemoryHost {
    memory: Arc<Mutex<Memory>>,
    /// The task whose pushes these are; set by `ctx_for`.
    task: Option<(String, Option<u32>)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    pub level: LogLevel,
    pub message: String,
    pub fields: Map<String, Value>,
}

/// Returns a pool, whose type is not available in this crate.
type MakeDatabase = Box<dyn Fn() -> Box<dyn Any + Send> + Send>;

#[derive(Default)]
struct Memory {
    logs: Vec<LogLine>,
    progress: (u64, u64),
    pushed: Vec<(String, Value)>,
    asset_events: Vec<AssetEvent>,
    lineage: Vec<LineageEdge>,
    triggering_events: Vec<TriggeringEvent>,
    triggered: Vec<TriggerRequest>,
    left: Vec<Box<dyn Any + Send>>,
    connections: HashMap<String, Connection>,
    variables: HashMap<String, String>,
    outputs: HashMap<(String, String, Option<u32>), Value>,
    home: Option<String>,
    database: Option<MakeDatabase>,
    cancelled: bool,
    waiting: Vec<Waker>,
}

impl MemoryHost {
    pub fn new() -> Self {
        MemoryHost::default()
    }

    #[must_use]
    pub fn with_connection(self, connection: Connection) -> Self {
        self.memory().connections.insert(connection.id.clone(), connection);
        self
    }

    #[must_use]
    pub fn with_variable(self, key: &str, value: &str) -> Self {
        self.memory().variables.insert(key.into(), value.into());
        self
    }

    /// Adds a value that the task can pull by `task_id` and `key`.
    #[must_use]
    pub fn with_pushed(self, task_id: &str, key: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("what a test gives is JSON");
        self.memory().outputs.insert((task_id.into(), key.into(), None), value);
        self
    }

    /// Sets the identity of the database that would record the end of the task, as returned by `orch_store::identity`.
    #[must_use]
    pub fn with_home(self, identity: &str) -> Self {
        self.memory().home = Some(identity.into());
        self
    }

    /// Sets the pool that the task uses for topics.
    #[must_use]
    pub fn with_database(self, pool: impl Any + Clone + Send) -> Self {
        self.memory().database = Some(Box::new(move || Box::new(pool.clone())));
        self
    }

    /// Adds an update to the events that started the run.
    #[must_use]
    pub fn with_triggering_event(self, event: TriggeringEvent) -> Self {
        self.memory().triggering_events.push(event);
        self
    }

    /// Returns a context with this host and the facts of `RunFacts::test()`.
    pub fn ctx(&self) -> Ctx {
        self.ctx_for(RunFacts::test(), TryFacts::test())
    }

    /// Returns a context with custom facts, such as `RunFacts { logical_date: …, ..RunFacts::test() }`. Its params are
    /// the conf.
    pub fn ctx_for(&self, run: RunFacts, this_try: TryFacts) -> Ctx {
        let params = run.conf.clone();
        let task = Some((this_try.task_id.to_string(), this_try.map_index));
        let host = MemoryHost { memory: self.memory.clone(), task };
        Ctx::new(Arc::new(run), this_try, params, Arc::new(host))
    }

    pub fn logs(&self) -> Vec<LogLine> {
        self.memory().logs.clone()
    }

    /// Returns the last reported rows and bytes.
    pub fn last_progress(&self) -> (u64, u64) {
        self.memory().progress
    }

    /// Returns keys and values in the order of the pushes.
    pub fn pushed(&self) -> Vec<(String, Value)> {
        self.memory().pushed.clone()
    }

    pub fn asset_events(&self) -> Vec<AssetEvent> {
        self.memory().asset_events.clone()
    }

    pub fn lineage_edges(&self) -> Vec<LineageEdge> {
        self.memory().lineage.clone()
    }

    /// Returns the runs of other DAGs that tasks requested.
    pub fn triggered(&self) -> Vec<TriggerRequest> {
        self.memory().triggered.clone()
    }

    /// Takes the steps that tasks left for the end of their attempt, in order. `orch_store::completion::left` extracts
    /// the completion steps.
    pub fn take_left(&self) -> Vec<Box<dyn Any + Send>> {
        std::mem::take(&mut self.memory().left)
    }

    /// Requests that the task ends.
    pub fn cancel(&self) {
        let waiting = {
            let mut memory = self.memory();
            memory.cancelled = true;
            std::mem::take(&mut memory.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // The data of a test that panicked while it held the lock is still worth reading.
        self.memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Host for MemoryHost {
    fn log(&self, level: LogLevel, message: &str, fields: Map<String, Value>) {
        self.memory().logs.push(LogLine { level, message: message.into(), fields });
    }

    fn progress(&self, rows: u64, bytes: u64) {
        self.memory().progress = (rows, bytes);
    }

    fn cancelled(&self) -> bool {
        self.memory().cancelled
    }

    fn cancelled_future(&self) -> BoxFuture<()> {
        let host = self.clone();
        Box::pin(std::future::poll_fn(move |task| {
            let mut memory = host.memory();
            if memory.cancelled {
                return Poll::Ready(());
            }
            memory.waiting.push(task.waker().clone());
            Poll::Pending
        }))
    }

    fn connection(&self, id: &str) -> BoxFuture<TaskResult<Connection>> {
        let found = self.memory().connections.get(id).cloned();
        let found = found.ok_or_else(|| fatal(format!("there is no connection `{id}`")));
        Box::pin(std::future::ready(found))
    }

    fn variable(&self, key: &str) -> BoxFuture<TaskResult<Option<String>>> {
        let found = self.memory().variables.get(key).cloned();
        Box::pin(std::future::ready(Ok(found)))
    }

    fn push(&self, key: &str, value: Value) -> BoxFuture<TaskResult<()>> {
        let mut memory = self.memory();
        if let Some((task_id, map_index)) = &self.task {
            memory.outputs.insert((task_id.clone(), key.into(), *map_index), value.clone());
        }
        memory.pushed.push((key.into(), value));
        Box::pin(std::future::ready(Ok(())))
    }

    fn pull(&self, task_id: &str, key: &str, map_index: Option<u32>) -> BoxFuture<TaskResult<Option<Value>>> {
        let found = self.memory().outputs.get(&(task_id.into(), key.into(), map_index)).cloned();
        Box::pin(std::future::ready(Ok(found)))
    }

    fn trigger(&self, wish: TriggerRequest) -> BoxFuture<TaskResult<Triggered>> {
        let mut memory = self.memory();
        let run_id = wish.run_id.clone().unwrap_or_else(|| format!("manual__{}", memory.triggered.len() + 1));
        let run = Triggered { dag_id: wish.dag_id.clone(), run_id, logical_date: wish.logical_date };
        memory.triggered.push(wish);
        Box::pin(std::future::ready(Ok(run)))
    }

    fn asset_event(&self, event: AssetEvent) -> TaskResult<()> {
        self.memory().asset_events.push(event);
        Ok(())
    }

    fn lineage(&self, edge: LineageEdge) -> TaskResult<()> {
        self.memory().lineage.push(edge);
        Ok(())
    }

    fn leave(&self, step: Box<dyn Any + Send>) -> TaskResult<()> {
        self.memory().left.push(step);
        Ok(())
    }

    fn home(&self) -> BoxFuture<TaskResult<Option<String>>> {
        let home = self.memory().home.clone();
        Box::pin(std::future::ready(Ok(home)))
    }

    fn database(&self) -> TaskResult<Box<dyn Any + Send>> {
        let memory = self.memory();
        let make =
            memory.database.as_ref().ok_or_else(|| fatal("the test gives no database: `.with_database(pool)`"))?;
        Ok(make())
    }

    fn triggering_events(&self) -> BoxFuture<TaskResult<Vec<TriggeringEvent>>> {
        let events = self.memory().triggering_events.clone();
        Box::pin(std::future::ready(Ok(events)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn ready<T>(future: impl Future<Output = T>) -> T {
        match poll(future) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("memory answers at once"),
        }
    }

    #[test]
    fn what_a_task_does_in_a_test_can_be_looked_at() {
        let host = MemoryHost::new().with_variable("limit", "7").with_pushed("extract", "rows", 3);
        let ctx = host.ctx();
        ctx.log(LogLevel::Info, "loaded", json!({ "rows": 7 }));
        ctx.warning("slow");
        ctx.progress(7, 100);
        ready(ctx.push("checksum", 12)).expect("memory keeps it");
        ctx.asset_event("lake://x", json!({ "rows": 7 })).expect("memory keeps it");
        assert_eq!(ready(ctx.variable("limit")).expect("it was given"), "7");
        assert_eq!(ready(ctx.pull::<u32>("extract", "rows")).expect("a number"), Some(3));
        assert_eq!(ready(ctx.pull::<u32>("test", "checksum")).expect("its own push"), Some(12));
        assert_eq!(ready(ctx.pull::<u32>("extract", "bytes")).expect("nothing is no error"), None);

        assert_eq!(host.logs()[0].fields["rows"], 7);
        assert_eq!(host.logs()[1].level, LogLevel::Warning);
        assert_eq!(host.last_progress(), (7, 100));
        assert_eq!(host.pushed(), [("checksum".to_string(), json!(12))]);
        assert_eq!(host.asset_events()[0].uri, "lake://x");
    }

    #[test]
    fn what_is_missing_is_named() {
        let ctx = Ctx::test();
        assert_eq!(ready(ctx.connection("db")).expect_err("none").to_string(), "there is no connection `db`");
        let error = ready(ctx.variable("limit")).expect_err("none").to_string();
        assert!(error.starts_with("there is no variable `limit`"), "{error}");
        assert_eq!(ready(ctx.variable_or("limit", "9")).expect("a default"), "9");
    }

    #[test]
    fn a_cancel_wakes_who_waits_for_it() {
        let host = MemoryHost::new();
        let ctx = host.ctx();
        let mut waits = ctx.cancelled();
        assert!(poll(&mut waits).is_pending() && !ctx.is_cancelled());
        host.cancel();
        assert!(poll(&mut waits).is_ready() && ctx.is_cancelled());
        assert!(poll(ctx.cancelled()).is_ready());
    }
}
