//! `POST …/dagRuns/{dag_run_id}/clear` and `POST …/clearDagRuns`: runs run again, or what would.

use super::bulk::path;
use super::find;
use super::list::DagRunPage;
use super::view::DagRunView;
use crate::api::clearing::{Clearing, clear, preview};
use crate::extract::{Actor, Fields, JsonBody, Names, RunPath};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use orch_core::select::Selection;
use orch_core::transition::Selected;
use orch_spec::state::TaskState;
use orch_store::clear::ClearWish;
use orch_store::narrow;
use orch_wire::Problem;
use sqlx::PgConnection;

/// Runs that one request may clear.
const MOST_RUNS: usize = 100;
/// What picks runs of partitioned DAGs: none is, so none is picked.
const PARTITIONS: [&str; 3] = ["partition_key", "partition_date_start", "partition_date_end"];

/// Airflow's `DAGRunClearBody`.
struct Wish {
    dry_run: bool,
    only_failed: bool,
    latest: bool,
    note: Option<String>,
}

impl Wish {
    fn read(fields: &mut Fields) -> Wish {
        let dry_run = fields.flag("dry_run").unwrap_or(true);
        let only_failed = fields.flag("only_failed").unwrap_or(false);
        let only_new = fields.flag("only_new").unwrap_or(false);
        let latest = fields.flag("run_on_latest_version").unwrap_or(false);
        if only_new {
            let why = if only_failed {
                "only_failed and only_new cannot both be true"
            } else {
                "only_new is not supported: clear with run_on_latest_version"
            };
            fields.refuse(Problem::value(why));
        }
        Wish { dry_run, only_failed, latest, note: fields.note() }
    }

    async fn clearing(self, app: &App, db: &mut PgConnection, paths: &[RunPath]) -> Result<Clearing, Refusal> {
        let mut runs = Vec::with_capacity(paths.len());
        for path in paths {
            let run = find(db, path).await?;
            let version = app.versions.get(db, run.version).await?;
            let tasks =
                (0..narrow::task(version.plan.tasks.len())).map(|task| Selected { task, index: None }).collect();
            let failed = || vec![TaskState::Failed, TaskState::UpstreamFailed];
            let states = if self.only_failed { failed() } else { Vec::new() };
            let (selection, version) = (Selection { tasks, ..Selection::default() }, Some(run.version));
            runs.push((run, ClearWish { selection, version, states }));
        }
        let (latest, run_note) = (self.latest, self.note);
        Ok(Clearing { runs, latest, run_note, instance_note: None, event: "clear_dag_run", refuse_running: false })
    }
}

pub(crate) async fn clear_run(
    State(app): State<App>,
    actor: Actor,
    path: RunPath,
    body: JsonBody,
) -> Result<Response, Refusal> {
    let mut fields = body.fields();
    let wish = Wish::read(&mut fields);
    fields.finish()?;
    let dry_run = wish.dry_run;
    let mut db = app.pages().await?;
    let clearing = wish.clearing(&app, &mut db, std::slice::from_ref(&path)).await?;
    if dry_run {
        return Ok(Json(preview(&app, &mut db, &clearing).await?).into_response());
    }
    clear(&app, &mut db, &actor, &clearing).await?;
    Ok(Json(DagRunView::from(find(&mut db, &path).await?)).into_response())
}

/// Airflow's `BulkDAGRunClearBody`: all of the runs or none.
pub(crate) async fn clear_runs(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    body: JsonBody,
) -> Result<Response, Refusal> {
    names.dags()?;
    let mut fields = body.fields();
    let wish = Wish::read(&mut fields);
    let named = fields.objects("dag_runs", |fields| {
        let named = (fields.text("dag_id"), fields.required_text("dag_run_id"));
        // Airflow's entity has these too; a clear says them once, for all.
        fields.word("state", &["queued", "success", "failed"]);
        fields.note();
        named
    });
    for name in PARTITIONS {
        if fields.text(name).is_some() {
            fields.refuse(Problem::value(format!("{name}: the DAG is not partitioned")));
        }
    }
    let named = named.unwrap_or_default();
    if named.is_empty() || named.len() > MOST_RUNS {
        fields.refuse(Problem::value(format!("dag_runs names 1 to {MOST_RUNS} runs")));
    }
    fields.finish()?;
    let mut paths = Vec::with_capacity(named.len());
    for (dag_id, run_id) in &named {
        paths.push(path(names.get("dag_id"), dag_id.as_deref(), run_id)?);
    }
    let dry_run = wish.dry_run;
    let mut db = app.pages().await?;
    let clearing = wish.clearing(&app, &mut db, &paths).await?;
    if dry_run {
        return Ok(Json(preview(&app, &mut db, &clearing).await?).into_response());
    }
    clear(&app, &mut db, &actor, &clearing).await?;
    let mut dag_runs = Vec::with_capacity(paths.len());
    for path in &paths {
        dag_runs.push(DagRunView::from(find(&mut db, path).await?));
    }
    Ok(Json(DagRunPage::whole(dag_runs)).into_response())
}
