//! Records of a task attempt about assets: events, lineage and check results. Workers create these records;
//! `core/src/asset.rs` decides which runs they start.

mod check;
mod events;

pub use check::{CheckOutcome, CheckPolicy, CheckResult, MAX_SAMPLE_CHARS};
pub use events::{AssetEvent, LineageEdge, MAX_EVENTS, MAX_EXTRA_BYTES, edges_of, events_of, valid_name};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An event that started the run of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TriggeringEvent {
    pub uri: String,
    pub name: String,
    pub extra: Value,
    pub timestamp: DateTime<Utc>,
    pub partition_key: Option<String>,
    pub rows: Option<u64>,
    /// The fields of the source are `None` if a user or an external program emitted the event.
    pub source_dag_id: Option<String>,
    pub source_run_id: Option<String>,
    pub source_task_id: Option<String>,
    pub source_map_index: Option<u32>,
}
