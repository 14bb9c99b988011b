//! `/dags/{dag_id}/tasks`: the tasks of a DAG as a table: kind, dependencies, latest state and usual duration.

use super::{Head, LoadedDag, find};
use crate::extract::{DagPath, Query};
use crate::pages::home::task_href;
use crate::pages::{Shell, encoded, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::plan::{Plan, PlanTask, TaskIdx};
use orch_spec::TaskSpec;
use orch_spec::state::TaskState;
use orch_store::instance::{Ledger, ledger, loudest_states};
use orch_store::narrow;
use orch_store::run::{RUNS, RunDetails, newest_of_dag};
use orch_store::timing::usual_durations;
use std::collections::HashMap;

#[derive(Template)]
#[template(path = "pages/dag/tasks.html")]
struct TasksPage {
    shell: Shell,
    head: Head,
    q: String,
    lines: Vec<TaskLine>,
    /// Run whose states are shown.
    last_run: Option<(String, parts::Ago)>,
    first: usize,
    last: usize,
    total: usize,
    back: Option<String>,
    on: Option<String>,
}

struct TaskLine {
    id: String,
    /// Address of the task in the graph.
    href: String,
    group: String,
    kind: String,
    after: Vec<String>,
    more_after: usize,
    rule: String,
    retries: u32,
    queue: String,
    limit: Option<i32>,
    is_mapped: bool,
    place: String,
    doc: String,
    state: Option<(parts::State, String)>,
    usual: Option<String>,
}

const OF_A_PAGE: usize = 100;
/// Maximum number of upstream tasks listed per task.
const MOST_AFTER: usize = 6;

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    DagPath(dag_id): DagPath,
    mut query: Query,
) -> Result<Response, Refusal> {
    let page = narrow::size(query.count("page", 1).clamp(1, 1_000));
    query.finish()?;
    let q = query.text("q").unwrap_or_default().trim().to_lowercase();
    let mut db = app.pages().await?;
    let found = find(&app, &mut db, &dag_id).await?;
    let head = Head::new(&found, "tasks", shell.now);
    let plan = &found.version.plan;
    let wanted = |task: &TaskSpec| {
        let words = [task.task_id.as_str(), &task.kind, &task.doc];
        words.iter().any(|text| text.to_lowercase().contains(&q))
    };
    let every: Vec<TaskIdx> =
        (0..narrow::task(plan.tasks.len())).filter(|at| wanted(&plan.spec.tasks[usize::from(*at)])).collect();
    let skip = (page - 1) * OF_A_PAGE;
    let shown: Vec<TaskIdx> = every.iter().copied().skip(skip).take(OF_A_PAGE).collect();
    let run = RUNS.first(&mut db, &newest_of_dag(&found.row.dag_id, 1)).await?;
    let last = match &run {
        Some(run) => last_states(&app, &mut db, run).await?,
        None => None,
    };
    let (dag_id, version) = (&found.row.dag_id, found.row.version);
    let usual: HashMap<TaskIdx, _> = usual_durations(&mut db, dag_id, version, &shown).await?.into_iter().collect();
    let run_href = run.as_ref().map(|run| format!("{}/runs/{}", head.href, encoded(&run.run_id)));
    let lines = shown.iter().map(|&at| {
        let state = last.as_ref().zip(run_href.as_ref()).and_then(|(last, run_href)| last.of(&found, at, run_href));
        TaskLine { state, usual: usual.get(&at).map(|took| parts::duration(*took)), ..line(plan, at, &head.href) }
    });
    let turned = |page: usize| format!("{}/tasks?q={}&page={page}", head.href, encoded(&q));
    let page = TasksPage {
        lines: lines.collect(),
        last_run: run_href.zip(run.as_ref().map(|run| parts::ago(run.created_at, shell.now))),
        first: if shown.is_empty() { 0 } else { skip + 1 },
        last: skip + shown.len(),
        total: every.len(),
        back: (page > 1).then(|| turned(page - 1)),
        on: (skip + shown.len() < every.len()).then(|| turned(page + 1)),
        q,
        head,
        shell,
    };
    html(StatusCode::OK, &page)
}

struct LastStates {
    ledger: Ledger,
    loud: HashMap<TaskIdx, TaskState>,
}

async fn last_states(app: &App, db: &mut sqlx::PgConnection, run: &RunDetails) -> Result<Option<LastStates>, Refusal> {
    let Some(ledger) = ledger(db, &mut app.versions.clone(), run.id).await? else { return Ok(None) };
    let mut loud = HashMap::new();
    if !run.state.is_finished() {
        loud = loudest_states(db, &[run.id]).await?.into_iter().map(|(_, task, state)| (task, state)).collect();
    }
    Ok(Some(LastStates { ledger, loud }))
}

impl LastStates {
    /// Returns the state and address of a task. The run's version may not contain it, or at another index.
    fn of(&self, found: &LoadedDag, at: TaskIdx, run_href: &str) -> Option<(parts::State, String)> {
        let task_id = found.version.plan.task_id(at);
        let plan = &self.ledger.version.plan;
        let task = plan.index_of(task_id)?;
        let settled = self.ledger.run.task(task);
        let state = if settled.is_finished() { settled } else { *self.loud.get(&task).unwrap_or(&settled) };
        let href = match plan.task(task).map {
            Some(_) => format!("{run_href}?task={}", encoded(task_id)),
            None => task_href(run_href, task_id, -1),
        };
        Some((parts::state(state.as_str()), href))
    }
}

fn line(plan: &Plan, at: TaskIdx, href: &str) -> TaskLine {
    let (task, planned): (&TaskSpec, &PlanTask) = (&plan.spec.tasks[usize::from(at)], plan.task(at));
    let place = if task.added.file.is_empty() { &task.defined } else { &task.added };
    TaskLine {
        href: format!("{href}/graph?task={}", encoded(&task.task_id)),
        id: task.task_id.clone(),
        group: task.group_id.clone().unwrap_or_default(),
        kind: task.kind.clone(),
        after: planned.up.iter().take(MOST_AFTER).map(|edge| plan.task_id(edge.task).to_string()).collect(),
        more_after: planned.up.len().saturating_sub(MOST_AFTER),
        rule: serde_json::to_value(planned.rule)
            .ok()
            .and_then(|rule| Some(rule.as_str()?.replace('_', " ")))
            .unwrap_or_default(),
        retries: planned.retries,
        queue: planned.queue.clone(),
        limit: planned.max_active,
        is_mapped: planned.map.is_some(),
        place: if place.file.is_empty() { String::new() } else { format!("{}:{}", place.file, place.line) },
        doc: task.doc.lines().next().unwrap_or_default().into(),
        state: None,
        usual: None,
    }
}
