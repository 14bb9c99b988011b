//! `/runs`: runs of all DAGs, newest first. The list of one DAG's runs uses the same lines.

pub(crate) mod change;

use super::filters::Filters;
use super::turned::Turned;
use super::{Shell, encoded, html};
use crate::extract::Query;
use crate::parts::{self, ZonedNow, dag_href};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_spec::state::RunState;
use orch_store::dag::dag_ids_like;
use orch_store::deadline::late_runs;
use orch_store::list::Condition;
use orch_store::overview::successes_with_failed_tasks;
use orch_store::run::{RUNS, RunDetails, by};

#[derive(Template)]
#[template(path = "pages/runs.html")]
struct RunsPage {
    shell: Shell,
    list: RunList,
}

/// A page of runs, with its filter.
pub(crate) struct RunList {
    /// Address of the list, without a query.
    pub(crate) href: String,
    pub(crate) q: String,
    pub(crate) state: &'static str,
    /// The other filters, to append to an address after `state`.
    pub(crate) rest: String,
    pub(crate) filters: Filters,
    pub(crate) lines: Vec<RunLine>,
    pub(crate) back: Option<String>,
    pub(crate) on: Option<String>,
    pub(crate) of_all: bool,
}

impl RunList {
    pub(crate) fn is_whole(&self) -> bool {
        self.q.is_empty() && self.state == STATES[0].0 && !self.filters.are_used()
    }
}

pub(crate) struct RunLine {
    pub(crate) dag_id: String,
    pub(crate) dag_href: String,
    pub(crate) href: String,
    pub(crate) run_id: String,
    pub(crate) id: uuid::Uuid,
    pub(crate) state: parts::State,
    pub(crate) kind: String,
    pub(crate) by: String,
    pub(crate) run_after: parts::Moment,
    pub(crate) started: Option<parts::Ago>,
    pub(crate) took: Option<String>,
    pub(crate) version: i32,
    pub(crate) note: Option<String>,
    /// The run missed a deadline.
    pub(crate) is_late: bool,
    /// The run succeeded although tasks failed.
    pub(crate) has_failed_tasks: bool,
}

/// Not a run state, but offered as a filter next to the states.
const LATE: &str = "late";
pub(crate) const STATES: [(&str, &[RunState]); 6] = [
    ("all", &[]),
    ("running", &[RunState::Running]),
    ("queued", &[RunState::Queued]),
    ("failed", &[RunState::Failed]),
    ("success", &[RunState::Success]),
    (LATE, &[]),
];
/// The page reads `state` itself. The others read all runs, which is too slow for a page that reloads itself.
pub(crate) const OWN: &[&str] = &["state", "conf_contains", "consuming_asset"];
const OF_A_PAGE: i64 = 50;
const FEW_DAGS: i64 = 20;

pub(crate) async fn show(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let list = list(&app, &shell, query, None).await?;
    html(StatusCode::OK, &RunsPage { shell, list })
}

/// Returns a condition for the runs of DAGs whose ids contain the text. If few DAGs match, the index finds their runs;
/// runs of many DAGs are found quickly anyway.
async fn of_dags_like(app: &App, q: &str) -> Result<Condition, Refusal> {
    let mut db = app.pages().await?;
    let dag_ids = dag_ids_like(&mut db, q, FEW_DAGS + 1).await?;
    Ok(match dag_ids.len() as i64 {
        0 => by::DAG_ID.never(),
        1..=FEW_DAGS => by::DAG_ID.any_of(dag_ids),
        _ => by::DAG_ID.contains([q]),
    })
}

/// Returns the requested page of runs, of one DAG or of all.
pub(crate) async fn list(app: &App, shell: &Shell, mut query: Query, dag_id: Option<&str>) -> Result<RunList, Refusal> {
    let turned = Turned::to(&mut query, OF_A_PAGE);
    let q = query.text("q").unwrap_or_default().trim().to_string();
    let asked = query.text("state").unwrap_or("all");
    let (state, states) = STATES.into_iter().find(|(name, _)| *name == asked).unwrap_or(STATES[0]);
    let (search, filters) = Filters::read(query, RUNS.columns, OWN, shell.now)?;
    let named = match dag_id {
        _ if q.is_empty() => None,
        // An underscore is a wildcard here, so the search can find more runs, but never fewer.
        Some(_) => Some(by::RUN_ID.contains([&q])),
        None => Some(of_dags_like(app, &q).await?),
    };
    let search = search
        .and(dag_id.map(|dag_id| by::DAG_ID.is(dag_id)))
        .and((!states.is_empty()).then(|| by::STATE.any_of(states.iter().map(|state| state.as_str()))))
        .and((state == LATE).then(|| by::LATE.holds()))
        .and(named)
        .by(by::ID.descending())
        .page(turned.skip(), turned.most());
    let mut db = app.pages().await?;
    let mut runs = RUNS.rows(&mut db, &search).await?;
    let href = dag_id.map_or("/runs".to_string(), |id| format!("{}/runs", dag_href(id)));
    let rest = filters.rest(&["state"]);
    let (back, on) = turned.cut(&mut runs, |page| format!("{href}?state={state}{rest}&page={page}"));
    let ids: Vec<_> = runs.iter().map(|run| run.id).collect();
    let late = late_runs(&mut db, &ids).await?;
    let partly_failed = successes_with_failed_tasks(&mut db, &ids).await?;
    let line = |run: RunDetails| RunLine {
        is_late: late.contains(&run.id),
        has_failed_tasks: partly_failed.contains(&run.id),
        ..line(run, shell.now)
    };
    Ok(RunList {
        lines: runs.into_iter().map(line).collect(),
        back,
        on,
        of_all: dag_id.is_none(),
        href,
        q,
        state,
        rest,
        filters,
    })
}

fn line(run: RunDetails, now: ZonedNow) -> RunLine {
    let dag_href = dag_href(&run.dag_id);
    let took = run.active_time(now.at).map(parts::duration);
    RunLine {
        href: format!("{dag_href}/runs/{}", encoded(&run.run_id)),
        dag_href,
        state: parts::state(run.state.as_str()),
        kind: parts::words(run.run_type.as_str()),
        by: run.triggered_by_user.unwrap_or_else(|| parts::words(&run.triggered_by)),
        run_after: parts::moment(run.run_after, now),
        started: run.started_at.map(|at| parts::ago(at, now)),
        took,
        version: run.version_number,
        note: run.note,
        is_late: false,
        has_failed_tasks: false,
        dag_id: run.dag_id,
        run_id: run.run_id,
        id: run.id,
    }
}
