//! `GET /api/v2/jobs`: schedulers and workers that are alive or stopped recently.

use super::list::asked;
use crate::extract::Query;
use crate::health::SCHEDULER_SILENT_SECS;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_store::list::Filter::{Is, Range};
use orch_store::list::{Cell, Column, ListColumnType, ListPage};
use orch_store::process::{ProcessRow, list_processes};
use orch_store::worker::{WorkerRow, list_workers};
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct JobPage {
    jobs: Vec<Job>,
    total_entries: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Job {
    id: i64,
    dag_id: Option<String>,
    state: Option<String>,
    job_type: Option<String>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    latest_heartbeat: Option<Timestamp>,
    executor_class: Option<String>,
    hostname: Option<String>,
    unixname: Option<String>,
    dag_display_name: Option<String>,
    #[serde(skip)]
    alive: bool,
}

pub(crate) const COLUMNS: &[Column] = &[
    Column::whole("id", "").sorted(),
    // Jobs have no DAG; the column exists for Airflow's clients.
    Column::text("dag_id", "").sorted(),
    Column::text("state", "").sorted(),
    Column::text("job_type", "").by(&[Is]).about("Exactly that").sorted(),
    Column::moment("start_date", "").by(&[Range]).sorted(),
    Column::moment("end_date", "").by(&[Range]).sorted(),
    Column::moment("latest_heartbeat", "").sorted(),
    Column::text("hostname", "").by(&[Is]).about("Exactly that").sorted(),
    Column::text("unixname", "").sorted(),
    Column::text("job_state", "").by(&[Is]).about("Exactly that"),
    Column::flag("is_alive", "").about("Only what lives, or what does not"),
    Column::absent("executor_class", ListColumnType::Text),
];

pub(crate) async fn list(State(app): State<App>, mut query: Query) -> Result<Json<JobPage>, Refusal> {
    let search = asked(&mut query, COLUMNS)?;
    let mut db = app.pages().await?;
    let schedulers = list_processes(&mut db).await?.into_iter().filter(|process| process.role == "scheduler");
    let mut jobs: Vec<Job> = schedulers.map(scheduler).collect();
    jobs.extend(list_workers(&mut db).await?.into_iter().map(worker));
    jobs.sort_by_key(|job| job.id);
    let ListPage { rows: jobs, total: total_entries } = search.pick(jobs, Job::cell);
    Ok(Json(JobPage { jobs, total_entries }))
}

impl Job {
    fn cell(&self, column: &Column) -> Cell<'_> {
        match column.name {
            "id" => self.id.into(),
            "state" | "job_state" => self.state.as_deref().into(),
            "job_type" => self.job_type.as_deref().into(),
            "hostname" => self.hostname.as_deref().into(),
            "start_date" => self.start_date.map(|at| at.0).into(),
            "end_date" => self.end_date.map(|at| at.0).into(),
            "latest_heartbeat" => self.latest_heartbeat.map(|at| at.0).into(),
            "is_alive" => Cell::Flag(self.alive),
            _ => Cell::Nothing,
        }
    }
}

fn scheduler(row: ProcessRow) -> Job {
    let alive = row.silent_secs < SCHEDULER_SILENT_SECS;
    Job {
        // Schedulers have even ids and workers have odd ones, because both are numbered separately.
        id: i64::from(row.id) * 2,
        dag_id: None,
        state: Some(if alive { "running" } else { "failed" }.into()),
        job_type: Some("SchedulerJob".into()),
        start_date: Some(Timestamp(row.started_at)),
        end_date: None,
        latest_heartbeat: Some(Timestamp(row.heartbeat_at)),
        executor_class: None,
        hostname: Some(row.hostname),
        unixname: None,
        dag_display_name: None,
        alive,
    }
}

fn worker(row: WorkerRow) -> Job {
    let alive = matches!(row.state.as_str(), "running" | "draining");
    let state = match row.state.as_str() {
        "stopped" => "success",
        "lost" => "failed",
        _ => "running",
    };
    Job {
        id: i64::from(row.id) * 2 + 1,
        dag_id: None,
        state: Some(state.into()),
        job_type: Some("WorkerJob".into()),
        start_date: Some(Timestamp(row.started_at)),
        end_date: (!alive).then_some(Timestamp(row.heartbeat_at)),
        latest_heartbeat: Some(Timestamp(row.heartbeat_at)),
        executor_class: None,
        hostname: Some(row.hostname),
        unixname: None,
        dag_display_name: None,
        alive,
    }
}
