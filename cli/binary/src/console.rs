//! Runs a single task function at a terminal: prints its log lines and keeps its outputs in memory. Connections and
//! variables are those of the machine; their secrets are masked in what is printed.

use crate::output::counted;
use orch_sdk::task::{AssetEvent, BoxFuture, Connection, Host, LineageEdge, LogLevel, MemoryHost, TaskResult};
use orch_store::completion::as_step;
use orch_workers::{Secrets, mask};
use serde_json::{Map, Value};
use std::any::Any;

#[derive(Clone)]
pub(crate) struct ConsoleHost {
    memory: MemoryHost,
    secrets: Secrets,
}

impl ConsoleHost {
    pub(crate) fn new(secrets: Secrets) -> Self {
        ConsoleHost { memory: MemoryHost::new(), secrets }
    }
}

fn say(line: &str) {
    eprintln!("{}", mask::mask(line));
}

impl Host for ConsoleHost {
    fn log(&self, level: LogLevel, message: &str, fields: Map<String, Value>) {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        say(&format!("{:<7} {message} {}", level.as_str().to_uppercase(), fields.join(" ")));
    }

    fn progress(&self, rows: u64, bytes: u64) {
        eprintln!("PROGRESS {}, {}", counted(rows, "row"), counted(bytes, "byte"));
    }

    fn cancelled(&self) -> bool {
        false
    }

    fn cancelled_future(&self) -> BoxFuture<()> {
        Box::pin(std::future::pending())
    }

    fn connection(&self, id: &str) -> BoxFuture<TaskResult<Connection>> {
        let (secrets, id) = (self.secrets.clone(), id.to_string());
        Box::pin(async move { secrets.connection(&id).await })
    }

    fn variable(&self, key: &str) -> BoxFuture<TaskResult<Option<String>>> {
        let (secrets, key) = (self.secrets.clone(), key.to_string());
        Box::pin(async move { secrets.variable(&key).await })
    }

    fn push(&self, key: &str, value: Value) -> BoxFuture<TaskResult<()>> {
        say(&format!("PUSH    {key}={value}"));
        self.memory.push(key, value)
    }

    fn pull(&self, task_id: &str, key: &str, map_index: Option<u32>) -> BoxFuture<TaskResult<Option<Value>>> {
        self.memory.pull(task_id, key, map_index)
    }

    fn asset_event(&self, event: AssetEvent) -> TaskResult<()> {
        say(&format!("ASSET   {} {}", event.uri, event.extra));
        self.memory.asset_event(event)
    }

    fn leave(&self, step: Box<dyn Any + Send>) -> TaskResult<()> {
        say(&format!("COMMIT  {} (not carried out here)", as_step(step)?.name()));
        Ok(())
    }

    fn lineage(&self, edge: LineageEdge) -> TaskResult<()> {
        let rows = edge.rows.map_or_else(String::new, |rows| format!(" {}", counted(rows, "row")));
        say(&format!("LINEAGE {} -> {}{rows}", edge.from, edge.to));
        self.memory.lineage(edge)
    }
}
