//! `POST …/dagRuns/{dag_run_id}/clear` and `POST …/clearDagRuns`: clears runs so that they run again, or returns what
//! would be cleared.

use super::bulk::{RunEntity, path};
use super::find;
use super::list::DagRunPage;
use super::view::DagRunView;
use crate::api::clearing::{Clearing, clear, preview};
use crate::api::task_instances::TaskInstancePage;
use crate::extract::{Actor, JsonBody, Names, RunPath, Typed};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_core::select::Selection;
use orch_core::transition::Selected;
use orch_deeds::instance::ClearOptions;
use orch_spec::state::TaskState;
use orch_store::clear::ClearScope;
use orch_store::narrow;
use orch_wire::body::{ListOf, NoteText};
use orch_wire::fields::flag;
use orch_wire::{Problem, body, field_type};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;

/// Maximum number of runs in a request.
const MOST_RUNS: usize = 100;

field_type! {
    /// A flag that must be false, because it is not supported.
    struct NotTrue(bool); |value: &Value| {
        let why = "only_new is not supported: clear with run_on_latest_version";
        if flag(value)? { Err(Problem::value(why)) } else { Ok(false) }
    };
    { "enum": [false] }
}

field_type! {
    /// A partition filter. Only null is accepted, because DAGs in Airflow's sense are not partitioned here.
    struct NoPartition(()); |_: &Value| Err(Problem::value("the DAG is not partitioned")); { "type": "null" }
}

body! {
    pub(crate) struct DAGRunClearBody {
        dry_run: Option<bool>,
        only_failed: Option<bool>,
        /// Not supported: clear with `run_on_latest_version`.
        only_new: Option<NotTrue>,
        run_on_latest_version: Option<bool>,
        note: Option<NoteText>,
    }
}

body! {
    pub(crate) struct BulkDAGRunClearBody {
        /// The states and notes in these entities are ignored: the note in the body applies to all runs.
        dag_runs: ListOf<RunEntity, 1, MOST_RUNS>,
        partition_key: Option<NoPartition>,
        partition_date_start: Option<NoPartition>,
        partition_date_end: Option<NoPartition>,
        ..clear: DAGRunClearBody,
    }
}

/// The cleared run; with `dry_run`, the task instances that would be cleared.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ClearedRun {
    DryRun(TaskInstancePage),
    Cleared(Box<DagRunView>),
}

/// The cleared runs; with `dry_run`, the task instances that would be cleared.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ClearedRuns {
    DryRun(TaskInstancePage),
    Cleared(DagRunPage),
}

impl DAGRunClearBody {
    fn is_dry(&self) -> bool {
        self.dry_run.unwrap_or(true)
    }

    async fn clearing(self, app: &App, db: &mut PgConnection, paths: &[RunPath]) -> Result<Clearing, Refusal> {
        let mut runs = Vec::with_capacity(paths.len());
        for path in paths {
            let run = find(db, path).await?;
            let version = app.versions.get(db, run.version).await?;
            let tasks =
                (0..narrow::task(version.plan.tasks.len())).map(|task| Selected { task, index: None }).collect();
            let failed = || vec![TaskState::Failed, TaskState::UpstreamFailed];
            let states = if self.only_failed == Some(true) { failed() } else { Vec::new() };
            let (selection, version) = (Selection { tasks, ..Selection::default() }, Some(run.version));
            runs.push((run, ClearScope { selection, version, states }));
        }
        let (latest, run_note) = (self.run_on_latest_version.unwrap_or(false), self.note.map(|note| note.0));
        let options = ClearOptions { whole_run: true, latest, run_note, ..ClearOptions::default() };
        Ok(Clearing { runs, options })
    }
}

pub(crate) async fn clear_run(
    State(app): State<App>,
    actor: Actor,
    path: RunPath,
    Typed(body): Typed<DAGRunClearBody>,
) -> Result<Json<ClearedRun>, Refusal> {
    let dry_run = body.is_dry();
    let mut db = app.pages().await?;
    let clearing = body.clearing(&app, &mut db, std::slice::from_ref(&path)).await?;
    if dry_run {
        return Ok(Json(ClearedRun::DryRun(preview(&app, &mut db, &clearing).await?)));
    }
    clear(&app, &mut db, &actor, &clearing).await?;
    Ok(Json(ClearedRun::Cleared(Box::new(find(&mut db, &path).await?.into()))))
}

/// Clears all runs, or none if one of them fails.
pub(crate) async fn clear_runs(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    body: JsonBody,
) -> Result<Json<ClearedRuns>, Refusal> {
    names.dags()?;
    let body: BulkDAGRunClearBody = body.read()?;
    let mut paths = Vec::with_capacity(body.dag_runs.0.len());
    for run in &body.dag_runs.0 {
        paths.push(path(names.get("dag_id"), run.dag_id.as_deref(), &run.dag_run_id)?);
    }
    let dry_run = body.clear.is_dry();
    let mut db = app.pages().await?;
    let clearing = body.clear.clearing(&app, &mut db, &paths).await?;
    if dry_run {
        return Ok(Json(ClearedRuns::DryRun(preview(&app, &mut db, &clearing).await?)));
    }
    clear(&app, &mut db, &actor, &clearing).await?;
    let mut dag_runs = Vec::with_capacity(paths.len());
    for path in &paths {
        dag_runs.push(DagRunView::from(find(&mut db, path).await?));
    }
    Ok(Json(ClearedRuns::Cleared(DagRunPage::whole(dag_runs))))
}
