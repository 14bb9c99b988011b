//! JSON shapes of backfills, as in Airflow.

use chrono::{DateTime, Utc};
use orch_store::backfill::BackfillRow;
use orch_wire::timestamp::{Timestamp, stamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// Airflow's `BackfillResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BackfillView {
    id: i32,
    dag_id: String,
    from_date: Timestamp,
    to_date: Timestamp,
    dag_run_conf: Option<Value>,
    is_paused: bool,
    reprocess_behavior: &'static str,
    max_active_runs: i32,
    created_at: Timestamp,
    completed_at: Option<Timestamp>,
    updated_at: Timestamp,
    dag_display_name: String,
}

impl From<BackfillRow> for BackfillView {
    fn from(row: BackfillRow) -> Self {
        BackfillView {
            id: row.id,
            dag_display_name: row.dag_id.clone(),
            dag_id: row.dag_id,
            from_date: Timestamp(row.from_date),
            to_date: Timestamp(row.to_date),
            dag_run_conf: Some(row.conf.unwrap_or_else(|| Value::Object(Map::new()))),
            is_paused: row.is_paused,
            reprocess_behavior: row.reprocess.as_str(),
            max_active_runs: row.max_active_runs,
            created_at: Timestamp(row.created_at),
            completed_at: stamp(row.completed_at),
            updated_at: Timestamp(row.updated_at),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BackfillPage {
    pub(super) backfills: Vec<BackfillView>,
    pub(super) total_entries: i64,
}

/// A run that a backfill would make or begin anew.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DryRunView {
    logical_date: Option<Timestamp>,
    partition_key: Option<String>,
    partition_date: Option<Timestamp>,
}

impl DryRunView {
    pub(super) fn new(logical_date: DateTime<Utc>) -> DryRunView {
        DryRunView { logical_date: Some(Timestamp(logical_date)), partition_key: None, partition_date: None }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DryRunPage {
    pub(super) backfills: Vec<DryRunView>,
    pub(super) total_entries: usize,
}
