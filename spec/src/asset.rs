//! What follows from updates of assets: which runs begin, which events a task leaves, what is stale, what came from what.
//!
//! Pure. Workers ask what a try leaves behind, schedulers what its events start; the store carries both out.

mod check;
mod events;
mod freshness;
mod trigger;

pub use check::{CheckOutcome, CheckPolicy, CheckResult, MAX_SAMPLE_CHARS};
pub use events::{AssetEvent, LineageEdge, MAX_EVENTS, MAX_EXTRA_BYTES, edges_of, events_of, valid_name};
pub use freshness::{Freshness, freshness};
pub use trigger::{Queued, Trigger, Waiting, triggers, waiting_for};

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
