//! The feed of the API: state changes of runs and task instances since the last poll.

use crate::state::App;
use axum::body::Bytes;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use orch_store::StoreResult;
use orch_store::asset::{Finding, StaleAsset, findings_since, stale_assets};
use orch_store::live::{InstanceChange, RunChange, database_clock, instances_to_tell, runs_to_tell};
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// Overlap of polls, because a transaction may become visible later than its timestamps. Reported changes are skipped.
const OVERLAP: TimeDelta = TimeDelta::seconds(5);
/// Maximum number of stale assets per poll, starting with those that have been stale the longest.
const MOST_STALE: i64 = 1_000;
/// Maximum number of runs whose instances are read per poll, newest first.
const MOST_RUNS: usize = 1_000;

/// A change as a server-sent event.
#[derive(Debug, Clone)]
pub(crate) struct FeedEvent {
    pub(crate) dag_id: Arc<str>,
    pub(crate) run_id: Arc<str>,
    pub(crate) event: Bytes,
}

#[derive(Debug, Default)]
pub(super) struct Feed {
    runs: HashMap<Uuid, String>,
    /// Instances found by the last poll.
    instances: HashMap<(Uuid, i16, i32), (i16, String)>,
    /// Checks found by the last poll that did not pass.
    checks: HashSet<i64>,
    stale: HashSet<i32>,
    since: Option<DateTime<Utc>>,
}

impl Feed {
    /// Returns whether no poll has succeeded yet.
    pub(super) fn is_new(&self) -> bool {
        self.since.is_none()
    }

    /// Returns the changes since the last poll. The first poll only reads the current states and returns no changes.
    pub(super) async fn poll_events(&mut self, app: &App) -> StoreResult<Vec<FeedEvent>> {
        let mut db = app.pages().await?;
        let now = database_clock(&mut db).await?;
        let first = self.since.is_none();
        let since = self.since.unwrap_or(now);
        let under_way = |state: &str| matches!(state, "queued" | "running");
        let known: Vec<Uuid> = self.runs.iter().filter(|(_, state)| under_way(state)).map(|(run, _)| *run).collect();
        let runs = runs_to_tell(&mut db, &known, since - OVERLAP).await?;
        let changed = |run: &&RunChange| self.runs.get(&run.run) != Some(&run.state);
        let mut told: Vec<FeedEvent> = Vec::new();
        let mut moving: Vec<Uuid> = Vec::new();
        for run in &runs {
            let is_new = changed(&run);
            if is_new && !first {
                told.push(tell_run(run));
            }
            if is_new || run.state == "running" {
                moving.push(run.run);
            }
        }
        let moving = &moving[moving.len().saturating_sub(MOST_RUNS)..];
        let instances = instances_to_tell(&mut db, moving, since - OVERLAP).await?;
        let by_id: HashMap<Uuid, &RunChange> = runs.iter().map(|run| (run.run, run)).collect();
        let mut seen = HashMap::new();
        let mut of_tasks = Vec::new();
        for change in instances {
            let key = (change.run, change.task, change.map_index);
            let how = (change.try_no, change.state.clone());
            if !first
                && self.instances.get(&key) != Some(&how)
                && let Some(run) = by_id.get(&change.run)
            {
                of_tasks.push(tell_instance(app, &mut db, run, &change).await?);
            }
            seen.insert(key, how);
        }
        let troubles = self.troubles(&mut db, since - OVERLAP, first).await?;
        (self.instances, self.since) = (seen, Some(now));
        self.runs = runs.into_iter().map(|run| (run.run, run.state)).collect();
        // The end of a run is reported after the end of its tasks.
        of_tasks.append(&mut told);
        of_tasks.extend(troubles);
        Ok(of_tasks)
    }

    /// Returns checks that did not pass and assets that became stale.
    async fn troubles(
        &mut self,
        db: &mut PgConnection,
        since: DateTime<Utc>,
        first: bool,
    ) -> StoreResult<Vec<FeedEvent>> {
        let findings = findings_since(db, since).await?;
        let stale = stale_assets(db, MOST_STALE).await?;
        let mut told = Vec::new();
        if !first {
            let new = findings.iter().filter(|one| !self.checks.contains(&one.check.id));
            told.extend(new.map(tell_check));
            told.extend(stale.iter().filter(|asset| !self.stale.contains(&asset.id)).map(tell_stale));
        }
        self.checks = findings.iter().map(|one| one.check.id).collect();
        self.stale = stale.iter().map(|asset| asset.id).collect();
        Ok(told)
    }
}

fn tell_run(run: &RunChange) -> FeedEvent {
    let data = json!({ "dag_id": run.dag_id, "dag_run_id": run.run_id, "state": run.state,
        "start_date": moment(run.started_at), "end_date": moment(run.ended_at) });
    build_event(run, "run", &data)
}

async fn tell_instance(
    app: &App,
    db: &mut PgConnection,
    run: &RunChange,
    of: &InstanceChange,
) -> StoreResult<FeedEvent> {
    let version = app.versions.get(db, run.version).await?;
    let task = of.task.cast_unsigned();
    let task_id = version.plan.tasks.get(usize::from(task)).map(|_| version.plan.task_id(task));
    let data = json!({ "dag_id": run.dag_id, "dag_run_id": run.run_id, "task_id": task_id, "map_index": of.map_index,
        "try_number": of.try_no, "state": of.state, "start_date": moment(of.started_at),
        "end_date": moment(of.ended_at) });
    Ok(build_event(run, "task", &data))
}

fn tell_check(of: &Finding) -> FeedEvent {
    let (check, result) = (&of.check, &of.check.result);
    let data = json!({ "uri": of.uri, "name": result.name, "kind": result.kind, "outcome": result.outcome.to_string(),
        "rows": result.rows, "rows_bad": result.bad, "sample": result.sample, "dag_id": check.dag_id,
        "dag_run_id": check.run_id, "task_id": check.task_id, "map_index": check.map_index,
        "try_number": check.try_no, "at": moment(Some(check.at)) });
    let event = format!("event: check\ndata: {data}\n\n").into();
    FeedEvent { dag_id: check.dag_id.as_str().into(), run_id: check.run_id.as_str().into(), event }
}

/// Stale assets belong to no DAG, so followers of single DAGs do not receive them.
fn tell_stale(asset: &StaleAsset) -> FeedEvent {
    let data = json!({ "uri": asset.uri, "name": asset.name, "asset_id": asset.id, "since": moment(Some(asset.since)),
        "last_update": moment(asset.last_event_at) });
    let event = format!("event: stale\ndata: {data}\n\n").into();
    FeedEvent { dag_id: "".into(), run_id: "".into(), event }
}

fn build_event(run: &RunChange, kind: &str, data: &Value) -> FeedEvent {
    let event = format!("event: {kind}\ndata: {data}\n\n").into();
    FeedEvent { dag_id: run.dag_id.as_str().into(), run_id: run.run_id.as_str().into(), event }
}

fn moment(at: Option<DateTime<Utc>>) -> Option<String> {
    at.map(|at| at.to_rfc3339_opts(SecondsFormat::Micros, true))
}
