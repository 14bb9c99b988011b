//! Converts objects of the API to the rows that commands print. Fields that the API does not have are empty or zero. A
//! missing field that commands need makes the response invalid.

use super::Obstacle;
use chrono::{DateTime, TimeDelta, Utc};
use orch_spec::DagSpec;
use orch_spec::state::{RunState, RunType, TaskState};
use orch_store::dag::DagRow;
use orch_store::instance::InstanceRow;
use orch_store::run::RunDetails;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

type Moment = DateTime<Utc>;

#[derive(Deserialize)]
struct Dag {
    dag_id: String,
    description: Option<String>,
    tags: Vec<Tag>,
    owners: Vec<String>,
    bundle_name: Option<String>,
    fileloc: String,
    is_paused: bool,
    is_stale: bool,
    timetable_description: Option<String>,
    max_active_runs: Option<i32>,
    max_consecutive_failed_dag_runs: i32,
    next_dagrun_run_after: Option<Moment>,
    next_dagrun_logical_date: Option<Moment>,
    next_dagrun_data_interval_start: Option<Moment>,
    next_dagrun_data_interval_end: Option<Moment>,
    last_parsed_time: Moment,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
}

#[derive(Deserialize)]
struct Run {
    dag_id: String,
    dag_run_id: String,
    state: RunState,
    run_type: RunType,
    logical_date: Option<Moment>,
    data_interval_start: Option<Moment>,
    data_interval_end: Option<Moment>,
    run_after: Moment,
    queued_at: Moment,
    start_date: Option<Moment>,
    end_date: Option<Moment>,
    triggered_by: Option<String>,
    triggering_user_name: Option<String>,
    conf: Option<Map<String, Value>>,
    note: Option<String>,
    partition_key: Option<String>,
    dag_versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    version_number: i32,
}

#[derive(Deserialize)]
struct Instance {
    id: Uuid,
    task_id: String,
    map_index: i32,
    state: Option<TaskState>,
    try_number: i16,
    max_tries: i16,
    hostname: Option<String>,
    pid: Option<i32>,
    queued_when: Option<Moment>,
    start_date: Option<Moment>,
    end_date: Option<Moment>,
}

pub(super) fn dag(value: &Value) -> Option<DagRow> {
    let dag = Dag::deserialize(value).ok()?;
    Some(DagRow {
        dag_id: dag.dag_id,
        version: 0,
        version_number: 0,
        description: dag.description.unwrap_or_default(),
        tags: dag.tags.into_iter().map(|tag| tag.name).collect(),
        owners: dag.owners,
        aliases: Vec::new(),
        bundle: dag.bundle_name.unwrap_or_default(),
        file: dag.fileloc,
        is_paused: dag.is_paused,
        is_stale: dag.is_stale,
        schedule_text: dag.timetable_description.unwrap_or_default(),
        max_active_runs: dag.max_active_runs.unwrap_or_default(),
        max_consecutive_failed_runs: dag.max_consecutive_failed_dag_runs,
        next_run_after: dag.next_dagrun_run_after,
        next_logical_date: dag.next_dagrun_logical_date,
        next_interval_start: dag.next_dagrun_data_interval_start,
        next_interval_end: dag.next_dagrun_data_interval_end,
        registered_at: dag.last_parsed_time,
    })
}

#[derive(Deserialize)]
struct Structure {
    spec: DagSpec,
    aliases: Vec<String>,
    version_number: i32,
}

/// Returns the structure of a DAG, its aliases and the number of the version.
pub(super) fn structure(value: &Value) -> Option<(DagSpec, Vec<String>, i32)> {
    let Structure { spec, aliases, version_number } = Structure::deserialize(value).ok()?;
    Some((spec, aliases, version_number))
}

pub(super) fn run(value: &Value) -> Option<RunDetails> {
    let run = Run::deserialize(value).ok()?;
    Some(RunDetails {
        id: Uuid::nil(),
        dag_id: run.dag_id,
        run_id: run.dag_run_id,
        rev: 0,
        version: 0,
        version_number: run.dag_versions.first().map_or(0, |version| version.version_number),
        version_created_at: run.queued_at,
        bundle: String::new(),
        clear_number: 0,
        state: run.state,
        run_type: run.run_type,
        logical_date: run.logical_date,
        interval_start: run.data_interval_start,
        interval_end: run.data_interval_end,
        run_after: run.run_after,
        created_at: run.queued_at,
        started_at: run.start_date,
        ended_at: run.end_date,
        triggered_by: run.triggered_by.unwrap_or_default(),
        triggered_by_user: run.triggering_user_name,
        // The API returns an empty conf for a run without one.
        conf: run.conf.filter(|conf| !conf.is_empty()).map(Value::Object),
        note: run.note,
        partition_key: run.partition_key,
        // No command shows the duration of a run.
        idle: TimeDelta::zero(),
    })
}

pub(super) fn instance(value: &Value) -> Option<InstanceRow> {
    let instance = Instance::deserialize(value).ok()?;
    Some(InstanceRow {
        id: instance.id,
        task: 0,
        task_id: instance.task_id,
        map_index: instance.map_index,
        state: instance.state.unwrap_or(TaskState::None),
        try_no: instance.try_number,
        max_tries: instance.max_tries,
        lease_no: 0,
        lost_no: 0,
        worker: None,
        hostname: instance.hostname,
        pid: instance.pid,
        queued_at: instance.queued_when,
        started_at: instance.start_date,
        ended_at: instance.end_date,
        wake_at: None,
    })
}

#[derive(Deserialize)]
struct ReasonsResponse {
    reasons: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    name: String,
    reason: String,
    #[serde(default)]
    holders: Vec<Holder>,
}

#[derive(Deserialize)]
struct Holder {
    dag_id: String,
    dag_run_id: String,
    task_id: String,
    map_index: i32,
}

pub(super) fn obstacles(value: &Value) -> Option<Vec<Obstacle>> {
    let why = ReasonsResponse::deserialize(value).ok()?;
    let of = |h: &Holder| holder(&h.dag_id, &h.dag_run_id, &h.task_id, h.map_index);
    let obstacle =
        |Reason { name, reason, holders }| Obstacle { name, reason, in_the_way: holders.iter().map(of).collect() };
    Some(why.reasons.into_iter().map(obstacle).collect())
}

/// Returns a short name for a task instance that holds what another one waits for.
fn holder(dag_id: &str, run_id: &str, task_id: &str, map_index: i32) -> String {
    if map_index < 0 {
        format!("{dag_id}/{run_id}/{task_id}")
    } else {
        format!("{dag_id}/{run_id}/{task_id}[{map_index}]")
    }
}
