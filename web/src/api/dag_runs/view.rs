//! JSON shapes of runs, as in Airflow.

use crate::api::versions::DagVersionView;
use chrono::TimeDelta;
use orch_spec::state::{RunState, RunType};
use orch_store::run::RunDetails;
use orch_wire::timestamp::{Timestamp, stamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DagRunView {
    dag_run_id: String,
    dag_id: String,
    logical_date: Option<Timestamp>,
    queued_at: Option<Timestamp>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    duration: Option<f64>,
    data_interval_start: Option<Timestamp>,
    data_interval_end: Option<Timestamp>,
    run_after: Timestamp,
    last_scheduling_decision: Option<Timestamp>,
    #[schemars(with = "String")]
    run_type: RunType,
    #[schemars(with = "String")]
    state: RunState,
    triggered_by: Option<String>,
    triggering_user_name: Option<String>,
    conf: Option<Value>,
    note: Option<String>,
    dag_versions: [DagVersionView; 1],
    bundle_version: Option<String>,
    dag_display_name: String,
    partition_key: Option<String>,
    partition_date: Option<Timestamp>,
}

impl From<RunDetails> for DagRunView {
    fn from(run: RunDetails) -> Self {
        let version =
            DagVersionView::new(run.version, run.version_number, &run.dag_id, &run.bundle, run.version_created_at);
        // As in Airflow, only a finished run has a duration.
        let active = run.ended_at.and_then(|ended| run.active_time(ended));
        DagRunView {
            dag_run_id: run.run_id,
            logical_date: stamp(run.logical_date),
            queued_at: Some(Timestamp(run.created_at)),
            start_date: stamp(run.started_at),
            end_date: stamp(run.ended_at),
            duration: active.map(TimeDelta::as_seconds_f64),
            data_interval_start: stamp(run.interval_start),
            data_interval_end: stamp(run.interval_end),
            run_after: Timestamp(run.run_after),
            // Runs have no periodic scheduling pass. The next tasks are chosen as soon as a task finishes.
            last_scheduling_decision: None,
            run_type: run.run_type,
            state: run.state,
            triggered_by: Some(run.triggered_by),
            triggering_user_name: run.triggered_by_user,
            conf: Some(run.conf.unwrap_or_else(|| Value::Object(serde_json::Map::new()))),
            note: run.note,
            dag_versions: [version],
            bundle_version: None,
            dag_display_name: run.dag_id.clone(),
            dag_id: run.dag_id,
            partition_key: run.partition_key,
            partition_date: None,
        }
    }
}
