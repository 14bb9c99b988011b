//! `GET /api/v2/jobs`: schedulers and workers, alive or gone not long ago.

use super::narrow::Span;
use super::pages::{Page, orders};
use crate::extract::Query;
use crate::health::SCHEDULER_SILENT_SECS;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use orch_store::narrow;
use orch_store::process::{ProcessRow, list_processes};
use orch_store::worker::{WorkerRow, list_workers};
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::cmp::Ordering;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct JobPage {
    jobs: Vec<Job>,
    total_entries: usize,
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

pub(crate) async fn list(State(app): State<App>, mut query: Query) -> Result<Json<JobPage>, Refusal> {
    let page = Page::of(&mut query);
    let alive = query.flag("is_alive");
    let (started, ended) = (Span::of(&mut query, "start_date"), Span::of(&mut query, "end_date"));
    query.finish()?;
    let orders = orders(&query, order)?;
    let mut db = app.pages().await?;
    let schedulers = list_processes(&mut db).await?.into_iter().filter(|process| process.role == "scheduler");
    let mut jobs: Vec<Job> = schedulers.map(scheduler).collect();
    jobs.extend(list_workers(&mut db).await?.into_iter().map(worker));
    let is = |name: &str, value: Option<&str>| query.text(name).is_none_or(|wanted| Some(wanted) == value);
    jobs.retain(|job| {
        alive.is_none_or(|alive| alive == job.alive)
            && is("job_type", job.job_type.as_deref())
            && is("job_state", job.state.as_deref())
            && is("hostname", job.hostname.as_deref())
            && is("executor_class", None)
            && started.holds(job.start_date.map(|at| at.0))
            && ended.holds(job.end_date.map(|at| at.0))
    });
    jobs.sort_by_key(|job| job.id);
    for (order, descends) in orders.into_iter().rev() {
        jobs.sort_by(|one, other| if descends { order(other, one) } else { order(one, other) });
    }
    let total_entries = jobs.len();
    let jobs = jobs.into_iter().skip(narrow::size(page.offset)).take(narrow::size(page.limit)).collect();
    Ok(Json(JobPage { jobs, total_entries }))
}

fn order(name: &str) -> Option<fn(&Job, &Job) -> Ordering> {
    match name {
        "id" => Some(|one, other| one.id.cmp(&other.id)),
        "state" => Some(|one, other| one.state.cmp(&other.state)),
        "job_type" => Some(|one, other| one.job_type.cmp(&other.job_type)),
        "hostname" => Some(|one, other| one.hostname.cmp(&other.hostname)),
        "start_date" => Some(|one, other| moment(one.start_date).cmp(&moment(other.start_date))),
        "end_date" => Some(|one, other| moment(one.end_date).cmp(&moment(other.end_date))),
        "latest_heartbeat" => Some(|one, other| moment(one.latest_heartbeat).cmp(&moment(other.latest_heartbeat))),
        // No job has one.
        "dag_id" | "unixname" => Some(|_, _| Ordering::Equal),
        _ => None,
    }
}

fn moment(at: Option<Timestamp>) -> Option<DateTime<Utc>> {
    at.map(|Timestamp(at)| at)
}

fn scheduler(row: ProcessRow) -> Job {
    let alive = row.silent_secs < SCHEDULER_SILENT_SECS;
    Job {
        // Processes and workers are counted apart: even and odd.
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
