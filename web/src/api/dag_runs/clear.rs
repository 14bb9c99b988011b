//! `POST …/dagRuns/{dag_run_id}/clear`: the run runs again, or what would.

use super::change::MOST_NOTE_CHARS;
use super::find;
use super::view::DagRunView;
use crate::api::clearing::{Clearing, clear, preview};
use crate::extract::{Actor, JsonBody, RunPath};
use crate::problem::Problem;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use orch_core::plan::TaskIdx;
use orch_core::select::Selection;
use orch_core::state::TaskState;
use orch_core::transition::Selected;
use orch_store::clear::ClearWish;

/// Airflow's `DAGRunClearBody`.
pub(crate) async fn clear_run(
    State(app): State<App>,
    actor: Actor,
    path: RunPath,
    body: JsonBody,
) -> Result<Response, Refusal> {
    let mut fields = body.fields();
    let dry_run = fields.flag("dry_run").unwrap_or(true);
    let only_failed = fields.flag("only_failed").unwrap_or(false);
    let only_new = fields.flag("only_new").unwrap_or(false);
    let latest = fields.flag("run_on_latest_version").unwrap_or(false);
    let note = fields.text("note");
    if only_failed && only_new {
        fields.refuse(Problem::value("only_failed and only_new cannot both be true"));
    }
    if note.as_ref().is_some_and(|note| note.chars().count() > MOST_NOTE_CHARS) {
        fields.refuse(Problem::value(format!("a note has at most {MOST_NOTE_CHARS} characters")));
    }
    fields.finish()?;
    if only_new {
        return Err(Refusal::bad_request("only_new is not supported: clear with run_on_latest_version"));
    }
    let mut db = app.pages().await?;
    let run = find(&mut db, &path).await?;
    let version = app.versions.get(&mut db, run.version).await?;
    let tasks = (0..version.plan.tasks.len() as TaskIdx).map(|task| Selected { task, index: None }).collect();
    let states = if only_failed { vec![TaskState::Failed, TaskState::UpstreamFailed] } else { Vec::new() };
    let wish = ClearWish { selection: Selection { tasks, ..Selection::default() }, states };
    let clearing = Clearing { runs: vec![(run, wish)], latest, note, event: "clear_dag_run", refuse_running: false };
    if dry_run {
        return Ok(Json(preview(&app, &mut db, &clearing).await?).into_response());
    }
    clear(&app, &mut db, &actor, &clearing).await?;
    Ok(Json(DagRunView::from(find(&mut db, &path).await?)).into_response())
}
