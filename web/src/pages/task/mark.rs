//! `…/tasks/{task_id}/{map_index}/mark`: marks an instance after a confirmation. `…/note`: sets its note.

use crate::api::dag_runs::tell;
use crate::api::task_instances::{Note, TaskInstancePatch, carry_out};
use crate::extract::{Actor, Form, MappedPath, Query, no_such_instance};
use crate::pages::home::task_href;
use crate::pages::run::change::{ChangePage, href, patched, read_note};
use crate::pages::run::{RunHead, find, the_ledger};
use crate::pages::{Shell, encoded, html, see_other};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_spec::state::TaskState;
use orch_store::StoreError;
use orch_store::instance::get_instance;
use orch_store::locks::Locks;
use sqlx::Connection;

pub(crate) const ENDS: [(TaskState, &str, bool); 3] = [
    (TaskState::Success, "Mark as success", false),
    (TaskState::Skipped, "Mark as skipped", false),
    (TaskState::Failed, "Mark as failed", true),
];

/// Asks for confirmation. `?to=failed` offers only to stop the instance.
pub(crate) async fn ask(
    State(app): State<App>,
    shell: Shell,
    path: MappedPath,
    query: Query,
) -> Result<Response, Refusal> {
    let MappedPath { task, map_index } = path;
    let mut db = app.pages().await?;
    let run = find(&mut db, &task.run).await?;
    let found = get_instance(&mut db, &mut app.versions.clone(), run.id, &task.task_id, map_index).await?;
    let instance = found.ok_or_else(|| no_such_instance(&task.run, &task.task_id, map_index))?;
    let head = RunHead::new(&run, shell.now);
    let stops = query.text("to") == Some("failed") && !instance.state.is_finished();
    let ends =
        ENDS.into_iter().filter(|(state, ..)| *state != instance.state && (!stops || *state == TaskState::Failed));
    let ends = ends.map(|(state, words, danger)| (state, if stops { "Stop it" } else { words }, danger));
    let sentence = match instance.state {
        TaskState::Running | TaskState::Restarting if stops => {
            "Its process ends, it has failed, and it is not tried again."
        }
        TaskState::Running | TaskState::Restarting => "It runs now and is stopped.",
        _ if stops => "It has failed and does not begin any more.",
        state if state.is_finished() => "After success or skipped, what failed below because of it runs again.",
        _ => "It does not begin any more.",
    };
    let name = if map_index >= 0 { format!("{} [{map_index}]", task.task_id) } else { task.task_id.to_string() };
    let sentence = format!("It is {} now. {sentence}", parts::words(instance.state.as_str()));
    let action = format!("tasks/{}/{map_index}/mark", encoded(&task.task_id));
    let element = if map_index >= 0 { format!("/{map_index}") } else { String::new() };
    let (dag, of_run) = (encoded(&run.dag_id), encoded(&run.run_id));
    let place = format!("dags/{dag}/dagRuns/{of_run}/taskInstances/{}{element}", encoded(&task.task_id));
    let page = ChangePage {
        command: patched(&place, "success"),
        buttons: ends.map(|(state, words, danger)| (state.as_str(), words.to_string(), danger)).collect(),
        back: task_href(&head.href, &task.task_id, map_index),
        ..ChangePage::asking(shell, head, format!("{} {name}?", if stops { "Stop" } else { "Mark" }), sentence, &action)
    };
    html(StatusCode::OK, &page)
}

pub(crate) fn wished(form: &Form) -> Result<TaskState, Refusal> {
    let wished = form.text("do").unwrap_or_default();
    let to = ENDS.into_iter().map(|(state, ..)| state).find(|state| state.as_str() == wished);
    to.ok_or_else(|| Refusal::bad_request("an instance is marked as `success`, `skipped` or `failed`"))
}

pub(crate) async fn mark(
    State(app): State<App>,
    actor: Actor,
    path: MappedPath,
    form: Form,
) -> Result<Response, Refusal> {
    carry(&app, &actor, &path, &TaskInstancePatch { state: Some(wished(&form)?), ..TaskInstancePatch::default() }).await
}

/// `POST …/note`: sets the note; an empty text removes it.
pub(crate) async fn note(
    State(app): State<App>,
    actor: Actor,
    path: MappedPath,
    form: Form,
) -> Result<Response, Refusal> {
    carry(
        &app,
        &actor,
        &path,
        &TaskInstancePatch { note: Some(Note(read_note(&form)?)), ..TaskInstancePatch::default() },
    )
    .await
}

async fn carry(app: &App, actor: &Actor, path: &MappedPath, wish: &TaskInstancePatch) -> Result<Response, Refusal> {
    let MappedPath { task, map_index } = path;
    let mut db = app.hot().await?;
    let run = find(&mut db, &task.run).await?;
    let missing = || no_such_instance(&task.run, &task.task_id, *map_index);
    let index = the_ledger(app, &mut db, &run).await?.version.plan.index_of(&task.task_id).ok_or_else(missing)?;
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    carry_out(app, &mut tx, Locks::begin(), actor, &[(run.clone(), vec![(index, *map_index)])], wish).await?;
    tx.commit().await.map_err(StoreError::from)?;
    tell(app);
    Ok(see_other(&task_href(&href(&run), &task.task_id, *map_index)))
}
