//! A host for one body at a terminal: what it says is printed, what it pushes is kept, what needs a server is refused.

use orch_core::task::{BoxFuture, Connection, Host, LogLevel, MemoryHost, TaskResult};
use serde_json::{Map, Value};

#[derive(Clone, Default)]
pub(crate) struct ConsoleHost {
    memory: MemoryHost,
}

impl Host for ConsoleHost {
    fn log(&self, level: LogLevel, message: &str, fields: Map<String, Value>) {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        eprintln!("{:<7} {message} {}", level.as_str().to_uppercase(), fields.join(" "));
    }

    fn progress(&self, rows: u64, bytes: u64) {
        eprintln!("PROGRESS {rows} rows, {bytes} bytes");
    }

    fn cancelled(&self) -> bool {
        false
    }

    fn cancelled_future(&self) -> BoxFuture<()> {
        Box::pin(std::future::pending())
    }

    fn connection(&self, id: &str) -> BoxFuture<TaskResult<Connection>> {
        self.memory.connection(id)
    }

    fn variable(&self, key: &str) -> BoxFuture<TaskResult<Option<String>>> {
        self.memory.variable(key)
    }

    fn push(&self, key: &str, value: Value) -> BoxFuture<TaskResult<()>> {
        eprintln!("PUSH    {key}={value}");
        self.memory.push(key, value)
    }

    fn pull(&self, task_id: &str, key: &str, map_index: Option<u32>) -> BoxFuture<TaskResult<Option<Value>>> {
        self.memory.pull(task_id, key, map_index)
    }

    fn asset_event(&self, uri: &str, extra: Value) -> TaskResult<()> {
        eprintln!("ASSET   {uri} {extra}");
        Ok(())
    }
}
