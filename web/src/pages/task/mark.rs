//! `…/tasks/{task_id}/{map_index}/mark`: somebody says how an instance ended. The page says first what follows.

use crate::auth::Caller;
use crate::extract::{Form, MappedPath, Peer, no_such_instance};
use crate::pages::home::task_href;
use crate::pages::run::change::{ChangePage, patched};
use crate::pages::run::{RunHead, find, the_ledger};
use crate::pages::{Shell, encoded, html, see_other};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::state::TaskState;
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::instance::get_instance;
use orch_store::mark::{Mark, mark_instance};
use orch_store::run::start_queued_runs;
use serde_json::json;

pub(crate) const ENDS: [(TaskState, &str, bool); 3] = [
    (TaskState::Success, "Mark as success", false),
    (TaskState::Skipped, "Mark as skipped", false),
    (TaskState::Failed, "Mark as failed", true),
];

pub(crate) async fn ask(State(app): State<App>, shell: Shell, path: MappedPath) -> Result<Response, Refusal> {
    let MappedPath { task, map_index } = path;
    let mut db = app.pages().await?;
    let run = find(&mut db, &task.run).await?;
    let found = get_instance(&mut db, &mut app.versions.clone(), run.id, &task.task_id, map_index).await?;
    let instance = found.ok_or_else(|| no_such_instance(&task.run, &task.task_id, map_index))?;
    let head = RunHead::new(&run, shell.now);
    let ends = ENDS.into_iter().filter(|(state, ..)| *state != instance.state);
    let sentence = match instance.state {
        TaskState::Running | TaskState::Restarting => "It runs now and is stopped.",
        state if state.is_finished() => "What followed from it and is over stays as it is; clear that to run it again.",
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
        ..ChangePage::asking(shell, head, format!("Mark {name}?"), sentence, &action)
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
    Extension(caller): Extension<Caller>,
    Peer(from): Peer,
    path: MappedPath,
    form: Form,
) -> Result<Response, Refusal> {
    let MappedPath { task, map_index } = path;
    let to = wished(&form)?;
    let mut db = app.hot().await?;
    let run = find(&mut db, &task.run).await?;
    let missing = || no_such_instance(&task.run, &task.task_id, map_index);
    let index = the_ledger(&app, &mut db, &run).await?.version.plan.index_of(&task.task_id).ok_or_else(missing)?;
    let mut versions = app.versions.clone();
    match mark_instance(&mut db, &mut versions, run.id, (index, map_index), to).await? {
        Mark::NoSuchInstance => return Err(missing()),
        Mark::NotYet => {
            let text = "it cannot be told yet how it ends: it waits for its turn, or its run has not begun";
            return Err(Refusal::plain(StatusCode::CONFLICT, text));
        }
        Mark::Same => {}
        Mark::Marked(was) => {
            let deed = Deed {
                actor: &caller.name,
                event: "mark_task_instance",
                dag_id: Some(&run.dag_id),
                run_id: Some(&run.run_id),
                task_id: Some(&task.task_id),
                map_index: Some(map_index),
                extra: Some(json!({ "from_state": was, "state": to })),
            };
            app.did(&mut db, from, deed).await?;
            start_queued_runs(&mut db, &mut versions, &run.dag_id).await?;
            [Hint::Ready, Hint::Run, Hint::Stop].into_iter().for_each(|hint| app.hints.give(hint));
        }
    }
    let href = format!("{}/runs/{}", parts::dag_href(&run.dag_id), encoded(&run.run_id));
    Ok(see_other(&task_href(&href, &task.task_id, map_index)))
}
