//! What a task leaves of assets: events, ways that data took, results of checks. Workers ask what a try leaves behind; which runs begin
//! by it is decided in `core/src/asset.rs`.

mod check;
mod events;

pub use check::{CheckOutcome, CheckPolicy, CheckResult, MAX_SAMPLE_CHARS};
pub use events::{AssetEvent, LineageEdge, MAX_EVENTS, MAX_EXTRA_BYTES, edges_of, events_of, valid_name};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An update that began the run a task belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TriggeringEvent {
    pub uri: String,
    pub name: String,
    pub extra: Value,
    pub timestamp: DateTime<Utc>,
    pub partition_key: Option<String>,
    pub rows: Option<u64>,
    /// Nothing of the source where a person or a program outside said it.
    pub source_dag_id: Option<String>,
    pub source_run_id: Option<String>,
    pub source_task_id: Option<String>,
    pub source_map_index: Option<u32>,
}
