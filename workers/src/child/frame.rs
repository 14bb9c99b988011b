//! What a worker and its child say to each other: JSON, a line each.

use orch_sdk::task::{LogLevel, RunFacts, TaskError, TriggerRequest, TryFacts};
use orch_spec::TaskSpec;
use orch_spec::asset::{AssetEvent, LineageEdge};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Begins a frame on the child's stdout, before the attempt's nonce.
pub(crate) const MARK: char = '\u{1e}';

/// The first line a child reads.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) nonce: String,
    pub(crate) run: RunFacts,
    pub(crate) this_try: TryFacts,
    pub(crate) params: Value,
    pub(crate) inputs: Vec<Value>,
    /// The task, if it is of a DAG file: the binary has no function for it.
    #[serde(default)]
    pub(crate) of_file: Option<TaskSpec>,
}

/// What a child reads after that.
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

/// What a child says. Those with a `call` are answered.
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
