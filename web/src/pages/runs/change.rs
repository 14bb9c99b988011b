//! `/runs/change?run=…&run=…&do=…`: clears, marks, stops or deletes several runs after a confirmation.

use crate::auth::{Caller, Role};
use crate::extract::{Actor, Form, Query};
use crate::pages::bulk::{BulkLine, BulkPage};
use crate::pages::{Shell, encoded, html, local, see_other};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::{App, Inner};
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::select::Selection;
use orch_core::transition::{RunEnd, Selected};
use orch_deeds::instance::{self, ClearInstances, ClearOptions};
use orch_spec::state::{RunState, TaskState};
use orch_store::StoreError;
use orch_store::clear::{ClearScope, would_clear};
use orch_store::locks::{Dags, Locks};
use orch_store::narrow;
use orch_store::run::{DeleteRun, EndRun, RunDetails, run_by_uuid};
use orch_store::version::Version;
use sqlx::{Connection as _, PgConnection};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Maximum number of runs per change: one page of the list.
const MOST_RUNS: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Do {
    Clear { only_failed: bool },
    Mark(RunEnd),
    Stop,
    Delete,
}

/// Returns the selected runs that still exist, without duplicates, in the order of the selection.
async fn chosen<'a>(db: &mut PgConnection, ids: impl Iterator<Item = &'a str>) -> Result<Vec<RunDetails>, Refusal> {
    let (mut seen, mut runs) = (BTreeSet::new(), Vec::new());
    for text in ids {
        let id = Uuid::parse_str(text).map_err(|_| Refusal::bad_request("`run` is the uuid of a run"))?;
        if !seen.insert(id) {
            continue;
        }
        if seen.len() > MOST_RUNS {
            return Err(Refusal::bad_request(format!("at most {MOST_RUNS} runs are changed at once")));
        }
        runs.extend(run_by_uuid(db, id).await?);
    }
    Ok(runs)
}

fn selection(of: &Version, only_failed: bool) -> ClearScope {
    let tasks = (0..narrow::task(of.plan.tasks.len())).map(|task| Selected { task, index: None }).collect();
    let failed = vec![TaskState::Failed, TaskState::UpstreamFailed];
    ClearScope {
        selection: Selection { tasks, upstream: false, downstream: false },
        version: Some(of.id),
        states: if only_failed { failed } else { Vec::new() },
    }
}

pub(crate) async fn ask(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let runs = chosen(&mut db, query.all("run")).await?;
    let back = query.text("back").and_then(local).unwrap_or("/runs").to_string();
    let wished = query.text("do").unwrap_or("clear");
    let mut fields: Vec<(&'static str, String)> = runs.iter().map(|run| ("run", run.id.to_string())).collect();
    fields.push(("back", back.clone()));
    let mut page = BulkPage {
        list: ("/runs", "Runs"),
        title: String::new(),
        sentence: String::new(),
        lines: runs.iter().map(line).collect(),
        options: Vec::new(),
        fields,
        buttons: Vec::new(),
        action: "/runs/change",
        back,
        command: commands(wished, &runs),
        shell,
    };
    let open = runs.iter().filter(|run| !run.state.is_finished()).count();
    let said = parts::counted(runs.len(), "run");
    match wished {
        "stop" => {
            page.title = format!("Stop {said}?");
            let verb = if open == 1 { "is active and fails" } else { "are active and fail" };
            page.sentence =
                format!("{open} of them {verb}. Running task instances are stopped, and others will not run.");
            if open > 0 {
                page.buttons.push(("stop", format!("Stop {}", parts::counted(open, "run")), true));
            }
        }
        "mark" => {
            page.title = format!("Mark {said}?");
            page.sentence = "Running task instances are stopped; finished ones keep their states.".into();
            for (value, state, words) in
                [("success", RunState::Success, "success"), ("failed", RunState::Failed, "failed")]
            {
                let others = runs.iter().filter(|run| run.state != state).count();
                if others > 0 {
                    page.buttons.push((value, format!("Mark {others} as {words}"), value == "failed"));
                }
            }
        }
        "delete" => {
            page.title = format!("Delete {said}?");
            let running = runs.iter().filter(|run| run.state == RunState::Running).count();
            let kept = match running {
                0 => String::new(),
                1 => " One runs and is kept: stop it first.".into(),
                many => format!(" {many} run and are kept: stop them first."),
            };
            page.sentence = format!("They are gone for good, with their states, logs and outputs.{kept}");
            let gone = runs.len() - running;
            if gone > 0 && page.shell.can(Role::Op) {
                page.buttons.push(("delete", format!("Delete {}", parts::counted(gone, "run")), true));
            } else if gone > 0 {
                page.sentence = "Deleting runs asks for the role Op or Admin.".into();
            }
        }
        _ => clear_page(&app, &mut db, &mut page, &runs, &query).await?,
    }
    if runs.is_empty() {
        page.sentence = "No run is chosen: choose some in the list, then what to do with them.".into();
        page.buttons.clear();
        page.options.clear();
    }
    html(StatusCode::OK, &page)
}

async fn clear_page(
    app: &Inner,
    db: &mut PgConnection,
    page: &mut BulkPage,
    runs: &[RunDetails],
    query: &Query,
) -> Result<(), Refusal> {
    // Default for the first view: only failed tasks if all runs failed.
    let first = query.text("chosen").is_none();
    let mut only_failed = if first {
        !runs.is_empty() && runs.iter().all(|run| run.state == RunState::Failed)
    } else {
        query.text("only_failed").is_some()
    };
    let mut counts = would(app, db, runs, only_failed).await?;
    if first && only_failed && counts.iter().sum::<usize>() == 0 {
        // The runs were stopped or marked as failed, so they have no failed instances.
        only_failed = false;
        counts = would(app, db, runs, only_failed).await?;
    }
    let total: usize = counts.iter().sum();
    for (line, count) in page.lines.iter_mut().zip(&counts) {
        line.note = format!("{}: {}", line.note, parts::counted(*count, "task instance"));
    }
    let concerned = counts.iter().filter(|count| **count > 0).count();
    page.title = format!("Clear {}?", parts::counted(runs.len(), "run"));
    page.sentence = match total {
        0 => "No task instance of them is finished or running, so there is nothing to clear.".into(),
        _ => format!(
            "{} of {} will run again, and the runs restart; running ones are stopped first. Logs and outputs of \
             earlier tries stay until they are overwritten.",
            parts::counted(total, "task instance"),
            parts::counted(concerned, "run")
        ),
    };
    page.options.push(("only_failed", "only failed", only_failed));
    if total > 0 {
        page.buttons.push(("clear", format!("Clear {total}"), false));
    }
    Ok(())
}

/// Returns how many instances a clear would affect in each run.
async fn would(
    app: &Inner,
    db: &mut PgConnection,
    runs: &[RunDetails],
    only_failed: bool,
) -> Result<Vec<usize>, Refusal> {
    let mut versions = app.versions.clone();
    let mut counts = Vec::with_capacity(runs.len());
    for run in runs {
        let version = versions.get(db, run.version).await?;
        let wish = selection(&version, only_failed);
        let cleared = would_clear(db, &mut versions, run.id, &wish).await?;
        counts.push(cleared.map_or(0, |cleared| cleared.instances.len()));
    }
    Ok(counts)
}

fn line(run: &RunDetails) -> BulkLine {
    BulkLine {
        state: parts::state(run.state.as_str()),
        name: run.dag_id.clone(),
        href: format!("{}/runs/{}", parts::dag_href(&run.dag_id), encoded(&run.run_id)),
        note: run.run_id.clone(),
    }
}

fn commands(wished: &str, runs: &[RunDetails]) -> String {
    let command = |run: &RunDetails| match wished {
        "stop" => Some(format!("orch runs cancel {} '{}'", run.dag_id, run.run_id)),
        "clear" => Some(format!("orch tasks clear {} --run-id '{}'", run.dag_id, run.run_id)),
        _ => None,
    };
    runs.iter().filter_map(command).collect::<Vec<_>>().join("\n")
}

pub(crate) async fn change(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    actor: Actor,
    form: Form,
) -> Result<Response, Refusal> {
    let wish = match form.text("do") {
        Some("clear") => Do::Clear { only_failed: form.text("only_failed").is_some() },
        Some("success") => Do::Mark(RunEnd::Success),
        Some("failed") => Do::Mark(RunEnd::Failed),
        Some("stop") => Do::Stop,
        Some("delete") if caller.role >= Role::Op => Do::Delete,
        Some("delete") => return Err(Refusal::Forbidden),
        _ => return Err(Refusal::bad_request("runs are cleared, marked, stopped or deleted")),
    };
    let mut db = app.hot().await?;
    let runs = chosen(&mut db, form.all("run")).await?;
    let mut changed = false;
    for run in &runs {
        let mut tx = db.begin().await.map_err(StoreError::from)?;
        changed |= carry_out(&app, &mut tx, Locks::begin(), &actor, run, wish).await?;
        tx.commit().await.map_err(StoreError::from)?;
    }
    if changed {
        orch_deeds::run::ENDED.into_iter().for_each(|hint| app.hints.give(hint));
    }
    Ok(see_other(form.text("back").and_then(local).unwrap_or("/runs")))
}

/// Returns true if the run was changed. The audit log has one record per changed run.
async fn carry_out(
    app: &Inner,
    tx: &mut PgConnection,
    locks: Locks<Dags>,
    actor: &Actor,
    run: &RunDetails,
    wish: Do,
) -> Result<bool, Refusal> {
    let ended = |ended: EndRun| matches!(ended, EndRun::Ended(_));
    match wish {
        Do::Mark(to) => Ok(ended(orch_deeds::run::mark(tx, locks, &app.versions, actor, run, to).await?)),
        Do::Stop => Ok(ended(orch_deeds::run::stop(tx, locks, &app.versions, actor, run).await?)),
        Do::Delete => Ok(orch_deeds::run::delete(tx, locks, &app.versions, actor, run).await? == DeleteRun::Deleted),
        Do::Clear { only_failed } => {
            let version = app.versions.get(tx, run.version).await?;
            let wish = selection(&version, only_failed);
            let options = ClearOptions { whole_run: true, ..ClearOptions::default() };
            let cleared = instance::clear(tx, &locks.runs(), &app.versions, actor, (run, &wish), &options).await?;
            Ok(matches!(cleared, ClearInstances::Cleared(cleared) if !cleared.instances.is_empty()))
        }
    }
}
