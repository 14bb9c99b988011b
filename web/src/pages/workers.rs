//! `/workers`: the processes of this installation: their state, the tasks they run, and how to add one.

mod pace;

use super::{Shell, encoded, html};
use crate::health::SCHEDULER_SILENT_SECS;
use crate::parts::{self, ZonedNow, dag_href};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::TimeDelta;
use orch_store::clean::{CleanupRow, list_cleanups, passes};
use orch_store::duty::list_duties;
use orch_store::monitor::starts;
use orch_store::process::{ProcessRow, list_processes};
use orch_store::worker::{RunningInstance, WorkerRow, list_workers, running_instances};
use pace::{Pace, pace};
use sqlx::PgConnection;

#[derive(Template)]
#[template(path = "pages/workers.html")]
struct WorkersPage {
    shell: Shell,
    workers: Vec<Worker>,
    pace: Option<Pace>,
    schedulers: Vec<Process>,
    servers: Vec<Process>,
    /// Periodic duties of schedulers, and when each was last performed.
    duties: Vec<(String, parts::Ago)>,
    /// Retention of each kind of data, and what happens to it afterwards.
    kept: Vec<(&'static str, String)>,
    cleanups: Vec<Cleanup>,
    /// Why old rows cannot be removed, if they cannot.
    failing: Option<Failing>,
}

struct Failing {
    why: String,
    since: parts::Ago,
    times: i32,
    again: Option<parts::Moment>,
}

struct Cleanup {
    what: String,
    rows: String,
    place: String,
    by: String,
    at: parts::Ago,
}

struct Worker {
    name: String,
    place: String,
    state: parts::State,
    said: &'static str,
    running: i32,
    slots: i32,
    /// Percentage of busy slots; `None` for a worker that has stopped.
    percent: Option<i32>,
    queues: String,
    version: String,
    memory: String,
    heard: parts::Ago,
    since: parts::Ago,
    jobs: Vec<Job>,
    more: usize,
}

struct Job {
    name: String,
    href: String,
    dag_id: String,
    took: String,
}

struct Process {
    place: String,
    state: parts::State,
    said: &'static str,
    version: String,
    memory: String,
    heard: parts::Ago,
    since: parts::Ago,
}

const MOST_INSTANCES: i64 = 500;
/// Maximum number of instances, all of the last day, that start delays are computed from.
const MOST_STARTS: i64 = 5_000;
const JOBS_SHOWN: usize = 5;
const CLEANUPS_SHOWN: i64 = 20;
/// Age of the last heartbeat from which a web server counts as silent. It sends one per minute.
const WEB_SILENT_SECS: f64 = 150.0;

pub(crate) async fn show(State(app): State<App>, shell: Shell) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let now = shell.now;
    let mut jobs = jobs(&app, &mut db, now).await?;
    let workers = list_workers(&mut db).await?.into_iter().map(|row| {
        let (own, others) = std::mem::take(&mut jobs).into_iter().partition(|(worker, _)| *worker == row.id);
        jobs = others;
        worker(row, own, now)
    });
    let workers = workers.collect();
    let (schedulers, servers): (Vec<_>, Vec<_>) =
        list_processes(&mut db).await?.into_iter().partition(|row| row.role == "scheduler");
    let duties = list_duties(&mut db).await?;
    let starts = starts(&mut db, now.at - TimeDelta::days(1), MOST_STARTS).await?;
    let cleanups = list_cleanups(&mut db, CLEANUPS_SHOWN).await?;
    let failing = passes(&mut db).await?.and_then(|passes| passes.failing).map(|failing| Failing {
        why: failing.error,
        since: parts::ago(failing.since, now),
        times: failing.times,
        again: failing.retry_at.map(|at| parts::moment(at, now)),
    });
    let page = WorkersPage {
        workers,
        pace: pace(&starts, now),
        schedulers: schedulers.into_iter().map(|row| process(row, SCHEDULER_SILENT_SECS, now)).collect(),
        servers: servers.into_iter().map(|row| process(row, WEB_SILENT_SECS, now)).collect(),
        kept: kept(&app),
        cleanups: cleanups.into_iter().map(|row| cleanup(row, now)).collect(),
        failing,
        duties: duties.into_iter().map(|(name, at)| (name, parts::ago(at, now))).collect(),
        shell,
    };
    html(StatusCode::OK, &page)
}

/// Returns the running instances with the ids of their workers.
async fn jobs(app: &App, db: &mut PgConnection, now: ZonedNow) -> Result<Vec<(i32, Job)>, Refusal> {
    let mut jobs = Vec::new();
    for row in running_instances(db, MOST_INSTANCES).await? {
        let version = app.versions.get(db, row.version).await?;
        let RunningInstance { worker, dag_id, run_id, task, map_index, started_at, .. } = row;
        let Ok(place) = usize::try_from(task) else { continue };
        let Some(spec) = version.plan.spec.tasks.get(place) else { continue };
        let href = format!("{}/runs/{}/tasks/{}", dag_href(&dag_id), encoded(&run_id), encoded(&spec.task_id));
        let took = started_at.map_or_else(String::new, |at| parts::duration((now - at).max(TimeDelta::zero())));
        let (name, href) = match map_index {
            ..0 => (spec.task_id.clone(), href),
            index => (format!("{}[{index}]", spec.task_id), format!("{href}/{index}")),
        };
        jobs.push((worker, Job { name, href, dag_id, took }));
    }
    Ok(jobs)
}

fn worker(row: WorkerRow, jobs: Vec<(i32, Job)>, now: ZonedNow) -> Worker {
    let is_late = row.expires_at < now.at;
    let (state, said) = match row.state.as_str() {
        "running" if is_late => ("failed", "silent"),
        "running" => ("success", "alive"),
        "draining" => ("paused", "finishes what it has"),
        "stopped" => ("skipped", "stopped"),
        _ => ("failed", "lost"),
    };
    let is_here = matches!(row.state.as_str(), "running" | "draining");
    let more = jobs.len().saturating_sub(JOBS_SHOWN);
    Worker {
        place: format!("{} · pid {}", row.hostname, row.pid),
        name: row.name,
        state: parts::bare(state),
        said,
        running: row.running,
        slots: row.slots,
        percent: (is_here && row.slots > 0).then(|| {
            i32::try_from(i64::from(row.running) * 100 / i64::from(row.slots)).map_or(100, |part| part.min(100))
        }),
        queues: row.queues.join(", "),
        version: format!("{} {}", row.bundle, row.binary_version),
        memory: memory(row.memory_mb),
        heard: parts::ago(row.heartbeat_at, now),
        since: parts::ago(row.started_at, now),
        jobs: jobs.into_iter().map(|(_, job)| job).take(JOBS_SHOWN).collect(),
        more,
    }
}

fn process(row: ProcessRow, silent_secs: f64, now: ZonedNow) -> Process {
    let is_alive = row.silent_secs < silent_secs;
    Process {
        place: format!("{} · pid {}", row.hostname, row.pid),
        state: parts::bare(if is_alive { "success" } else { "failed" }),
        said: if is_alive { "alive" } else { "silent" },
        version: row.binary_version,
        memory: memory(row.memory_mb),
        heard: parts::ago(row.heartbeat_at, now),
        since: parts::ago(row.started_at, now),
    }
}

/// Returns this server's retention settings. Schedulers apply their own, the same if all share a settings file.
fn kept(app: &App) -> Vec<(&'static str, String)> {
    let told = |key: &str| app.config.settings.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    let archive = told("archive").filter(|text| !text.is_empty());
    let ends = if archive.is_some() { "then archived" } else { "then dropped" };
    let mut kept = Vec::new();
    for (word, key) in [("Runs", "run_retention"), ("Logs", "log_retention"), ("The audit log", "audit_retention")] {
        if let Some(long) = told(key) {
            kept.push((word, format!("{long}, {ends}")));
        }
    }
    kept.push(("Archive", archive.unwrap_or_else(|| "none: name one with ORCH_ARCHIVE".into())));
    kept
}

fn cleanup(row: CleanupRow, now: ZonedNow) -> Cleanup {
    let week = row.week.map_or_else(String::new, |week| format!(", week of {week}"));
    let about = if row.week.is_some() && row.how != "rolled over" { "about " } else { "" };
    Cleanup {
        what: format!("{}{week}: {}", row.table_name, row.how),
        rows: row.rows.map_or_else(|| "–".into(), |rows| format!("{about}{rows}")),
        place: row.place.unwrap_or_else(|| "–".into()),
        by: row.actor,
        at: parts::ago(row.at, now),
    }
}

fn memory(mb: i32) -> String {
    if mb > 0 { format!("{mb} MB") } else { "–".into() }
}
