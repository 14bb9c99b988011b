//! `GET /api/orch/v1/overview`: the current state of the installation, for `orch top` and other programs.

use crate::health::{is_alive, is_worker_alive};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_store::overview::{MOST_MARKS, failing, pulse, running_runs};
use orch_store::process::list_processes;
use orch_store::worker::list_workers;
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::cmp::Reverse;

/// Maximum number of listed runs.
const MOST_RUNS: i64 = 100;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Overview {
    dags: i64,
    /// DAGs whose last finished run failed.
    failing_dags: Vec<String>,
    running_runs: i64,
    /// Task instances that a worker may take, counted up to 10,000.
    ready_tasks: i64,
    open_approvals: i64,
    slots: i64,
    busy_slots: i64,
    processes: Vec<Process>,
    /// The ones that have run longest first, 100 at most.
    runs: Vec<RunningRun>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Process {
    /// `scheduler`, `worker` or `web`.
    role: String,
    name: String,
    hostname: String,
    pid: i32,
    version: String,
    /// `running`, `draining` (it finishes what it runs) or `silent`.
    state: String,
    /// Of a worker.
    slots: Option<i32>,
    busy_slots: Option<i32>,
    memory_mb: i32,
    started_at: Timestamp,
    /// Since its last heartbeat.
    silent_seconds: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RunningRun {
    dag_id: String,
    dag_run_id: String,
    start_date: Option<Timestamp>,
    /// Since then.
    running_seconds: Option<i64>,
}

pub(crate) async fn show(State(app): State<App>) -> Result<Json<Overview>, Refusal> {
    let mut db = app.pages().await?;
    let pulse = pulse(&mut db).await?;
    let others = list_processes(&mut db).await?.into_iter().map(|row| Process {
        state: if is_alive(&row) { "running" } else { "silent" }.into(),
        name: row.hostname.clone(),
        role: row.role,
        hostname: row.hostname,
        pid: row.pid,
        version: row.binary_version,
        slots: None,
        busy_slots: None,
        memory_mb: row.memory_mb,
        started_at: Timestamp(row.started_at),
        silent_seconds: row.silent_secs,
    });
    let workers = list_workers(&mut db).await?.into_iter();
    let workers = workers.filter(|row| matches!(row.state.as_str(), "running" | "draining")).map(|row| {
        let is_alive = is_worker_alive(&row);
        Process {
            role: "worker".into(),
            name: row.name,
            hostname: row.hostname,
            pid: row.pid,
            version: row.binary_version,
            state: if is_alive { row.state } else { "silent".into() },
            slots: Some(row.slots),
            busy_slots: Some(row.running),
            memory_mb: row.memory_mb,
            started_at: Timestamp(row.started_at),
            silent_seconds: row.silent_secs,
        }
    });
    let processes = others.chain(workers).collect();
    let now = app.config.clock.now();
    let mut runs = running_runs(&mut db, MOST_RUNS).await?;
    runs.sort_by_key(|run| Reverse(run.active_time(now)));
    Ok(Json(Overview {
        dags: pulse.dags,
        failing_dags: failing(&mut db, MOST_MARKS).await?.into_iter().map(|run| run.dag_id).collect(),
        running_runs: pulse.running_runs,
        ready_tasks: pulse.ready,
        open_approvals: pulse.asked,
        slots: pulse.slots,
        busy_slots: pulse.busy_slots,
        processes,
        runs: runs
            .into_iter()
            .map(|run| RunningRun {
                running_seconds: run.active_time(now).map(|active| active.num_seconds()),
                dag_id: run.dag_id,
                dag_run_id: run.run_id,
                start_date: run.started_at.map(Timestamp),
            })
            .collect(),
    }))
}
