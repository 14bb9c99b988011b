//! `GET /metrics`: metrics of the whole installation for Prometheus. Every process writes its state to the database, so
//! each web server can report all of them.

use crate::health::SCHEDULER_SILENT_SECS;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use orch_spec::metrics::{CONTENT_TYPE, Text};
use orch_store::asset::stale_assets;
use orch_store::clean::passes;
use orch_store::kept::{POOL, Record, find};
use orch_store::list::Search;
use orch_store::overview::{MOST_MARKS, Pulse, failing, pulse};
use orch_store::process::{ProcessRow, list_processes};
use orch_store::stream::{StreamRow, find_streams};
use orch_store::transaction::{OldestTransaction, oldest_transaction};
use orch_store::worker::{WorkerRow, list_workers};
use std::time::{Duration, Instant};

/// Maximum number of time series for pools, streams and processes each. More would cost more than they are worth.
const MOST_OF_EACH: usize = 1_000;
const TEXT: HeaderValue = HeaderValue::from_static(CONTENT_TYPE);

pub(crate) async fn show(State(app): State<App>) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let asked = Instant::now();
    let pulse = pulse(&mut db).await?;
    let round_trip = asked.elapsed();
    let facts = Facts {
        pulse,
        round_trip,
        oldest_transaction: oldest_transaction(&mut db).await?,
        failing: failing(&mut db, MOST_MARKS).await?.len(),
        stale_assets: stale_assets(&mut db, MOST_MARKS).await?.len(),
        cleaning_fails: passes(&mut db).await?.is_some_and(|passes| passes.failing.is_some()),
        pools: find(&mut db, &POOL, &Search::default()).await?.rows,
        streams: find_streams(&mut db, &Search::default()).await?.rows,
        processes: list_processes(&mut db).await?,
        workers: list_workers(&mut db).await?,
    };
    Ok(([(header::CONTENT_TYPE, TEXT)], facts.text()).into_response())
}

struct Facts {
    pulse: Pulse,
    /// Duration of the query for the numbers of all DAGs.
    round_trip: Duration,
    oldest_transaction: Option<OldestTransaction>,
    failing: usize,
    stale_assets: usize,
    cleaning_fails: bool,
    pools: Vec<Record>,
    streams: Vec<StreamRow>,
    processes: Vec<ProcessRow>,
    workers: Vec<WorkerRow>,
}

impl Facts {
    fn text(&self) -> String {
        let mut text = Text::default();
        text.gauge("orch_build_info", "Version of this web server.").with(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.gauge("orch_database_query_seconds", "Time of one query of the numbers below.")
            .is(self.round_trip.as_secs_f64());
        let help = "Age of the oldest open transaction of the database; 0 if no transaction is open.";
        text.gauge("orch_database_oldest_transaction_seconds", help)
            .is(self.oldest_transaction.as_ref().map_or(0.0, |oldest| oldest.age_secs));
        let pulse = &self.pulse;
        for (name, help, value) in [
            ("orch_dags", "DAGs that a worker offers.", pulse.dags),
            ("orch_dag_runs_running", "Runs that are running.", pulse.running_runs),
            ("orch_task_instances_ready", "Task instances that a worker may take; counted up to 10,000.", pulse.ready),
            ("orch_approvals_open", "Questions that wait for people.", pulse.asked),
            ("orch_schedulers_alive", "Schedulers that were heard of within 30 seconds.", pulse.schedulers),
            ("orch_workers_alive", "Workers with a lease.", pulse.workers),
            ("orch_worker_slots", "Slots of those workers.", pulse.slots),
            ("orch_worker_slots_busy", "Slots with a task.", pulse.busy_slots),
        ] {
            text.gauge(name, help).is(value);
        }
        let marks = format!("counted up to {MOST_MARKS}.");
        text.gauge("orch_dags_failing", &format!("DAGs whose last finished run failed; {marks}")).is(self.failing);
        text.gauge("orch_assets_stale", &format!("Assets older than they should be; {marks}")).is(self.stale_assets);
        let help = "1: old rows could not be deleted at the last try.";
        text.gauge("orch_retention_failing", help).is(u8::from(self.cleaning_fails));
        self.processes(&mut text);
        self.pools(&mut text);
        self.streams(&mut text);
        text.into_text()
    }

    fn processes(&self, text: &mut Text) {
        let label = |row: &ProcessRow| {
            [("role", row.role.clone()), ("host", row.hostname.clone()), ("pid", row.pid.to_string())]
        };
        let worker =
            |row: &WorkerRow| [("role", "worker".into()), ("host", row.hostname.clone()), ("pid", row.pid.to_string())];
        let others = || self.processes.iter().take(MOST_OF_EACH);
        let workers = || {
            self.workers.iter().filter(|row| matches!(row.state.as_str(), "running" | "draining")).take(MOST_OF_EACH)
        };
        let mut family = text.gauge("orch_process_heartbeat_age_seconds", "Time since a process was heard of.");
        for row in others() {
            family.with(&label(row), row.silent_secs);
        }
        for row in workers() {
            family.with(&worker(row), row.silent_secs);
        }
        let mut family = text.gauge("orch_process_memory_bytes", "Memory of a process at its last heartbeat.");
        for row in others().filter(|row| row.silent_secs < SCHEDULER_SILENT_SECS || row.role != "scheduler") {
            family.with(&label(row), i64::from(row.memory_mb) << 20);
        }
        for row in workers() {
            family.with(&worker(row), i64::from(row.memory_mb) << 20);
        }
        let mut family = text.gauge("orch_worker_running", "Tasks that a worker runs.");
        for row in workers() {
            family.with(&worker(row), row.running);
        }
    }

    fn pools(&self, text: &mut Text) {
        for (name, column, help) in [
            ("orch_pool_slots", "slots", "Slots of a pool; -1: without a limit."),
            ("orch_pool_slots_running", "running_slots", "Slots of a pool with a task that runs."),
            ("orch_pool_slots_queued", "queued_slots", "Slots of a pool with a task that a worker may take."),
            ("orch_pool_slots_scheduled", "scheduled_slots", "Slots of a pool that tasks wait for."),
        ] {
            let mut family = text.gauge(name, help);
            for pool in self.pools.iter().take(MOST_OF_EACH) {
                family.with(&[("pool", pool.name())], pool.whole(column));
            }
        }
    }

    fn streams(&self, text: &mut Text) {
        let streams = || self.streams.iter().filter(|row| row.version.is_some()).take(MOST_OF_EACH);
        let label = |row: &StreamRow| [("stream", row.name.clone())];
        let mut count = |name: &str, help: &str, of: fn(&StreamRow) -> i64| {
            let mut family = text.counter(name, help);
            streams().for_each(|row| family.with(&label(row), of(row)));
        };
        count("orch_stream_records_total", "Records that a stream has published or put aside.", |row| row.records);
        count("orch_stream_quarantined_total", "Records that a stream has put aside.", |row| row.quarantined);
        count("orch_stream_commits_total", "Commits of a stream.", |row| row.commits);
        let mut gauge = |name: &str, help: &str, of: fn(&StreamRow) -> Option<f64>| {
            let mut family = text.gauge(name, help);
            for (row, value) in streams().filter_map(|row| Some((row, of(row)?))) {
                family.with(&label(row), value);
            }
        };
        gauge("orch_stream_lag_records", "Records that a stream has not read yet.", |row| {
            (!row.is_capture()).then_some(row.lag as f64)
        });
        gauge(
            "orch_stream_lag_bytes",
            "Of a capture: bytes of the log of its database that it has not read yet.",
            |row| row.is_capture().then_some(row.lag as f64),
        );
        gauge("orch_stream_paused", "1: a person paused the stream.", |row| Some(f64::from(u8::from(row.is_paused))));
        gauge("orch_stream_failing", "1: an error keeps the stream from running.", |row| {
            Some(f64::from(u8::from(row.error.is_some())))
        });
        gauge("orch_stream_last_commit_timestamp_seconds", "When a stream last committed.", |row| {
            seconds(row.last_commit_at)
        });
        gauge(
            "orch_stream_last_record_timestamp_seconds",
            "When the newest record was produced that a stream has read.",
            |row| seconds(row.last_record_at),
        );
    }
}

fn seconds(at: Option<DateTime<Utc>>) -> Option<f64> {
    at.map(|at| at.timestamp_millis() as f64 / 1e3)
}
