//! `…/mark-chosen?pick=…&pick=…`: marks several instances of a run after a confirmation that lists them.

use super::change::{ChangePage, href};
use super::tasks::{picks, same_version};
use super::{RunHead, find, the_ledger};
use crate::api::dag_runs::tell;
use crate::api::task_instances::{TaskInstancePatch, carry_out};
use crate::extract::{Actor, Form, Query, RunPath};
use crate::pages::task::mark::{ENDS, wished};
use crate::pages::{Shell, html, see_other};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::plan::TaskIdx;
use orch_store::StoreError;
use orch_store::instance::get_instance;
use orch_store::locks::Locks;
use orch_store::version::Version;
use sqlx::Connection;

/// Returns the selected instances whose tasks exist in the run's version.
fn known<'a>(
    texts: impl Iterator<Item = &'a str>,
    read_in: Option<&str>,
    version: &Version,
) -> Result<Vec<(TaskIdx, i32)>, Refusal> {
    same_version(read_in.and_then(|read_in| read_in.parse().ok()), version)?;
    let mut picks = picks(texts)?;
    picks.retain(|(task, _)| usize::from(*task) < version.plan.tasks.len());
    Ok(picks)
}

pub(crate) async fn ask(
    State(app): State<App>,
    shell: Shell,
    path: RunPath,
    query: Query,
) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let run = find(&mut db, &path).await?;
    let version = the_ledger(&app, &mut db, &run).await?.version;
    let mut lines = Vec::new();
    let mut chosen = Vec::new();
    for (task, index) in known(query.all("pick"), query.text("version"), &version)? {
        let id = version.plan.task_id(task);
        let found = get_instance(&mut db, &mut app.versions.clone(), run.id, id, index).await?;
        let Some(instance) = found else { continue };
        chosen.push((task, index, instance.state));
        let name = if index >= 0 { format!("{id} [{index}]") } else { id.to_string() };
        lines.push((parts::state(instance.state.as_str()), name));
    }
    let buttons = ENDS.into_iter().filter_map(|(state, _, danger)| {
        let others = chosen.iter().filter(|(_, _, now)| *now != state).count();
        (others > 0).then(|| (state.as_str(), format!("Mark {others} as {}", parts::words(state.as_str())), danger))
    });
    let head = RunHead::new(&run, shell.now);
    let sentence = if chosen.is_empty() {
        "No instance is chosen: choose some in the table, then what to do with them.".into()
    } else {
        "Running instances are stopped. After success or skipped, tasks that failed because of them run again."
            .to_string()
    };
    let title = format!("Mark {}?", parts::counted(chosen.len(), "task instance"));
    let picked = chosen.iter().map(|(task, index, _)| ("pick", format!("{task}.{index}")));
    let page = ChangePage {
        buttons: buttons.collect(),
        fields: picked.chain([("version", version.id.to_string())]).collect(),
        back: format!("{}/tasks", head.href),
        lines,
        ..ChangePage::asking(shell, head, title, sentence, "mark-chosen")
    };
    html(StatusCode::OK, &page)
}

pub(crate) async fn mark(State(app): State<App>, actor: Actor, path: RunPath, form: Form) -> Result<Response, Refusal> {
    let wish = TaskInstancePatch { state: Some(wished(&form)?), ..TaskInstancePatch::default() };
    let mut db = app.hot().await?;
    let run = find(&mut db, &path).await?;
    let version = the_ledger(&app, &mut db, &run).await?.version;
    for instance in known(form.all("pick"), form.text("version"), &version)? {
        let mut tx = db.begin().await.map_err(StoreError::from)?;
        match carry_out(&app, &mut tx, Locks::begin(), &actor, &[(run.clone(), vec![instance])], &wish).await {
            Ok(()) => tx.commit().await.map_err(StoreError::from)?,
            // Instances that cannot be marked now stay unchanged; the table shows the state of each.
            Err(Refusal::Plain { status: StatusCode::CONFLICT, .. }) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    tell(&app);
    Ok(see_other(&format!("{}/tasks", href(&run))))
}
