//! `/dags/{dag_id}/runs/{dag_run_id}/tasks`: the task instances of a run as a paged table, filtered by state and task.
//! Selected instances are cleared or marked after a confirmation that lists the changes.

use super::{FILTERS, RunHead, find};
use crate::extract::{Query, RunPath, no_such_run};
use crate::pages::home::task_href;
use crate::pages::{Shell, encoded, html};
use crate::parts::{self, ZonedNow};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_store::instance::{InstanceFilter, InstanceRow, count_states, ledger, list_instances};
use orch_store::version::Version;
use orch_store::{StoreError, StoreResult};
use std::collections::BTreeMap;

#[derive(Template)]
#[template(path = "pages/run/tasks.html")]
struct TasksPage {
    shell: Shell,
    head: RunHead,
    filter: &'static str,
    task: String,
    /// Rest of the query string after the name of another filter.
    rest: String,
    names: Vec<String>,
    lines: Vec<ListedInstance>,
    counts: Vec<(&'static str, i64)>,
    first_page: Option<String>,
    on: Option<String>,
    is_open: bool,
    /// Database id of the run's version, which the task indexes of the selection refer to.
    version: i32,
}

struct ListedInstance {
    /// Task index and map index, for actions on several instances.
    pick: String,
    name: String,
    kind: String,
    href: String,
    log_href: String,
    state: parts::State,
    tries: String,
    waited: Option<String>,
    started: Option<parts::Stamp>,
    took: Option<String>,
    worker: Option<String>,
}

const OF_A_PAGE: usize = 100;
/// Maximum number of instances in a selection.
const MOST_PICKS: usize = 200;
/// Maximum number of task names in the selection list.
const MOST_NAMES: usize = 500;

/// Parses the selected instances: pairs of task index and map index.
pub(super) fn picks<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<(u16, i32)>, Refusal> {
    let picks: Option<Vec<_>> = texts.map(pick_of).collect();
    let mut picks = picks.ok_or_else(|| Refusal::bad_request("`pick` is a place like `3.-1`"))?;
    if picks.len() > MOST_PICKS {
        return Err(Refusal::bad_request(format!("at most {MOST_PICKS} instances are chosen at once")));
    }
    picks.sort_unstable();
    picks.dedup();
    Ok(picks)
}

/// Returns an error if the task indexes refer to another version, in which they mean other tasks.
pub(super) fn same_version(read_in: Option<i64>, version: &Version) -> StoreResult<()> {
    read_in.is_none_or(|read_in| read_in == i64::from(version.id)).then_some(()).ok_or(StoreError::OtherVersion)
}

/// Parses a task index and a map index: `3.-1` is the fourth task, not mapped.
fn pick_of(text: &str) -> Option<(u16, i32)> {
    let (task, index) = text.split_once('.')?;
    Some((task.parse().ok()?, index.parse().ok().filter(|index| *index >= -1)?))
}

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    path: RunPath,
    query: Query,
) -> Result<Response, Refusal> {
    let asked = query.text("state").unwrap_or("all");
    let (filter, states) = FILTERS.into_iter().find(|(name, _)| *name == asked).unwrap_or(FILTERS[0]);
    let task = query.text("task").unwrap_or_default().to_string();
    let after = match query.text("after") {
        None => None,
        Some(text) => Some(pick_of(text).ok_or_else(|| Refusal::bad_request("`after` is a place like `3.-1`"))?),
    };
    let mut db = app.pages().await?;
    let run = find(&mut db, &path).await?;
    let mut versions = app.versions.clone();
    let missing = || no_such_run(&path.dag_id, &path.run_id);
    let ledger = ledger(&mut db, &mut versions, run.id).await?.ok_or_else(missing)?;
    let wanted = InstanceFilter {
        states: states.to_vec(),
        task_ids: (!task.is_empty()).then(|| vec![task.clone()]),
        after,
        ..InstanceFilter::default()
    };
    let found = list_instances(&mut db, &mut versions, run.id, &wanted, OF_A_PAGE + 1).await?;
    let mut found = found.ok_or_else(missing)?;
    let more = found.len() > OF_A_PAGE;
    found.truncate(OF_A_PAGE);
    let chosen = (!task.is_empty()).then(|| ledger.version.plan.index_of(&task));
    let counts = match chosen {
        Some(None) => BTreeMap::new(),
        chosen => count_states(&mut db, run.id, &ledger, chosen.flatten()).await?,
    };
    let head = RunHead::new(&run, shell.now);
    let rest = if task.is_empty() { String::new() } else { format!("&task={}", encoded(&task)) };
    let list = format!("{}/tasks?state={filter}{rest}", head.href);
    let spec = &ledger.version.plan.spec;
    let last = found.last().filter(|_| more);
    let page = TasksPage {
        on: last.map(|last| format!("{list}&after={}.{}", last.task, last.map_index)),
        first_page: after.map(|_| list),
        lines: found
            .iter()
            .map(|row| line(row, &spec.tasks[usize::from(row.task)].kind, &head.href, shell.now))
            .collect(),
        counts: counts.into_iter().map(|(state, count)| (state.as_str(), count)).collect(),
        names: spec.tasks.iter().take(MOST_NAMES).map(|task| task.task_id.clone()).collect(),
        is_open: !run.state.is_finished(),
        version: ledger.version.id,
        filter,
        task,
        rest,
        head,
        shell,
    };
    html(StatusCode::OK, &page)
}

fn line(row: &InstanceRow, kind: &str, href: &str, now: ZonedNow) -> ListedInstance {
    let name = if row.map_index >= 0 { format!("{} [{}]", row.task_id, row.map_index) } else { row.task_id.clone() };
    let waited = row.queued_at.zip(row.started_at).map(|(queued, started)| started - queued);
    ListedInstance {
        pick: format!("{}.{}", row.task, row.map_index),
        kind: kind.into(),
        href: task_href(href, &row.task_id, row.map_index),
        log_href: task_href(href, &row.task_id, row.map_index) + "#log",
        state: parts::state(row.state.as_str()),
        tries: if row.try_no == 0 { String::new() } else { format!("{} of {}", row.try_no, row.max_tries + 1) },
        waited: waited.map(parts::duration),
        started: row.started_at.map(|at| parts::clock(at, now)),
        took: row.started_at.map(|at| parts::duration(row.ended_at.unwrap_or(now.at) - at)),
        worker: row.hostname.clone(),
        name,
    }
}
