//! `…/mark-chosen?pick=…&pick=…`: somebody says how several instances of a run ended, after a look at which.

use super::change::{ChangePage, href};
use super::tasks::pick_of;
use super::{RunHead, find, the_ledger};
use crate::auth::Caller;
use crate::extract::{Form, Peer, Query, RunPath};
use crate::pages::bulk::counted;
use crate::pages::task::mark::{ENDS, wished};
use crate::pages::{Shell, html, see_other};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::plan::{Plan, TaskIdx};
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::instance::get_instance;
use orch_store::mark::{Mark, mark_instance};
use orch_store::run::start_queued_runs;
use serde_json::json;

/// A page of the list.
const MOST_PICKS: usize = 200;

fn picks<'a>(texts: impl Iterator<Item = &'a str>, plan: &Plan) -> Result<Vec<(TaskIdx, i32)>, Refusal> {
    let picks: Option<Vec<_>> = texts.map(pick_of).collect();
    let mut picks = picks.ok_or_else(|| Refusal::bad_request("`pick` is a place like `3.-1`"))?;
    if picks.len() > MOST_PICKS {
        return Err(Refusal::bad_request(format!("at most {MOST_PICKS} instances are marked at once")));
    }
    picks.retain(|(task, _)| usize::from(*task) < plan.tasks.len());
    picks.sort_unstable();
    picks.dedup();
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
    let plan = the_ledger(&app, &mut db, &run).await?.version.plan.clone();
    let picks = picks(query.all("pick"), &plan)?;
    let mut lines = Vec::new();
    let mut known = Vec::new();
    for (task, index) in picks {
        let id = plan.task_id(task);
        let found = get_instance(&mut db, &mut app.versions.clone(), run.id, id, index).await?;
        let Some(instance) = found else { continue };
        known.push((task, index, instance.state));
        let name = if index >= 0 { format!("{id} [{index}]") } else { id.to_string() };
        lines.push((parts::state(instance.state.as_str()), name));
    }
    let buttons = ENDS.into_iter().filter_map(|(state, _, danger)| {
        let others = known.iter().filter(|(_, _, now)| *now != state).count();
        (others > 0).then(|| (state.as_str(), format!("Mark {others} as {}", parts::words(state.as_str())), danger))
    });
    let head = RunHead::new(&run, shell.now);
    let sentence = if known.is_empty() {
        "No instance is chosen: choose some in the table, then what to do with them.".into()
    } else {
        "What runs is stopped; what followed from them and is over stays as it is.".to_string()
    };
    let title = format!("Mark {}?", counted(known.len(), "task instance"));
    let page = ChangePage {
        buttons: buttons.collect(),
        fields: known.iter().map(|(task, index, _)| ("pick", format!("{task}.{index}"))).collect(),
        back: format!("{}/tasks", head.href),
        lines,
        ..ChangePage::asking(shell, head, title, sentence, "mark-chosen")
    };
    html(StatusCode::OK, &page)
}

pub(crate) async fn mark(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Peer(from): Peer,
    path: RunPath,
    form: Form,
) -> Result<Response, Refusal> {
    let to = wished(&form)?;
    let mut db = app.hot().await?;
    let run = find(&mut db, &path).await?;
    let plan = the_ledger(&app, &mut db, &run).await?.version.plan.clone();
    let mut versions = app.versions.clone();
    let mut any = false;
    for (task, index) in picks(form.all("pick"), &plan)? {
        // What waits for its turn, or is so already, stays; the table says how each stands.
        let Mark::Marked(was) = mark_instance(&mut db, &mut versions, run.id, (task, index), to).await? else {
            continue;
        };
        let deed = Deed {
            actor: &caller.name,
            event: "mark_task_instance",
            dag_id: Some(&run.dag_id),
            run_id: Some(&run.run_id),
            task_id: Some(plan.task_id(task)),
            map_index: Some(index),
            extra: Some(json!({ "from_state": was, "state": to })),
        };
        app.did(&mut db, from, deed).await?;
        any = true;
    }
    if any {
        start_queued_runs(&mut db, &mut versions, &run.dag_id).await?;
        [Hint::Ready, Hint::Run, Hint::Stop].into_iter().for_each(|hint| app.hints.give(hint));
    }
    Ok(see_other(&format!("{}/tasks", href(&run))))
}
