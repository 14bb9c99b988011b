//! What people do to a run: stop it, mark it, clear instances of it. Each has a page that says first what will change; the
//! button repeats the number.

use super::{RunHead, find, the_ledger};
use crate::auth::Caller;
use crate::extract::{Form, Peer, Query, RunPath, no_such_instance, no_such_run};
use crate::pages::{Shell, encoded, html, see_other};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::{App, Inner};
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::plan::Plan;
use orch_core::select::Selection;
use orch_core::state::{RunState, TaskState};
use orch_core::transition::{RunEnd, Selected};
use orch_store::audit::Deed;
use orch_store::clear::{ClearWish, clear_instances, count_clear};
use orch_store::hint::Hint;
use orch_store::instance::state_counts;
use orch_store::run::{EndRun, RunDetails, cancel_run, set_run_state, start_queued_runs};
use orch_store::step::Stepper;
use serde_json::json;
use sqlx::PgConnection;
use std::net::IpAddr;

#[derive(Template)]
#[template(path = "pages/run/change.html")]
pub(crate) struct ChangePage {
    pub(crate) shell: Shell,
    pub(crate) head: RunHead,
    pub(crate) title: String,
    pub(crate) sentence: String,
    /// What changes, shortened.
    pub(crate) lines: Vec<(parts::State, String)>,
    pub(crate) more: usize,
    /// Of the form that shows the same for another choice.
    pub(crate) choices: Option<Choices>,
    /// Name, value and words of each button; the second part of the pair says that it is dangerous.
    pub(crate) buttons: Vec<(&'static str, String, bool)>,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) action: String,
    /// Where one goes who changes nothing.
    pub(crate) back: String,
}

impl ChangePage {
    /// Nothing is listed, chosen or offered yet. `action`: below the run.
    pub(crate) fn asking(shell: Shell, head: RunHead, title: String, sentence: String, action: &str) -> ChangePage {
        ChangePage {
            action: format!("{}/{action}", head.href),
            back: head.href.clone(),
            shell,
            head,
            title,
            sentence,
            lines: Vec::new(),
            more: 0,
            choices: None,
            buttons: Vec::new(),
            fields: Vec::new(),
        }
    }
}

pub(crate) struct Choices {
    task: String,
    map_index: String,
    upstream: bool,
    downstream: bool,
    only_failed: bool,
}

const SHOWN: usize = 50;

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
        format!(
            "The run becomes failed. {running} task instances that run or wait are stopped, and what has not begun never will."
        )
    };
    let buttons = if run.state.is_finished() { vec![] } else { vec![("stop", "Stop the run".to_string(), true)] };
    let asking = ChangePage::asking(shell, head, "Stop this run?".into(), sentence, "cancel");
    let page = ChangePage { buttons, ..asking };
    html(StatusCode::OK, &page)
}

pub(crate) async fn cancel(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Peer(from): Peer,
    path: RunPath,
    _: Form,
) -> Result<Response, Refusal> {
    let mut db = app.hot().await?;
    let run = find(&mut db, &path).await?;
    let ended = cancel_run(&mut db, &mut app.versions.clone(), run.id).await?;
    finish(&app, &mut db, &run, ended, (&caller, from), "cancel_run").await
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
        "It is {} now. What runs is stopped; task instances that are over keep their states.",
        parts::words(run.state.as_str())
    );
    let asking = ChangePage::asking(shell, head, "Mark this run?".into(), sentence, "mark");
    let page = ChangePage { buttons, ..asking };
    html(StatusCode::OK, &page)
}

pub(crate) async fn mark(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Peer(from): Peer,
    path: RunPath,
    form: Form,
) -> Result<Response, Refusal> {
    let to = match form.text("do") {
        Some("success") => RunEnd::Success,
        Some("failed") => RunEnd::Failed,
        _ => return Err(Refusal::bad_request("a run is marked as `success` or `failed`")),
    };
    let mut db = app.hot().await?;
    let run = find(&mut db, &path).await?;
    let ended = set_run_state(&mut db, &mut app.versions.clone(), run.id, to).await?;
    finish(&app, &mut db, &run, ended, (&caller, from), "mark_run").await
}

async fn finish(
    app: &Inner,
    db: &mut PgConnection,
    run: &RunDetails,
    ended: EndRun,
    (caller, from): (&Caller, IpAddr),
    event: &str,
) -> Result<Response, Refusal> {
    match ended {
        EndRun::NoSuchRun => return Err(no_such_run(&run.dag_id, &run.run_id)),
        EndRun::AlreadyOver(_) => {}
        EndRun::Ended(state) => {
            let deed = Deed {
                actor: &caller.name,
                event,
                dag_id: Some(&run.dag_id),
                run_id: Some(&run.run_id),
                extra: Some(json!({ "state": state })),
                ..Deed::default()
            };
            app.did(db, from, deed).await?;
            start_queued_runs(db, &mut app.versions.clone(), &run.dag_id).await?;
            [Hint::Stop, Hint::Run, Hint::Ready].into_iter().for_each(|hint| app.hints.give(hint));
        }
    }
    Ok(see_other(&href(run)))
}

fn href(run: &RunDetails) -> String {
    format!("{}/runs/{}", parts::dag_href(&run.dag_id), encoded(&run.run_id))
}

/// `GET …/clear?task=…&map_index=…&upstream=on&downstream=on&only_failed=on`: what that would clear.
pub(crate) async fn ask_clear(
    State(app): State<App>,
    shell: Shell,
    path: RunPath,
    query: Query,
) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let run = find(&mut db, &path).await?;
    let head = RunHead::new(&run, shell.now);
    let text = |name: &str| query.text(name).unwrap_or_default().to_string();
    let task = text("task");
    // The first time: what people mostly want. A task with all that stands below it, or what failed of a run.
    let first = query.text("chosen").is_none();
    let on = |name: &str| query.text(name).is_some();
    let mut choices = Choices {
        map_index: text("map_index"),
        upstream: on("upstream"),
        downstream: if first { !task.is_empty() } else { on("downstream") },
        only_failed: if first { task.is_empty() && run.state == RunState::Failed } else { on("only_failed") },
        task,
    };
    let ledger = the_ledger(&app, &mut db, &run).await?;
    let plan = &ledger.version.plan;
    let wish = wish(&path, plan, &choices)?;
    let mut versions = app.versions.clone();
    let missing = || no_such_run(&run.dag_id, &run.run_id);
    let mut cleared = count_clear(&mut db, &mut versions, run.id, &wish, SHOWN as i64).await?.ok_or_else(missing)?;
    if first && choices.only_failed && cleared.count == 0 {
        // It was stopped or marked: nothing of it failed by itself.
        choices.only_failed = false;
        let wish = self::wish(&path, plan, &choices)?;
        cleared = count_clear(&mut db, &mut versions, run.id, &wish, SHOWN as i64).await?.ok_or_else(missing)?;
    }
    let lines = cleared.first.iter().map(|(task, index, state)| {
        let id = plan.task_id(*task);
        let name = if *index >= 0 { format!("{id} [{index}]") } else { id.to_string() };
        (parts::state(state.as_str()), name)
    });
    let count = cleared.count;
    let what = if count == 1 { "1 task instance begins".into() } else { format!("{count} task instances begin") };
    let sentence = match count {
        0 => "Nothing here is over or runs, so there is nothing to clear.".to_string(),
        _ => format!(
            "{what} anew{}{}. Logs and outputs of earlier tries stay until they are written again.",
            if cleared.revived { ", and with them the run" } else { "" },
            if cleared.stopping { "; what runs is stopped first" } else { "" }
        ),
    };
    let flag = |name, on: bool| on.then(|| (name, "on".to_string()));
    let mut fields = vec![("task", choices.task.clone()), ("map_index", choices.map_index.clone())];
    fields.extend(
        [
            flag("upstream", choices.upstream),
            flag("downstream", choices.downstream),
            flag("only_failed", choices.only_failed),
        ]
        .into_iter()
        .flatten(),
    );
    let title = if choices.task.is_empty() { "Clear this run?".into() } else { format!("Clear {}?", choices.task) };
    let page = ChangePage {
        lines: lines.collect(),
        more: count.saturating_sub(SHOWN),
        buttons: if count == 0 { vec![] } else { vec![("clear", format!("Clear {count}"), false)] },
        fields,
        choices: Some(choices),
        ..ChangePage::asking(shell, head, title, sentence, "clear")
    };
    html(StatusCode::OK, &page)
}

pub(crate) async fn clear(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Peer(from): Peer,
    path: RunPath,
    form: Form,
) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let run = find(&mut db, &path).await?;
    let on = |name: &str| form.text(name).is_some();
    let text = |name: &str| form.text(name).unwrap_or_default().to_string();
    let choices = Choices {
        task: text("task"),
        map_index: text("map_index"),
        upstream: on("upstream"),
        downstream: on("downstream"),
        only_failed: on("only_failed"),
    };
    let ledger = the_ledger(&app, &mut db, &run).await?;
    let wish = wish(&path, &ledger.version.plan, &choices)?;
    let mut versions = app.versions.clone();
    let cleared = clear_instances(&mut db, &mut Stepper::default(), &mut versions, run.id, &wish).await?;
    let cleared = cleared.ok_or_else(|| no_such_run(&run.dag_id, &run.run_id))?;
    if !cleared.instances.is_empty() {
        let deed = Deed {
            actor: &caller.name,
            event: "clear_task_instances",
            dag_id: Some(&run.dag_id),
            run_id: Some(&run.run_id),
            task_id: Some(choices.task.as_str()).filter(|task| !task.is_empty()),
            extra: Some(json!({ "instances": cleared.instances.len() })),
            ..Deed::default()
        };
        app.did(&mut db, from, deed).await?;
        [Hint::Ready, Hint::Run].into_iter().for_each(|hint| app.hints.give(hint));
        if cleared.stopping {
            app.hints.give(Hint::Stop);
        }
    }
    Ok(see_other(&href(&run)))
}

fn wish(path: &RunPath, plan: &Plan, choices: &Choices) -> Result<ClearWish, Refusal> {
    let index = choices.map_index.parse::<i32>().ok().filter(|index| *index >= 0);
    let tasks = if choices.task.is_empty() {
        (0..plan.tasks.len() as u16).map(|task| Selected { task, index: None }).collect()
    } else {
        let missing = || no_such_instance(path, &choices.task, index.unwrap_or(-1));
        vec![Selected { task: plan.index_of(&choices.task).ok_or_else(missing)?, index }]
    };
    let failed = vec![TaskState::Failed, TaskState::UpstreamFailed];
    Ok(ClearWish {
        selection: Selection { tasks, upstream: choices.upstream, downstream: choices.downstream },
        states: if choices.only_failed { failed } else { Vec::new() },
    })
}
