//! Health of this process (`/healthz`), its readiness (`/readyz`), and the state of the other processes.
//!
//! No login is required. The database is queried at most once a second.

use crate::state::{App, Inner};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use orch_store::StoreResult;
use orch_store::clean::{Passes, passes};
use orch_store::guard::{SCHEMA_VERSION, Schema, read_schema};
use orch_store::import_error::{FoldersRead, folders_read};
use orch_store::process::{ProcessRow, Role as ProcessRole, list_processes};
use orch_store::worker::WorkerRow;
use orch_wire::timestamp::Timestamp;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Timeout for the query. A probe that fails is more useful than one that hangs.
const MOST_TIME: Duration = Duration::from_secs(3);
const REMEMBERED_FOR: Duration = Duration::from_secs(1);

/// Seconds after which a scheduler without a heartbeat counts as dead. The value is Airflow's threshold and equals
/// three missed heartbeats.
pub(crate) const SCHEDULER_SILENT_SECS: f64 = 30.0;
/// Seconds after which a web server without a heartbeat counts as dead. Web servers send one each minute.
const WEB_SILENT_SECS: f64 = 150.0;

/// Returns whether the last heartbeat of a scheduler or web server is recent enough. A killed process leaves its row
/// behind.
pub fn is_alive(process: &ProcessRow) -> bool {
    let is_scheduler = process.role == ProcessRole::Scheduler.as_str();
    process.silent_secs < if is_scheduler { SCHEDULER_SILENT_SECS } else { WEB_SILENT_SECS }
}

/// Returns whether the worker renewed its lease in time. The state of a killed worker remains `running` until a
/// scheduler marks it as lost.
pub fn is_worker_alive(worker: &WorkerRow) -> bool {
    let lease_secs = (worker.expires_at - worker.heartbeat_at).as_seconds_f64();
    matches!(worker.state.as_str(), "running" | "draining") && worker.silent_secs < lease_secs
}

/// The cached result of the last check.
#[derive(Debug, Default)]
pub(crate) struct Health {
    last: Mutex<Option<(Instant, Findings)>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Findings {
    pub(crate) database: Database,
    /// The scheduler with the most recent heartbeat.
    pub(crate) scheduler: Option<Scheduler>,
    /// State of the retention passes.
    pub(crate) passes: Option<Passes>,
    folders: FoldersRead,
}

#[derive(Debug, Clone)]
pub(crate) enum Database {
    Fits { round_trip: Duration },
    Away,
    WrongSchema(String),
}

#[derive(Debug, Clone)]
pub(crate) struct Scheduler {
    pub(crate) heartbeat_at: DateTime<Utc>,
    pub(crate) silent_secs: f64,
    /// Time of the last pass of each scheduler loop, by name.
    pub(crate) progress: Value,
}

impl Scheduler {
    pub(crate) fn is_healthy(&self) -> bool {
        self.silent_secs < SCHEDULER_SILENT_SECS
    }
}

impl Findings {
    fn without_database(database: Database) -> Findings {
        Findings { database, scheduler: None, passes: None, folders: FoldersRead::default() }
    }

    /// Checks the database, or returns a result that is at most a second old.
    pub(crate) async fn get(app: &Inner) -> Findings {
        let mut last = app.health.last.lock().await;
        if let Some((at, findings)) = &*last
            && at.elapsed() < REMEMBERED_FOR
        {
            return findings.clone();
        }
        let findings = match tokio::time::timeout(MOST_TIME, find(app)).await {
            Ok(Ok(findings)) => findings,
            Ok(Err(error)) => {
                tracing::warn!(error = error.in_full(), "the health of the database cannot be read");
                Findings::without_database(Database::Away)
            }
            Err(_) => Findings::without_database(Database::Away),
        };
        *last = Some((Instant::now(), findings.clone()));
        findings
    }
}

async fn find(app: &Inner) -> StoreResult<Findings> {
    let mut db = app.hot().await?;
    let asked = Instant::now();
    let wrong = match read_schema(&mut db).await? {
        Schema::Fits => None,
        Schema::Empty => Some("the database is empty: run `orch db migrate`".to_string()),
        Schema::Old { version } => {
            Some(format!("the schema is version {version}, this binary needs {SCHEMA_VERSION}: run `orch db migrate`"))
        }
        Schema::TooNew { version, .. } => {
            Some(format!("the schema is version {version}, this binary knows {SCHEMA_VERSION}: install a newer orch"))
        }
    };
    if let Some(why) = wrong {
        return Ok(Findings::without_database(Database::WrongSchema(why)));
    }
    let round_trip = asked.elapsed();
    let processes = list_processes(&mut db).await?;
    let scheduler = processes.into_iter().find(|process| process.role == "scheduler");
    let scheduler = scheduler.map(|process| Scheduler {
        heartbeat_at: process.heartbeat_at,
        silent_secs: process.silent_secs,
        progress: process.progress,
    });
    let passes = passes(&mut db).await?;
    let folders = folders_read(&mut db).await?;
    Ok(Findings { database: Database::Fits { round_trip }, scheduler, passes, folders })
}

/// Returns 200 without any check.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Returns 200 if the server can work, users can log in, and the DAG files of this process were read, else 503. Stream
/// files and endpoints that the bundle has not read yet, a missing scheduler and failing retention are reported but do
/// not affect the status: pages and triggers work without them.
pub(crate) async fn ready(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let findings = Findings::get(&app).await;
    let scheduler = findings.scheduler.map(|scheduler| {
        json!({ "healthy": scheduler.is_healthy(), "heartbeat_at": Timestamp(scheduler.heartbeat_at),
            "heartbeat_age_s": scheduler.silent_secs, "progress": scheduler.progress })
    });
    let (status, database) = match findings.database {
        Database::Fits { round_trip } => {
            (StatusCode::OK, json!({ "status": "ok", "round_trip_ms": round_trip.as_secs_f64() * 1e3 }))
        }
        Database::Away => (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "unreachable" })),
        Database::WrongSchema(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "wrong schema", "hint": why }))
        }
    };
    let retention = findings.passes.map(|passes| {
        let failing = passes.failing.as_ref();
        json!({ "healthy": failing.is_none(), "done_at": passes.done_at.map(Timestamp),
            "failing_since": failing.map(|failing| Timestamp(failing.since)), "failures": failing.map_or(0, |f| f.times) })
    });
    let is_set_up = app.config.is_set_up.load(Ordering::Acquire);
    let dag_files = app.config.dag_files_read.as_ref().map(|read| read.load(Ordering::Acquire));
    let (status, word) = match status {
        StatusCode::OK if is_set_up && dag_files != Some(false) => (status, "ready"),
        StatusCode::OK => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        not_ok => (not_ok, "not ready"),
    };
    let dag_files = dag_files.map(|are_read| {
        if are_read {
            json!({ "status": "read" })
        } else {
            json!({ "status": "being read", "hint": "tasks of DAG files run once all files were read" })
        }
    });
    // If this process starts a bundle, the bundle reads its files again after the start, so older times do not count.
    // Otherwise, the files may have been read at any time.
    let since = app.config.dag_files_read.as_ref().map(|_| app.started_at);
    let folder = |at: Option<DateTime<Utc>>| {
        at.map(|at| match since {
            Some(since) if at < since => json!({ "status": "being read" }),
            _ => json!({ "status": "read", "read_at": Timestamp(at) }),
        })
    };
    let body = json!({ "status": word, "database": database, "dag_files": dag_files,
        "stream_files": folder(findings.folders.stream_files), "endpoint_files": folder(findings.folders.endpoint_files),
        "scheduler": scheduler, "retention": retention });
    (status, Json(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn a_process_without_a_recent_heartbeat_is_dead() {
        let row = |role: &str, silent_secs: f64| ProcessRow {
            id: 1,
            role: role.into(),
            hostname: "host".into(),
            pid: 1,
            binary_version: "1".into(),
            memory_mb: 1,
            started_at: DateTime::UNIX_EPOCH,
            heartbeat_at: DateTime::UNIX_EPOCH,
            silent_secs,
            progress: Value::Null,
        };
        for (role, silent_secs, lives) in
            [("scheduler", 29.0, true), ("scheduler", 30.0, false), ("web", 149.0, true), ("web", 150.0, false)]
        {
            assert_eq!(is_alive(&row(role, silent_secs)), lives, "{role} {silent_secs}");
        }
    }

    #[test]
    fn a_worker_is_alive_for_as_long_as_its_lease() {
        let row = |state: &str, silent_secs: f64| WorkerRow {
            id: 1,
            name: "w".into(),
            hostname: "host".into(),
            pid: 1,
            bundle: "b".into(),
            binary_version: "1".into(),
            queues: Vec::new(),
            versions: Vec::new(),
            slots: 4,
            running: 1,
            memory_mb: 1,
            state: state.into(),
            started_at: DateTime::UNIX_EPOCH,
            heartbeat_at: DateTime::UNIX_EPOCH,
            expires_at: DateTime::UNIX_EPOCH + TimeDelta::seconds(15),
            silent_secs,
        };
        for (state, silent_secs, lives) in
            [("running", 14.0, true), ("draining", 14.0, true), ("running", 15.0, false), ("lost", 1.0, false)]
        {
            assert_eq!(is_worker_alive(&row(state, silent_secs)), lives, "{state} {silent_secs}");
        }
    }
}
