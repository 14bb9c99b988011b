//! `/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/deadlines` and `…/deadlineAlerts`: the deadlines of runs. Airflow's UI
//! requests them from routes that are not part of its API.

use super::dags::find;
use super::list::asked;
use crate::extract::{DagPath, Dags, Query, Runs, no_such_run};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use chrono::TimeDelta;
use orch_spec::Deadline;
use orch_store::deadline::{DEADLINES, DeadlineRow, by};
use orch_store::list::ListPage;
use orch_store::run::get_run;
use orch_wire::timestamp::{Timestamp, stamp};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeadlinePage {
    deadlines: Vec<DeadlineView>,
    total_entries: i64,
}

/// By when a run is to be over, and how it stands with that.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeadlineView {
    dag_id: String,
    dag_run_id: String,
    /// Which of those that the DAG names, from 0.
    number: i16,
    /// `1 h after it started`.
    description: String,
    /// Not known before the run starts from which it counts.
    deadline_time: Option<Timestamp>,
    missed: bool,
    /// `waiting`: it has no time yet; `open`: the run is not over, and has time; `met`; `missed`.
    state: String,
    /// How long is left, or by how much it was kept or missed.
    seconds: Option<f64>,
    /// Of the run.
    created_at: Timestamp,
}

impl From<DeadlineRow> for DeadlineView {
    fn from(row: DeadlineRow) -> Self {
        let standing = row.standing();
        DeadlineView {
            description: row.words(),
            number: row.nth,
            deadline_time: stamp(row.due_at),
            missed: standing.as_str() == "missed",
            state: standing.as_str().into(),
            seconds: standing.by().map(TimeDelta::as_seconds_f64),
            created_at: Timestamp(row.created_at),
            dag_id: row.dag_id,
            dag_run_id: row.run_id,
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeadlineAlertPage {
    deadline_alerts: Vec<DeadlineAlertView>,
    total_entries: usize,
}

/// A deadline that a DAG names for each of its runs.
#[derive(Debug, Serialize, JsonSchema)]
struct DeadlineAlertView {
    number: usize,
    /// `1 h after it started`.
    description: String,
    /// `queued`, `started` or `logical_date`.
    reference_type: String,
    /// Seconds after that.
    interval: f64,
    /// Connections over which it is told.
    connections: Vec<String>,
}

impl DeadlineAlertView {
    fn new(number: usize, of: &Deadline) -> DeadlineAlertView {
        DeadlineAlertView {
            number,
            description: of.words(),
            reference_type: of.from.to_string(),
            interval: of.after_ms as f64 / 1_000.0,
            connections: of.notify.iter().map(|notifier| notifier.connection.clone()).collect(),
        }
    }
}

/// Lists the deadlines of a run, of all runs of a DAG, or of all runs, starting with the newest run.
pub(crate) async fn list(State(app): State<App>, runs: Runs, mut query: Query) -> Result<Json<DeadlinePage>, Refusal> {
    let mut search = asked(&mut query, DEADLINES.columns)?;
    let mut db = app.pages().await?;
    let dag_id = match &runs.dags {
        Dags::One(dag_id) => Some(find(&mut db, dag_id).await?.dag_id),
        Dags::All => None,
    };
    search = match (&dag_id, &runs.run_id) {
        (None, None) => search,
        (Some(dag_id), None) => search.and(by::DAG_ID.is(dag_id)),
        (Some(dag_id), Some(run_id)) => {
            let run = get_run(&mut db, dag_id, run_id).await?;
            search.and(by::RUN.is(run.ok_or_else(|| no_such_run(dag_id, run_id))?.id))
        }
        (None, Some(run_id)) => return Err(no_such_run("~", run_id)),
    };
    let ListPage { rows, total: total_entries } = DEADLINES.find(&mut db, &search).await?;
    Ok(Json(DeadlinePage { deadlines: rows.into_iter().map(DeadlineView::from).collect(), total_entries }))
}

/// Lists the deadline alerts of the newest version of a DAG.
pub(crate) async fn of_dag(
    State(app): State<App>,
    DagPath(dag_id): DagPath,
) -> Result<Json<DeadlineAlertPage>, Refusal> {
    let mut db = app.pages().await?;
    let dag = find(&mut db, &dag_id).await?;
    let version = app.versions.get(&mut db, dag.version).await?;
    let named = version.plan.spec.deadlines.iter().enumerate();
    let deadline_alerts: Vec<_> = named.map(|(number, of)| DeadlineAlertView::new(number, of)).collect();
    Ok(Json(DeadlineAlertPage { total_entries: deadline_alerts.len(), deadline_alerts }))
}
