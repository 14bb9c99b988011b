//! JSON shapes of DAGs, as in Airflow.

use crate::api::ids::file_token;
use orch_spec::state::RunType;
use orch_spec::{DagSpec, Schedule};
use orch_store::dag::DagRow;
use orch_wire::timestamp::{Timestamp, stamp};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the fields are Airflow's")]
pub(crate) struct DagView {
    dag_id: String,
    dag_display_name: String,
    is_paused: bool,
    is_stale: bool,
    last_parsed_time: Option<Timestamp>,
    last_parse_duration: Option<f64>,
    last_expired: Option<Timestamp>,
    bundle_name: Option<String>,
    bundle_version: Option<String>,
    relative_fileloc: Option<String>,
    fileloc: String,
    description: Option<String>,
    timetable_summary: Option<String>,
    timetable_description: Option<String>,
    timetable_partitioned: bool,
    timetable_periodic: bool,
    tags: Vec<Tag>,
    max_active_tasks: u32,
    max_active_runs: Option<i32>,
    max_consecutive_failed_dag_runs: i32,
    has_task_concurrency_limits: bool,
    has_import_errors: bool,
    next_dagrun_logical_date: Option<Timestamp>,
    next_dagrun_data_interval_start: Option<Timestamp>,
    next_dagrun_data_interval_end: Option<Timestamp>,
    next_dagrun_run_after: Option<Timestamp>,
    #[schemars(with = "Option<Vec<String>>")]
    allowed_run_types: Option<Vec<RunType>>,
    owners: Vec<String>,
    is_backfillable: bool,
    file_token: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Tag {
    name: String,
    dag_id: String,
    dag_display_name: String,
}

/// Value for "no limit". Airflow's clients require a number and may compare with it.
const NO_LIMIT: u32 = i32::MAX as u32;

impl DagView {
    pub(super) fn max_active_tasks(&self) -> u32 {
        self.max_active_tasks
    }

    pub(super) fn new(dag: DagRow, spec: &DagSpec) -> DagView {
        let tag = |name| Tag { name, dag_id: dag.dag_id.clone(), dag_display_name: dag.dag_id.clone() };
        let periodic = matches!(spec.schedule.time(), Schedule::Cron { .. } | Schedule::EveryMs(_));
        DagView {
            dag_display_name: dag.dag_id.clone(),
            is_paused: dag.is_paused,
            is_stale: dag.is_stale,
            last_parsed_time: Some(Timestamp(dag.registered_at)),
            last_parse_duration: None,
            last_expired: None,
            file_token: file_token(&dag.bundle, &dag.file),
            bundle_name: Some(dag.bundle),
            bundle_version: None,
            relative_fileloc: Some(dag.file.clone()),
            fileloc: dag.file,
            description: Some(dag.description).filter(|words| !words.is_empty()),
            timetable_summary: summary(&spec.schedule, &dag.schedule_text),
            timetable_description: Some(dag.schedule_text).filter(|words| !words.is_empty()),
            timetable_partitioned: spec.schedule.by_partition(),
            timetable_periodic: periodic,
            tags: dag.tags.into_iter().map(tag).collect(),
            max_active_tasks: spec.max_active_tasks.unwrap_or(NO_LIMIT).min(NO_LIMIT),
            max_active_runs: Some(dag.max_active_runs),
            max_consecutive_failed_dag_runs: dag.max_consecutive_failed_runs,
            has_task_concurrency_limits: spec.tasks.iter().any(|task| task.options.max_active.is_some()),
            has_import_errors: false,
            next_dagrun_logical_date: stamp(dag.next_logical_date),
            next_dagrun_data_interval_start: stamp(dag.next_interval_start),
            next_dagrun_data_interval_end: stamp(dag.next_interval_end),
            next_dagrun_run_after: stamp(dag.next_run_after),
            allowed_run_types: None,
            owners: dag.owners,
            is_backfillable: periodic,
            dag_id: dag.dag_id,
        }
    }

    /// Sets whether the DAG's file has import errors. The DAG then shows its last valid version.
    pub(super) fn with_import_errors(self, has_import_errors: bool) -> DagView {
        DagView { has_import_errors, ..self }
    }
}

/// Returns the schedule as it was declared.
fn summary(schedule: &Schedule, words: &str) -> Option<String> {
    match schedule {
        Schedule::Manual => None,
        Schedule::Cron { expression, .. } => Some(expression.clone()),
        Schedule::Once => Some("@once".into()),
        Schedule::Continuous => Some("@continuous".into()),
        Schedule::EveryMs(_) => Some(words.split(", or when updated").next().unwrap_or(words).into()),
        Schedule::Assets(_) => Some("Asset".into()),
        Schedule::AssetPartitions(_) => Some("Partitioned Asset".into()),
        Schedule::AssetsOrTime { time, .. } => Some(format!("Asset or {}", summary(time, words).unwrap_or_default())),
    }
}
