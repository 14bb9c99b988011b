//! User actions on a run: stop, mark, edit the note. A confirmation page shows what a stop or mark will change.

use super::{RunHead, find};
use crate::extract::{Actor, Form, RunPath, no_such_run};
use crate::pages::dag::trigger::MOST_NOTE_CHARS;
use crate::pages::{Shell, encoded, html, see_other};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::{App, Inner};
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::transition::RunEnd;
use orch_store::instance::state_counts;
use orch_store::locks::Locks;
use orch_store::run::{EndRun, RunDetails};
use serde_json::json;

#[derive(Template)]
#[template(path = "pages/run/change.html")]
pub(crate) struct ChangePage {
    pub(crate) shell: Shell,
    pub(crate) head: RunHead,
    pub(crate) title: String,
    pub(crate) sentence: String,
    /// Instances that change, truncated.
    pub(crate) lines: Vec<(parts::State, String)>,
    pub(crate) more: usize,
    /// Options of the preview: name, label, and whether it is selected.
    pub(crate) options: Vec<(&'static str, &'static str, bool)>,
    /// Value, label, and whether the button is dangerous.
    pub(crate) buttons: Vec<(&'static str, String, bool)>,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) action: String,
    /// Equivalent shell command.
    pub(crate) command: String,
    /// Address of the link that cancels the action.
    pub(crate) back: String,
}

impl ChangePage {
    /// Returns a confirmation page without lines, options and buttons. `action` is the path below the run's address.
    pub(crate) fn asking(shell: Shell, head: RunHead, title: String, sentence: String, action: &str) -> ChangePage {
        ChangePage {
            action: format!("{}/{action}", head.href),
            back: head.href.clone(),
            command: String::new(),
            shell,
            head,
            title,
            sentence,
            lines: Vec::new(),
            more: 0,
            options: Vec::new(),
            buttons: Vec::new(),
            fields: Vec::new(),
        }
    }
}

/// `GET …/cancel`
pub(crate) async fn ask_cancel(State(app): State<App>, shell: Shell, path: RunPath) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let run = find(&mut db, &path).await?;
    let head = RunHead::new(&run, shell.now);
    let running: i64 = state_counts(&mut db, run.id)
        .await?
        .into_iter()
        .filter(|(_, state, _)| !state.is_finished())
        .map(|(_, _, count)| count)
        .sum();
    let sentence = if run.state.is_finished() {
        format!("The run is over already: {}.", run.state)
    } else {
        let stopped = parts::counted(running, "active task instance");
        let are = if running == 1 { "is" } else { "are" };
        format!("The run fails. {stopped} {are} stopped, and tasks that have not started will not run.")
    };
    let buttons = if run.state.is_finished() { vec![] } else { vec![("stop", "Stop the run".to_string(), true)] };
    let asking = ChangePage::asking(shell, head, "Stop this run?".into(), sentence, "cancel");
    let command = format!("orch runs cancel {} '{}'", run.dag_id, run.run_id);
    let page = ChangePage { buttons, command, ..asking };
    html(StatusCode::OK, &page)
}

pub(crate) async fn cancel(State(app): State<App>, actor: Actor, path: RunPath, _: Form) -> Result<Response, Refusal> {
    let run = find(&mut *app.hot().await?, &path).await?;
    let ended = app
        .in_transaction(async |tx| Ok(orch_deeds::run::stop(tx, Locks::begin(), &app.versions, &actor, &run).await?));
    finish(&app, &run, ended.await?)
}

/// `GET …/mark`
pub(crate) async fn ask_mark(State(app): State<App>, shell: Shell, path: RunPath) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let run = find(&mut db, &path).await?;
    let head = RunHead::new(&run, shell.now);
    let mut buttons =
        vec![("success", "Mark as success".to_string(), false), ("failed", "Mark as failed".into(), true)];
    buttons.retain(|(to, ..)| *to != run.state.as_str());
    let sentence = format!(
        "It is {} now. Running task instances are stopped; finished ones keep their states.",
        parts::words(run.state.as_str())
    );
    let asking = ChangePage::asking(shell, head, "Mark this run?".into(), sentence, "mark");
    let path = format!("dags/{}/dagRuns/{}", encoded(&run.dag_id), encoded(&run.run_id));
    let page = ChangePage { buttons, command: patched(&path, "success"), ..asking };
    html(StatusCode::OK, &page)
}

/// Returns a `curl` command, because no `orch` command marks runs or instances.
pub(crate) fn patched(path: &str, state: &str) -> String {
    let body = json!({ "state": state });
    format!(
        "curl --request PATCH \"$ORCH_API_URL/api/v2/{path}\" \\\n  --header \"Authorization: Bearer $ORCH_API_TOKEN\" \\\n  --json '{body}'"
    )
}

pub(crate) async fn mark(State(app): State<App>, actor: Actor, path: RunPath, form: Form) -> Result<Response, Refusal> {
    let to = match form.text("do") {
        Some("success") => RunEnd::Success,
        Some("failed") => RunEnd::Failed,
        _ => return Err(Refusal::bad_request("a run is marked as `success` or `failed`")),
    };
    let run = find(&mut *app.hot().await?, &path).await?;
    let ended = app.in_transaction(async |tx| {
        Ok(orch_deeds::run::mark(tx, Locks::begin(), &app.versions, &actor, &run, to).await?)
    });
    finish(&app, &run, ended.await?)
}

/// `POST …/note`: sets the note of the run; an empty text removes it.
pub(crate) async fn note(State(app): State<App>, actor: Actor, path: RunPath, form: Form) -> Result<Response, Refusal> {
    let note = read_note(&form)?;
    let run = find(&mut *app.hot().await?, &path).await?;
    if run.note != note {
        app.in_transaction(async |tx| Ok(orch_deeds::run::note(tx, &actor, &run, note.as_deref()).await?)).await?;
    }
    Ok(see_other(&href(&run)))
}

/// Reads a note from a form. `None` removes the note.
pub(crate) fn read_note(form: &Form) -> Result<Option<String>, Refusal> {
    let text = form.text("note").unwrap_or_default().trim().replace("\r\n", "\n");
    if text.chars().count() > MOST_NOTE_CHARS {
        let text = format!("a note has at most {MOST_NOTE_CHARS} characters, this one has {}", text.chars().count());
        return Err(Refusal::plain(StatusCode::UNPROCESSABLE_ENTITY, text));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn finish(app: &Inner, run: &RunDetails, ended: EndRun) -> Result<Response, Refusal> {
    match ended {
        EndRun::NoSuchRun => return Err(no_such_run(&run.dag_id, &run.run_id)),
        EndRun::AlreadyOver(_) => {}
        EndRun::Ended(_) => orch_deeds::run::ENDED.into_iter().for_each(|hint| app.hints.give(hint)),
    }
    Ok(see_other(&href(run)))
}

pub(crate) fn href(run: &RunDetails) -> String {
    format!("{}/runs/{}", parts::dag_href(&run.dag_id), encoded(&run.run_id))
}
