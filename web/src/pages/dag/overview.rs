//! `/dags/{dag_id}/overview`: description, schedule, results of the last runs, and the tasks that failed in them.

use super::{Head, LoadedDag, details, find, offering};
use crate::extract::DagPath;
use crate::pages::home::task_href;
use crate::pages::run::failure::PartlyFailed;
use crate::pages::{Shell, assets, encoded, html};
use crate::parts::{self, Bar, Durations, ZonedNow};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_spec::schedule::{Bounds, Calendar, DataInterval};
use orch_spec::state::{RunState, TaskState};
use orch_store::asset::find_asset;
use orch_store::audit::{self, AUDIT};
use orch_store::deadline::late_runs;
use orch_store::instance::{Ledger, ledgers};
use orch_store::narrow;
use orch_store::overview::RunMark;
use orch_store::run::{RUNS, RunDetails, newest_of_dag};
use orch_store::timing::usual_run;
use sqlx::PgConnection;
use std::collections::HashMap;
use uuid::Uuid;

#[derive(Template)]
#[template(path = "pages/dag/overview.html")]
struct OverviewPage {
    shell: Shell,
    head: Head,
    /// Health of the DAG in one sentence.
    sentence: String,
    more: String,
    durations: Durations,
    runs: usize,
    failing: Vec<Failing>,
    upcoming: Vec<(parts::Moment, parts::Ago)>,
    facts: Vec<(&'static str, String)>,
    /// Assets that the DAG waits for, with whether each was updated since the last run.
    waiting: Vec<WaitsFor>,
    /// User who paused the DAG, and when.
    paused_by: Option<(String, parts::Ago)>,
}

struct WaitsFor {
    name: String,
    href: Option<String>,
    updated: bool,
}

/// A task that failed in at least one of the last runs.
struct Failing {
    task_id: String,
    times: usize,
    /// Address of the latest failure.
    href: String,
    ago: parts::Ago,
}

const HISTORY: i64 = 30;
const UPCOMING: usize = 6;
const MOST_FAILING: usize = 8;
/// Maximum number of audit records searched for the last pause.
const MOST_DEEDS: i64 = 200;

pub(crate) async fn show(State(app): State<App>, shell: Shell, DagPath(dag_id): DagPath) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let found = find(&app, &mut db, &dag_id).await?;
    let now = shell.now;
    let head = Head::new(&found, "overview", now);
    let runs = RUNS.rows(&mut db, &newest_of_dag(&found.row.dag_id, HISTORY)).await?;
    let marks: Vec<RunMark> = runs.iter().map(super::grid::mark).collect();
    let usual = usual_run(&mut db, &found.row.dag_id).await?;
    let ids: Vec<Uuid> = runs.iter().map(|run| run.id).collect();
    let ledgers: HashMap<Uuid, Ledger> = ledgers(&mut db, &mut app.versions.clone(), &ids).await?.into_iter().collect();
    let failing = failing(&ledgers, &runs, &head.href, now);
    let partly_failed =
        ledgers.iter().filter_map(|(run, ledger)| Some((*run, PartlyFailed::of(ledger, &head.href)?.count)));
    let partly_failed: HashMap<Uuid, usize> = partly_failed.collect();
    let paused_by = if found.row.is_paused { paused_by(&mut db, &found.row.dag_id, now).await? } else { None };
    let (sentence, more) = sentence(&found, &runs, &partly_failed, usual.map(parts::duration), now);
    let bars = marks.iter().map(|run| Bar::new(run, partly_failed.contains_key(&run.id), now));
    let late = late_runs(&mut db, &ids).await?.len();
    let page = OverviewPage {
        durations: Durations::new(bars, usual, narrow::size(HISTORY)),
        runs: runs.len(),
        upcoming: upcoming(&found, UPCOMING, now),
        facts: facts(&found, &runs, &partly_failed, late),
        waiting: waiting(&mut db, &found).await?,
        sentence,
        more,
        failing,
        paused_by,
        head,
        shell,
    };
    html(StatusCode::OK, &page)
}

/// Returns the summary and its details. `partly_failed`: failed tasks by run id, in runs that succeeded anyway.
fn sentence(
    found: &LoadedDag,
    runs: &[RunDetails],
    partly_failed: &HashMap<Uuid, usize>,
    usual: Option<String>,
    now: ZonedNow,
) -> (String, String) {
    let alone = usual.as_ref().map(|usual| format!("Usually {usual}.")).unwrap_or_default();
    let usually = usual.map(|usual| format!(", usually {usual}")).unwrap_or_default();
    let took = |run: &RunDetails| run.active_time(now.at).map(parts::duration);
    let waits = found.places.queued;
    let open = runs.iter().find(|run| run.state == RunState::Running);
    let over: Vec<&RunDetails> = runs.iter().filter(|run| run.state.is_finished()).collect();
    let in_a_row = over.iter().take_while(|run| run.state == RunState::Failed).count();
    let said = over.first().map_or(String::new(), |run| {
        let took = took(run).map(|took| format!(" after {took}")).unwrap_or_default();
        match (run.state, in_a_row) {
            (RunState::Failed, 1) => format!("Its last run failed{took}."),
            (RunState::Failed, many) => format!("Its last {many} runs failed, the last{took}."),
            _ => {
                let took = took.replace(" after ", " in ");
                match partly_failed.get(&run.id) {
                    Some(tasks) => {
                        format!("Its last run succeeded{took}, although {} failed.", parts::counted(*tasks, "task"))
                    }
                    None => format!("Its last run went well{took}."),
                }
            }
        }
    });
    let more = match (over.first(), waits) {
        (_, 1) => format!("One run waits{usually}."),
        (_, many) if many > 0 => format!("{many} runs wait{usually}."),
        (Some(run), _) if run.state == RunState::Failed => {
            format!("{} of the last {} went well{usually}.", went_well(&over, partly_failed), over.len())
        }
        _ => alone,
    };
    if let Some(run) = open {
        let since = took(run).unwrap_or_default();
        return (format!("Running for {since}{usually}."), said);
    }
    if over.is_empty() {
        return ("It has not run yet.".into(), "Its runs stand here as bars, with the time they usually take.".into());
    }
    (said, more)
}

/// Counts the runs that succeeded and in which no task failed.
fn went_well(runs: &[&RunDetails], partly_failed: &HashMap<Uuid, usize>) -> usize {
    runs.iter().filter(|run| run.state == RunState::Success && !partly_failed.contains_key(&run.id)).count()
}

/// Returns the tasks that failed in any of the runs, also in runs that succeeded.
fn failing(ledgers: &HashMap<Uuid, Ledger>, runs: &[RunDetails], href: &str, now: ZonedNow) -> Vec<Failing> {
    let mut found: Vec<Failing> = Vec::new();
    // Runs are sorted newest first, so the first failure found for a task is its latest.
    for run in runs {
        let Some(ledger) = ledgers.get(&run.id) else { continue };
        let plan = &ledger.version.plan;
        for task in (0..plan.tasks.len()).filter_map(|task| u16::try_from(task).ok()) {
            if ledger.run.task(task) != TaskState::Failed {
                continue;
            }
            let task_id = plan.task_id(task);
            if let Some(known) = found.iter_mut().find(|known| known.task_id == task_id) {
                known.times += 1;
                continue;
            }
            let run_href = format!("{href}/runs/{}", encoded(&run.run_id));
            let href = match plan.task(task).map {
                Some(_) => format!("{run_href}?state=failed&task={}", encoded(task_id)),
                None => task_href(&run_href, task_id, -1),
            };
            let ago = parts::ago(run.ended_at.unwrap_or(run.created_at), now);
            found.push(Failing { task_id: task_id.into(), times: 1, href, ago });
        }
    }
    found.sort_by_key(|failing| std::cmp::Reverse(failing.times));
    found.truncate(MOST_FAILING);
    found
}

async fn waiting(db: &mut PgConnection, found: &LoadedDag) -> Result<Vec<WaitsFor>, Refusal> {
    let mut waiting = Vec::with_capacity(found.waiting.len());
    for one in &found.waiting {
        let asset = match one.of.uri() {
            Some(uri) => find_asset(db, uri).await?.into_iter().next(),
            None => None,
        };
        let href = asset.map(|asset| assets::href(asset.id));
        waiting.push(WaitsFor { name: one.of.to_string(), href, updated: one.updated });
    }
    Ok(waiting)
}

async fn paused_by(
    db: &mut PgConnection,
    dag_id: &str,
    now: ZonedNow,
) -> Result<Option<(String, parts::Ago)>, Refusal> {
    let deeds = AUDIT.rows(db, &audit::newest(MOST_DEEDS).and(audit::by::DAG_ID.is(dag_id))).await?;
    let deed = deeds.into_iter().find(|deed| deed.event == "pause_dag");
    Ok(deed.map(|deed| (deed.actor, parts::ago(deed.at, now))))
}

/// Returns the times of the next runs, soonest first. Empty if the DAG has no timed schedule.
pub(super) fn upcoming(found: &LoadedDag, most: usize, now: ZonedNow) -> Vec<(parts::Moment, parts::Ago)> {
    let (row, spec) = (&found.row, &found.version.plan.spec);
    // Registration rejects schedules that cannot be parsed.
    let calendar = Calendar::new(&spec.schedule, spec.timetable).ok().filter(Calendar::is_timed);
    let (Some(calendar), Some(next)) = (calendar, row.next_run_after) else { return Vec::new() };
    let interval = row.next_interval_start.zip(row.next_interval_end);
    let last = interval.map_or(DataInterval::exact(next), |(start, end)| DataInterval { start, end });
    let bounds = Bounds { start: spec.start, end: spec.end, catchup: spec.catchup };
    let rest = calendar.upcoming(Some(last), bounds, next).map(|run| run.run_after);
    let times = std::iter::once(next).chain(rest).take(most);
    times.map(|at| (parts::moment(at, now), parts::ago(at, now))).collect()
}

fn facts(
    found: &LoadedDag,
    runs: &[RunDetails],
    partly_failed: &HashMap<Uuid, usize>,
    late: usize,
) -> Vec<(&'static str, String)> {
    let (row, spec) = (&found.row, &found.version.plan.spec);
    let over: Vec<&RunDetails> = runs.iter().filter(|run| run.state.is_finished()).collect();
    let went_well = went_well(&over, partly_failed);
    let partly = match partly_failed.len() {
        0 => String::new(),
        partly => format!("{partly} of the last {}, which succeeded although tasks failed", over.len()),
    };
    let mut facts = vec![
        ("Schedule", row.schedule_text.clone()),
        ("Owners", row.owners.join(", ")),
        ("Tasks", found.version.plan.tasks.len().to_string()),
        ("Went well", if over.is_empty() { String::new() } else { format!("{went_well} of the last {}", over.len()) }),
        ("Partly failed", partly),
        ("Deadlines", details::deadlines(spec).join("; ")),
        ("Late", if late == 0 { String::new() } else { format!("{late} of the last {}", runs.len()) }),
        ("Running", format!("{} of at most {}", found.places.running, row.max_active_runs)),
        ("Waiting", found.places.queued.to_string()),
        ("Workers", offering(found.places.workers)),
        ("Version", format!("{} of bundle {}", row.version_number, row.bundle)),
        (
            "Written in",
            if row.file.is_empty() { String::new() } else { format!("{}:{}", row.file, spec.location.line) },
        ),
    ];
    facts.retain(|(_, value)| !value.is_empty());
    facts
}
