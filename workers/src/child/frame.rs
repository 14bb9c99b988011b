//! Protocol between a worker and its child process: one JSON object per line.

use orch_sdk::task::{LogLevel, RunFacts, TaskError, TriggerRequest, TryFacts};
use orch_spec::TaskSpec;
use orch_spec::asset::{AssetEvent, LineageEdge};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// First character of a frame on the child's stdout. The attempt's nonce follows it.
pub(crate) const MARK: char = '\u{1e}';

/// First line that the worker writes to the child's stdin.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) nonce: String,
    pub(crate) run: RunFacts,
    pub(crate) this_try: TryFacts,
    pub(crate) params: Value,
    pub(crate) inputs: Vec<Value>,
    /// The declaration of a task from a DAG file. The binary contains no function for such a task.
    #[serde(default)]
    pub(crate) of_file: Option<TaskSpec>,
}

/// Later lines that the worker writes to the child's stdin.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToChild {
    Cancel,
    Answer(HostReply),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HostReply {
    pub(crate) call: u64,
    pub(crate) value: Value,
    pub(crate) error: Option<TaskError>,
}

/// Frames from the child to the worker. The worker replies to frames that have a `call`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Frame {
    Log { level: LogLevel, message: String, fields: Map<String, Value> },
    Progress { rows: u64, bytes: u64 },
    Push { call: u64, key: String, value: Value },
    Pull { call: u64, task_id: String, key: String, map_index: Option<u32> },
    Connection { call: u64, id: String },
    Variable { call: u64, key: String },
    AssetEvent(AssetEvent),
    Lineage(LineageEdge),
    TriggeringEvents { call: u64 },
    Home { call: u64 },
    Trigger { call: u64, wish: TriggerRequest },
    End(End),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    Gave(Value),
    NotYet,
    Error(TaskError),
    Panicked(String),
}
