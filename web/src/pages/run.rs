//! `/dags/{dag_id}/runs/{dag_run_id}`: the task instances of a run over time, and why it is waiting or has failed.

pub(crate) mod change;
pub(crate) mod clear;
pub(crate) mod events;
pub(crate) mod failure;
mod gantt;
pub(crate) mod mark_chosen;
mod parked;
mod spent;
pub(crate) mod tasks;
pub(crate) mod told;

use super::assets::lines::EventLine;
use super::{Shell, encoded, html};
use crate::extract::{Query, RunPath, no_such_run};
use crate::parts::{self, Fact, Markdown, ZonedNow, dag_href};
use crate::refusal::Refusal;
use crate::state::{App, Inner};
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use failure::{Failure, PartlyFailed};
use gantt::Gantt;
use orch_core::plan::{Plan, TaskIdx};
use orch_spec::state::{RunState, RunType, TaskState};
use orch_store::asset::{EVENTS, event_by};
use orch_store::dag::{get_dag, resolve};
use orch_store::instance::{InstanceFilter, Ledger, count_states, ledger, old_tries, page_of_instances};
use orch_store::list::Search;
use orch_store::narrow;
use orch_store::overview::places;
use orch_store::run::{RunDetails, get_run};
use orch_store::timing::{spans, usual_durations};
use orch_store::version::Version;
use parked::Parked;
use spent::Spent;
use sqlx::PgConnection;
use told::DeadlineLine;

/// Header above every page of a run.
pub(crate) struct RunHead {
    pub(crate) dag_id: String,
    pub(crate) dag_href: String,
    pub(crate) href: String,
    pub(crate) run_id: String,
    pub(crate) title: String,
    pub(crate) state: RunState,
    pub(crate) kind: String,
    pub(crate) span: String,
    pub(crate) version_number: i32,
}

#[derive(Template)]
#[template(path = "pages/run.html")]
struct RunPage {
    shell: Shell,
    head: RunHead,
    filter: &'static str,
    task: String,
    gantt: Gantt,
    spent: Option<Spent>,
    against: Option<String>,
    counts: Vec<(&'static str, i64)>,
    total: usize,
    first: usize,
    last: usize,
    back: Option<String>,
    on: Option<String>,
    parked: Option<Parked>,
    failure: Option<Failure>,
    partly_failed: Option<PartlyFailed>,
    runbook: Option<Markdown>,
    waits: Option<String>,
    facts: Vec<(&'static str, Fact)>,
    /// Deadlines of the run. `late` is how late an unfinished run is, and for which deadline.
    deadlines: Vec<DeadlineLine>,
    late: Option<(String, String)>,
    note: Option<String>,
    conf: Option<String>,
    /// Asset updates that started the run.
    began_by: Vec<EventLine>,
    is_open: bool,
    /// Revision that the page shows, for the event stream.
    mark: i32,
}

pub(crate) const FILTERS: [(&str, &[TaskState]); 6] = [
    ("all", &[]),
    ("success", &[TaskState::Success]),
    ("failed", &[TaskState::Failed, TaskState::UpstreamFailed]),
    ("running", &[TaskState::Running, TaskState::Restarting]),
    (
        "waiting",
        &[
            TaskState::Queued,
            TaskState::UpForRetry,
            TaskState::UpForReschedule,
            TaskState::Deferred,
            TaskState::AwaitingInput,
        ],
    ),
    ("skipped", &[TaskState::Skipped]),
];
const OF_A_PAGE: usize = 100;
/// Maximum number of asset updates shown.
const MOST_EVENTS: i64 = 50;
const MOST_OLD_TRIES: i64 = 2_000;

impl RunHead {
    pub(crate) fn new(run: &RunDetails, now: ZonedNow) -> RunHead {
        let dag_href = dag_href(&run.dag_id);
        let date = run.logical_date.unwrap_or(run.run_after);
        let clock = |at| now.written(at, "%H:%M:%S");
        let active = parts::duration(run.active_time(now.at).unwrap_or_default());
        // Start and end of a run that was cleared after its end are farther apart than its active time.
        let active = if run.idle.is_zero() { active } else { format!("active {active}") };
        let span = match (run.started_at, run.ended_at) {
            (Some(from), Some(to)) => format!("{} – {}, {active}", clock(from), clock(to)),
            (Some(from), None) => format!("since {}, {active}", clock(from)),
            (None, _) => "not started".into(),
        };
        RunHead {
            href: format!("{dag_href}/runs/{}", encoded(&run.run_id)),
            dag_href,
            title: format!("Run of {}", now.written(date, "%-d %b, %H:%M:%S")),
            state: run.state,
            kind: parts::words(run.run_type.as_str()),
            span,
            version_number: run.version_number,
            dag_id: run.dag_id.clone(),
            run_id: run.run_id.clone(),
        }
    }
}

impl RunHead {
    /// Returns the run id, encoded for a query.
    pub(crate) fn encoded_id(&self) -> String {
        encoded(&self.run_id)
    }

    /// Returns the prefix of the page title that shows the state.
    pub(crate) fn sign(&self) -> &'static str {
        parts::sign(self.state.as_str())
    }
}

/// Finds a run by the ids in the path. The DAG can be named by an alias.
pub(crate) async fn find(db: &mut PgConnection, path: &RunPath) -> Result<RunDetails, Refusal> {
    let mut run = get_run(db, &path.dag_id, &path.run_id).await?;
    if run.is_none()
        && let Some(dag_id) = resolve(db, &path.dag_id).await?
    {
        run = get_run(db, &dag_id, &path.run_id).await?;
    }
    run.ok_or_else(|| no_such_run(&path.dag_id, &path.run_id))
}

pub(crate) async fn the_ledger(app: &Inner, db: &mut PgConnection, run: &RunDetails) -> Result<Ledger, Refusal> {
    let found = ledger(db, &mut app.versions.clone(), run.id).await?;
    found.ok_or_else(|| no_such_run(&run.dag_id, &run.run_id))
}

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    path: RunPath,
    mut query: Query,
) -> Result<Response, Refusal> {
    let page = narrow::size(query.count("page", 1).clamp(1, 100_000));
    query.finish()?;
    let asked = query.text("state").unwrap_or("all");
    let (filter, states) = FILTERS.into_iter().find(|(name, _)| *name == asked).unwrap_or(FILTERS[0]);
    let task = query.text("task").unwrap_or_default().to_string();
    let mut db = app.pages().await?;
    let run = find(&mut db, &path).await?;
    let wanted = InstanceFilter {
        states: states.to_vec(),
        task_ids: (!task.is_empty()).then(|| vec![task.clone()]),
        ..InstanceFilter::default()
    };
    let skip = (page - 1) * OF_A_PAGE;
    let mut versions = app.versions.clone();
    let found = page_of_instances(&mut db, &mut versions, run.id, &wanted, (skip, OF_A_PAGE)).await?;
    let found = found.ok_or_else(|| no_such_run(&path.dag_id, &path.run_id))?;
    let old = old_tries(&mut db, run.id, MOST_OLD_TRIES).await?;
    let counts = counts(&app, &mut db, &run).await?;
    let began_by = began_by(&mut db, &run, shell.now).await?;
    let head = RunHead::new(&run, shell.now);
    let waits = waits(&mut db, &run, shell.now).await?;
    let deadlines = told::deadlines(&mut db, &run, shell.now).await?;
    let mut facts = facts(&run, shell.now);
    facts.extend(told::alerts(&mut db, &run, None).await?.map(|alerts| ("Alerts", alerts)));
    let plan = &found.version.plan;
    let ledger = the_ledger(&app, &mut db, &run).await?;
    let failure = Failure::of(&app, &mut db, &run, &head, &ledger).await?;
    let lens: Vec<_> =
        (0..narrow::task(plan.tasks.len())).map(|task| (run.id, task, ledger.run.len(plan.task(task)))).collect();
    let spans = spans(&mut db, &lens).await?;
    let gated = gated(&found.version);
    let of = spent::Of { plan, run: &run, spans: &spans, old: &old, gated: &gated };
    let spent = Spent::of(&of, shell.now);
    let against = match &spent {
        Some(spent) => against(&mut db, &run, plan, spent).await?,
        None => None,
    };
    let path = spent.as_ref().map_or(&[][..], |spent| &spent.path);
    let of =
        gantt::Of { run: &run, plan, instances: &found.instances, old: &old, spans: &spans, path, href: &head.href };
    let gantt = Gantt::new(&of, shell.now);
    let rest = if task.is_empty() { String::new() } else { format!("&task={}", encoded(&task)) };
    let turned = |page: usize| format!("{}?state={filter}{rest}&page={page}", head.href);
    let shown = found.instances.len();
    let page = RunPage {
        first: if shown == 0 { 0 } else { skip + 1 },
        last: skip + shown,
        back: (page > 1).then(|| turned(page - 1)),
        on: (skip + shown < found.total).then(|| turned(page + 1)),
        total: found.total,
        counts,
        parked: Parked::of(&mut db, &run, shell.now).await?,
        runbook: plan.spec.runbook.as_deref().and_then(parts::markdown),
        failure,
        partly_failed: PartlyFailed::of(&ledger, &head.href),
        waits,
        facts,
        late: told::late(&deadlines),
        deadlines,
        note: run.note.clone(),
        conf: run.conf.as_ref().map(|conf| format!("{conf:#}")),
        began_by,
        is_open: !run.state.is_finished(),
        mark: run.rev,
        gantt,
        spent,
        against,
        head,
        filter,
        task,
        shell,
    };
    html(StatusCode::OK, &page)
}

/// Returns the asset updates that started the run; empty if assets did not start it.
async fn began_by(db: &mut PgConnection, run: &RunDetails, now: ZonedNow) -> Result<Vec<EventLine>, Refusal> {
    if run.run_type != RunType::AssetTriggered {
        return Ok(Vec::new());
    }
    let search = Search::default().and(event_by::CONSUMED_BY.is(run.id)).by(event_by::AT.descending());
    let events = EVENTS.rows(db, &search.page(0, MOST_EVENTS)).await?;
    Ok(events.into_iter().map(|event| EventLine::new(event, &[], now)).collect())
}

/// Returns the tasks that may wait even if a worker is free.
fn gated(version: &Version) -> Vec<TaskIdx> {
    let is_limited = version.plan.spec.max_active_tasks.is_some();
    (0..narrow::task(version.plan.tasks.len())).filter(|task| is_limited || version.is_gated(*task)).collect()
}

/// Returns a sentence about the task that was slowest in comparison with the last runs of the same version.
async fn against(
    db: &mut PgConnection,
    run: &RunDetails,
    plan: &Plan,
    spent: &Spent,
) -> Result<Option<String>, Refusal> {
    // Elements of a mapped task run in parallel, so their total time cannot be compared with usual durations.
    let alone: Vec<_> = spent.path.iter().copied().filter(|task| plan.task(*task).map.is_none()).collect();
    let usual = usual_durations(db, &run.dag_id, run.version, &alone).await?;
    Ok(spent.against(plan, &usual))
}

/// Returns the number of instances by state. Only instances that have a row are counted.
async fn counts(app: &Inner, db: &mut PgConnection, run: &RunDetails) -> Result<Vec<(&'static str, i64)>, Refusal> {
    let ledger = the_ledger(app, db, run).await?;
    let counts = count_states(db, run.id, &ledger, None).await?;
    Ok(counts.into_iter().map(|(state, count)| (state.as_str(), count)).collect())
}

/// Returns why a queued run has not started.
async fn waits(db: &mut PgConnection, run: &RunDetails, now: ZonedNow) -> Result<Option<String>, Refusal> {
    if run.state != RunState::Queued {
        return Ok(None);
    }
    let Some(dag) = get_dag(db, &run.dag_id).await? else { return Ok(None) };
    let places = places(db, &run.dag_id).await?;
    let most = i64::from(dag.max_active_runs);
    Ok(Some(if dag.is_paused {
        "It waits because its DAG is paused. Switch the DAG on to let it begin.".into()
    } else if run.run_after > now.at {
        format!("It waits for its time: {}.", now.written(run.run_after, "%-d %b %H:%M:%S"))
    } else if places.running >= most {
        format!("It waits for the end of another run: the maximum of active runs of this DAG is {most}.")
    } else {
        "It starts when a scheduler next looks for queued runs.".into()
    }))
}

fn facts(run: &RunDetails, now: ZonedNow) -> Vec<(&'static str, Fact)> {
    let at = |at: Option<DateTime<Utc>>| Fact::from(at.map(|at| parts::exactly(at, now)));
    let by = match &run.triggered_by_user {
        Some(user) => format!("{user}, {}", parts::words(&run.triggered_by)),
        None => parts::words(&run.triggered_by),
    };
    let cleared = if run.clear_number > 0 { format!("{} ×", run.clear_number) } else { String::new() };
    let idle = if run.idle.is_zero() {
        String::new()
    } else {
        format!("{}, after its end until it was cleared", parts::duration(run.idle))
    };
    let mut facts = vec![
        ("Run id", run.run_id.clone().into()),
        ("Triggered by", by.into()),
        ("Logical date", at(run.logical_date)),
        ("Interval start", at(run.interval_start.filter(|_| run.interval_start != run.interval_end))),
        ("Interval end", at(run.interval_end.filter(|_| run.interval_start != run.interval_end))),
        ("Run after", at(Some(run.run_after))),
        ("Created", at(Some(run.created_at))),
        ("Started", at(run.started_at)),
        ("Ended", at(run.ended_at)),
        ("Cleared", cleared.into()),
        ("Not active", idle.into()),
        ("Version", format!("{} of bundle {}", run.version_number, run.bundle).into()),
    ];
    facts.retain(|(_, value)| !value.is_empty());
    facts
}
