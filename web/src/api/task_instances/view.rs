//! JSON shapes of task instances, as in Airflow.

use crate::api::versions::DagVersionView;
use chrono::{DateTime, Utc};
use orch_core::plan::{Plan, TaskIdx};
use orch_spec::state::TaskState;
use orch_store::instance::{InstanceRow, TryRow};
use orch_store::note::Notes;
use orch_store::run::RunDetails;
use orch_wire::timestamp::{Timestamp, seconds_between, stamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

/// The pool of tasks that do not name one. It always exists.
const DEFAULT_POOL: &str = "default_pool";

/// The current try of an instance, and what is the instance's own.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TaskInstanceView {
    #[schemars(with = "String")]
    id: Uuid,
    #[serde(flatten)]
    now: TaskTryView,
    logical_date: Option<Timestamp>,
    run_after: Timestamp,
    note: Option<String>,
    rendered_map_index: Option<String>,
    rendered_fields: Map<String, Value>,
    trigger: Option<Value>,
    triggerer_job: Option<Value>,
}

/// One try of an instance.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TaskTryView {
    task_id: String,
    dag_id: String,
    dag_run_id: String,
    map_index: i32,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    duration: Option<f64>,
    #[schemars(with = "Option<String>")]
    state: Option<TaskState>,
    try_number: i16,
    max_tries: i16,
    task_display_name: String,
    dag_display_name: String,
    hostname: Option<String>,
    unixname: Option<String>,
    pool: String,
    pool_slots: u32,
    queue: Option<String>,
    priority_weight: Option<i32>,
    operator: Option<String>,
    operator_name: Option<String>,
    queued_when: Option<Timestamp>,
    scheduled_when: Option<Timestamp>,
    pid: Option<i32>,
    executor: Option<String>,
    executor_config: &'static str,
    dag_version: Option<DagVersionView>,
}

/// Queue, start and end time.
type Times = (Option<DateTime<Utc>>, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// The data that all instances of a run share.
pub(crate) struct OfRun<'a> {
    pub(crate) run: &'a RunDetails,
    pub(crate) plan: &'a Plan,
    pub(crate) notes: &'a Notes,
}

impl OfRun<'_> {
    pub(crate) fn instance(&self, row: InstanceRow) -> TaskInstanceView {
        let run = self.run;
        TaskInstanceView {
            id: row.id,
            logical_date: stamp(run.logical_date),
            run_after: Timestamp(run.run_after),
            note: self.notes.of(run.id, &row.task_id, row.map_index).map(String::from),
            rendered_map_index: (row.map_index >= 0).then(|| row.map_index.to_string()),
            rendered_fields: Map::new(),
            trigger: None,
            triggerer_job: None,
            now: TaskTryView {
                state: Some(row.state).filter(|state| *state != TaskState::None),
                try_number: row.try_no,
                max_tries: row.max_tries,
                hostname: row.hostname,
                pid: row.pid,
                ..self.timed(row.task, row.map_index, (row.queued_at, row.started_at, row.ended_at))
            },
        }
    }

    pub(crate) fn try_of(&self, task: TaskIdx, map_index: i32, one: TryRow) -> TaskTryView {
        TaskTryView {
            state: Some(one.state).filter(|state| *state != TaskState::None),
            try_number: one.try_no,
            max_tries: one.max_tries,
            hostname: one.hostname,
            ..self.timed(task, map_index, (one.queued_at, one.started_at, one.ended_at))
        }
    }

    /// Returns the fields that depend on the task's structure and the times of an attempt.
    fn timed(&self, task: TaskIdx, map_index: i32, (queued_at, started_at, ended_at): Times) -> TaskTryView {
        let (run, planned) = (self.run, self.plan.task(task));
        let spec = &self.plan.spec.tasks[usize::from(task)];
        let version =
            DagVersionView::new(run.version, run.version_number, &run.dag_id, &run.bundle, run.version_created_at);
        TaskTryView {
            task_id: spec.task_id.clone(),
            dag_id: run.dag_id.clone(),
            dag_run_id: run.run_id.clone(),
            map_index,
            start_date: stamp(started_at),
            end_date: stamp(ended_at),
            duration: seconds_between(started_at, ended_at),
            state: None,
            try_number: 0,
            max_tries: 0,
            task_display_name: spec.task_id.clone(),
            dag_display_name: run.dag_id.clone(),
            hostname: None,
            unixname: None,
            pool: spec.options.pool.clone().unwrap_or_else(|| DEFAULT_POOL.into()),
            pool_slots: spec.options.pool_slots.unwrap_or(1),
            queue: Some(planned.queue.clone()),
            priority_weight: Some(planned.priority),
            operator: Some(spec.kind.clone()),
            operator_name: Some(spec.kind.clone()),
            queued_when: stamp(queued_at),
            scheduled_when: stamp(queued_at),
            pid: None,
            executor: None,
            executor_config: "{}",
            dag_version: Some(version),
        }
    }
}
