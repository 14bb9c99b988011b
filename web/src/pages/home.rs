//! `/`: the state of the installation in one sentence, then what needs attention, active runs and upcoming runs.

mod sentence;

use super::approvals::waiting_for;
use super::lake::MAINTENANCE;
use super::quality::{Broken, broken};
use super::run::failure::{PartlyFailed, elements_failed, ended_by, in_words};
use super::{Shell, encoded, html};
use crate::FLAGSHIP;
use crate::bundle_state::Notice;
use crate::extract::Query;
use crate::parts::{self, Bars, Markdown, Timeline, ZonedNow, dag_href};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::TimeDelta;
use orch_core::alert::AlertState;
use orch_deeds::Kept as _;
use orch_deeds::kept::{Announcement, IS_OVER};
use orch_spec::check::FileProblem;
use orch_spec::state::RunState;
use orch_store::alert::{ALERTS, by as alert_by};
use orch_store::asset::stale_assets;
use orch_store::audit::{AuditRow, endings};
use orch_store::clean::passes;
use orch_store::dag::{DAGS, DagRow, by as dag_by};
use orch_store::import_error::{IMPORT_ERRORS, ImportErrorRow, by};
use orch_store::instance::ledgers;
use orch_store::kept;
use orch_store::list::Search;
use orch_store::narrow;
use orch_store::overview::{
    MOST_RECENT, NextRun, RecentRuns, RunFailure, RunMark, WaitingRuns, failing_and_partly_failed, first_failures,
    last_runs, next_runs, recent_runs, running_runs, runs_since, successes_with_failed_tasks, waiting_runs,
};
use orch_store::run::{RUNS, by as run_by};
use orch_store::stream::{FailedStream, failed_streams};
use orch_store::timing::usual_runs;
use sentence::{Counts, sentence};
use sqlx::PgConnection;
use std::collections::{BTreeMap, HashSet};
use uuid::Uuid;

#[derive(Template)]
#[template(path = "pages/home.html")]
struct HomePage {
    shell: Shell,
    /// State of the installation, with an optional addition.
    sentence: (String, &'static str),
    tab: String,
    runs: RunCounts,
    /// Number of items that need the user's attention.
    needs_you: usize,
    needs: Vec<Need>,
    more_needs: bool,
    partly_failed: Vec<PartlyFailedDag>,
    approvals: Option<Approvals>,
    undelivered: Option<UndeliveredAlerts>,
    waiting: Option<Waiting>,
    stale: Vec<Stale>,
    streams: Vec<BrokenStream>,
    broken: Vec<Broken>,
    files: Vec<BrokenFile>,
    announcements: Vec<Markdown>,
    kept: Option<KeptTooLong>,
    bundle: Option<Notice>,
    range: &'static str,
    timeline: Timeline,
    running: Vec<RunningRunLine>,
    next: Vec<NextRunLine>,
    has_dags: bool,
    begin: Option<Begin>,
}

struct RunCounts {
    all: String,
    failed: usize,
    percent: Option<String>,
}

/// A DAG whose last run failed.
struct Need {
    dag_id: String,
    run_href: String,
    task: Option<(String, String)>,
    error: String,
    bars: Bars,
    ago: parts::Ago,
    in_a_row: usize,
}

/// A DAG whose last run succeeded although tasks failed.
struct PartlyFailedDag {
    dag_id: String,
    run_href: String,
    /// Message such as `2 tasks failed: load, store`.
    words: String,
    ago: parts::Ago,
}

/// Approvals that wait for the user.
struct Approvals {
    words: String,
    oldest: String,
    since: parts::Ago,
}

/// Alerts that were given up in the last 24 hours.
struct UndeliveredAlerts {
    count: usize,
    /// When the latest of these alerts was raised.
    latest: parts::Ago,
}

/// Runs that are due but have not started.
struct Waiting {
    words: String,
    why: String,
    since: parts::Ago,
}

/// DAG to start with, shown until the first run exists.
struct Begin {
    dag_id: String,
    description: String,
    href: String,
}

/// A stream that does not run because of an error.
struct BrokenStream {
    href: String,
    failed: FailedStream,
    since: parts::Ago,
}

/// An asset that is older than its freshness limit.
struct Stale {
    name: String,
    href: String,
    since: parts::Ago,
    last: Option<parts::Ago>,
}

/// A file that has import errors.
struct BrokenFile {
    file: String,
    /// True if a DAG of this file was registered before the file broke, and still runs.
    has_earlier_version: bool,
    problems: Vec<(String, String)>,
    ago: parts::Ago,
}

/// Retention has failed: expired rows cannot be removed.
struct KeptTooLong {
    why: String,
    times: i32,
    since: parts::Ago,
}

struct RunningRunLine {
    dag_id: String,
    run_id: String,
    href: String,
    took: String,
    usual: Option<String>,
    percent: Option<i64>,
    is_late: bool,
}

struct NextRunLine {
    dag_id: String,
    href: String,
    schedule: String,
    ago: parts::Ago,
    at: parts::Moment,
}

const MOST_NEEDS: usize = 8;
/// A due run starts immediately, unless its DAG is paused or has reached its maximum of active runs.
const WAITS_LONG: TimeDelta = TimeDelta::minutes(5);
/// Period after which an undelivered alert is no longer shown.
const UNDELIVERED_FOR: TimeDelta = TimeDelta::hours(24);
const MOST_SUBJECT: usize = 200;
const MOST_RUNNING: usize = 8;
/// Maximum number of problems shown per file.
const MOST_PROBLEMS: usize = 3;
const MOST_NEXT: i64 = 100;
const SHOWN_NEXT: usize = 6;
/// Number of runs in the bars of each DAG.
const HISTORY: usize = 12;
pub(crate) const RANGES: [(&str, i64); 4] = [("1h", 1), ("6h", 6), ("24h", 24), ("7d", 168)];
const USUAL_RANGE: usize = 2;

pub(crate) async fn show(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let asked = query.text("range").and_then(|asked| RANGES.into_iter().find(|(name, _)| *name == asked));
    let (mut range, mut hours) = asked.unwrap_or(RANGES[USUAL_RANGE]);
    let now = shell.now;
    let mut db = app.pages().await?;
    let recent = recent_runs(&mut db, now - TimeDelta::hours(hours), Timeline::MOST_ROWS as i64).await?;
    let first = recent.first.filter(|_| asked.is_none() && recent.runs < MOST_RECENT);
    if first.is_some_and(|first| now - first < TimeDelta::hours(1)) {
        // A timeline of a day in which only the last minutes have runs shows nothing useful.
        (range, hours) = RANGES[0];
    }
    let past = TimeDelta::hours(hours);
    let marks = runs_since(&mut db, &recent.shown, now - past).await?;
    let (mut failed, mut partly) = failing_and_partly_failed(&mut db, MOST_NEEDS as i64 + 1).await?;
    partly.truncate(MOST_NEEDS);
    let running = running_runs(&mut db, MOST_RUNNING as i64).await?;
    let next = next_runs(&mut db, MOST_NEXT).await?;
    let stale = stale_assets(&mut db, MOST_NEEDS as i64).await?;
    let stale = stale.into_iter().map(|asset| Stale {
        href: super::assets::href(asset.id),
        name: asset.name,
        since: parts::ago(asset.since, now),
        last: asset.last_event_at.map(|at| parts::ago(at, now)),
    });
    let stale: Vec<Stale> = stale.collect();
    let streams = failed_streams(&mut db, MOST_NEEDS as i64).await?.into_iter().map(|failed| BrokenStream {
        href: super::streams::href(&failed.name),
        since: parts::ago(failed.failed_at, now),
        failed,
    });
    let streams: Vec<BrokenStream> = streams.collect();
    let broken = broken(&mut db, MOST_NEEDS, now).await?;
    let files = IMPORT_ERRORS.rows(&mut db, &Search::default().by(by::FILE.ascending())).await?;
    let kept_dags = if files.is_empty() { Vec::new() } else { dags_of_broken_files(&mut db).await? };
    let files: Vec<BrokenFile> = files.into_iter().map(|error| view_file(error, &kept_dags, now)).collect();
    let kept = passes(&mut db).await?.and_then(|passes| passes.failing).map(|failing| KeptTooLong {
        why: failing.error,
        times: failing.times,
        since: parts::ago(failing.since, now),
    });
    let asked =
        if shell.pulse.is_none_or(|pulse| pulse.asked > 0) { waiting_for(&mut db, &shell).await? } else { Vec::new() };
    let approvals = asked.iter().min_by_key(|row| row.asked_at).map(|oldest| Approvals {
        words: format!("{} for you", verbed(asked.len(), "approval")),
        oldest: parts::short(&oldest.question.subject, MOST_SUBJECT).into_owned(),
        since: parts::ago(oldest.asked_at, now),
    });
    let undelivered = undelivered_alerts(&mut db, now).await?;
    let late = waiting_runs(&mut db, now - WAITS_LONG).await?;
    let waiting = late.since.map(|since| view_waiting(&late, parts::ago(since, now)));
    let (has_dags, begin) = begin(&mut db, &shell, recent.runs > 0).await?;
    let announcements = Search::default().and(IS_OVER.is_so(false)).page(0, MOST_NEEDS as i64);
    let announcements = kept::find(&mut db, Announcement::TABLE, &announcements).await?.rows;
    let more_needs = failed.len() > MOST_NEEDS;
    failed.truncate(MOST_NEEDS);
    let runs: Vec<_> = failed.iter().map(|run| (run.dag_id.clone(), run.run_id.clone())).collect();
    let why = first_failures(&mut db, &runs).await?;
    let mut shown: Vec<String> = failed.iter().chain(&running).map(|run| run.dag_id.clone()).collect();
    shown.sort();
    shown.dedup();
    let history = last_runs(&mut db, &shown, HISTORY as i64).await?;
    let mut by_dag: BTreeMap<&str, Vec<RunMark>> = BTreeMap::new();
    history.iter().for_each(|run| by_dag.entry(&run.dag_id).or_default().push(run.clone()));
    let successes: Vec<Uuid> = history.iter().filter(|run| run.state == RunState::Success).map(|run| run.id).collect();
    let marked = successes_with_failed_tasks(&mut db, &successes).await?;
    let needs = needs(&app, &mut db, &failed, &why, (&by_dag, &marked), now).await?;
    let partly_failed = partly_failed(&app, &mut db, &partly, now).await?;
    let usual = usual_runs(&mut db, &shown).await?;
    let told = Counts {
        failing: failed.len(),
        more: more_needs,
        streams: streams.len(),
        partly_failed: partly_failed.len(),
        files: files.len(),
        contracts: broken.len(),
        stale: stale.len(),
        alerts: undelivered.as_ref().map_or(0, |alerts| alerts.count),
        running: running.len(),
        approvals: asked.len(),
        waiting: narrow::size(late.runs),
    };
    let page = HomePage {
        sentence: sentence(told, shell.pulse.as_ref()),
        tab: if failed.is_empty() { "Home".into() } else { format!("✕ {} failing · Home", failed.len()) },
        runs: counts(&recent),
        needs_you: needs.len()
            + partly_failed.len()
            + stale.len()
            + streams.len()
            + broken.len()
            + told.alerts
            + told.approvals
            + told.waiting,
        needs,
        partly_failed,
        approvals,
        undelivered,
        waiting,
        stale,
        streams,
        broken,
        files,
        announcements: announcements.iter().filter_map(|one| parts::markdown(one.text("message")?)).collect(),
        kept,
        bundle: app.config.bundle.as_ref().and_then(|bundle| bundle.borrow().notice()),
        more_needs,
        range,
        timeline: Timeline::new(&marks, narrow::size(recent.dags), &next, now, past),
        running: running.iter().map(|run| view_running(run, usual.get(&run.dag_id).copied(), now)).collect(),
        next: next.into_iter().take(SHOWN_NEXT).map(|next| view_next(next, now)).collect(),
        has_dags,
        begin,
        shell,
    };
    html(StatusCode::OK, &page)
}

/// Returns the alerts that were given up in the last 24 hours, at most `MOST_NEEDS`. Users cannot dismiss alerts, so
/// older ones are shown only in the list of alerts.
async fn undelivered_alerts(db: &mut PgConnection, now: ZonedNow) -> Result<Option<UndeliveredAlerts>, Refusal> {
    let failed = Search::default().and(alert_by::STATE.is(AlertState::Failed.as_str()));
    let mut rows = ALERTS.rows(db, &failed.page(0, MOST_NEEDS as i64)).await?;
    rows.retain(|alert| now - alert.at < UNDELIVERED_FOR);
    let latest = rows.first().map(|alert| parts::ago(alert.at, now));
    Ok(latest.map(|latest| UndeliveredAlerts { count: rows.len(), latest }))
}

/// Returns the DAGs that were registered before their files broke, unless they are stale.
async fn dags_of_broken_files(db: &mut PgConnection) -> Result<Vec<DagRow>, Refusal> {
    let search = Search::default().and(dag_by::LIVE.holds()).and(dag_by::HAS_IMPORT_ERRORS.is_so(true));
    Ok(DAGS.rows(db, &search).await?)
}

fn view_file(error: ImportErrorRow, kept_dags: &[DagRow], now: ZonedNow) -> BrokenFile {
    let is_of_file = |dag: &DagRow| dag.bundle == error.bundle && dag.file == error.file;
    let has_earlier_version = kept_dags.iter().any(is_of_file);
    let place = |problem: &FileProblem| match problem.line {
        0 => String::new(),
        line => format!("line {line}:{} ", problem.column),
    };
    let problems = error.problems.iter().take(MOST_PROBLEMS);
    let problems = problems.map(|problem| (format!("{}{}", place(problem), problem.message), problem.hint.clone()));
    BrokenFile { has_earlier_version, problems: problems.collect(), ago: parts::ago(error.at, now), file: error.file }
}

/// Returns a clause such as `1 run waits` or `2 runs wait`.
fn verbed(count: impl std::fmt::Display, one: &str) -> String {
    let counted = parts::counted(count, one);
    if counted.starts_with("1 ") { format!("{counted} waits") } else { format!("{counted} wait") }
}

fn view_waiting(waiting: &WaitingRuns, since: parts::Ago) -> Waiting {
    let why = match (waiting.paused, waiting.runs) {
        (0, 1) => "its DAG runs as many as it may".to_string(),
        (0, _) => "their DAGs run as many as they may".into(),
        (1, 1) => "its DAG is paused".into(),
        (paused, all) if paused == all => "their DAGs are paused".into(),
        (paused, _) => {
            format!("{} of paused DAGs; the DAGs of the others run as many as they may", parts::counted(paused, "run"))
        }
    };
    Waiting { words: verbed(waiting.runs, "run"), why, since }
}

/// Returns whether DAGs other than those that maintain the lake exist, and the DAG to start with: the flagship, or the
/// first DAG that is not paused. The latter is `None` once a run exists.
async fn begin(db: &mut PgConnection, shell: &Shell, has_runs: bool) -> Result<(bool, Option<Begin>), Refusal> {
    if shell.pulse.is_some_and(|pulse| pulse.dags == 0) {
        return Ok((false, None));
    }
    if has_runs || RUNS.first(db, &Search::default().by(run_by::ID.descending())).await?.is_some() {
        return Ok((true, None));
    }
    let no_maintenance = dag_by::DAG_ID.none_of(MAINTENANCE.map(String::from).into());
    let live = Search::default().and(dag_by::LIVE.holds()).and(no_maintenance);
    let flagship = DAGS.first(db, &live.clone().and(dag_by::DAG_ID.is(FLAGSHIP))).await?;
    let dag = match flagship {
        Some(flagship) => Some(flagship),
        None => DAGS.first(db, &live.clone().and(dag_by::PAUSED.is_so(false))).await?,
    };
    let Some(dag) = dag else { return Ok((DAGS.first(db, &live).await?.is_some(), None)) };
    let below = if shell.can_run() { "/trigger" } else { "" };
    let begin =
        Begin { href: format!("{}{below}", dag_href(&dag.dag_id)), description: dag.description, dag_id: dag.dag_id };
    Ok((true, Some(begin)))
}

fn counts(recent: &RecentRuns) -> RunCounts {
    let RecentRuns { runs, failed, succeeded, .. } = *recent;
    let percent = (failed + succeeded > 0).then(|| {
        let thousandths = succeeded * 1_000 / (failed + succeeded);
        format!("{}.{} % ok", thousandths / 10, thousandths % 10)
    });
    let more = if runs >= MOST_RECENT { "more than " } else { "" };
    RunCounts { all: format!("{more}{runs}"), failed: narrow::size(failed), percent }
}

async fn needs(
    app: &App,
    db: &mut PgConnection,
    failed: &[RunMark],
    why: &[RunFailure],
    (by_dag, marked): (&BTreeMap<&str, Vec<RunMark>>, &HashSet<Uuid>),
    now: ZonedNow,
) -> Result<Vec<Need>, Refusal> {
    let mut needs = Vec::with_capacity(failed.len());
    let mapped: Vec<_> = why.iter().filter(|why| why.map_index >= 0).map(|why| why.run).collect();
    let ledgers = ledgers(db, &mut app.versions.clone(), &mapped).await?;
    let of = |run: &RunMark| (run.dag_id.clone(), run.run_id.clone());
    let told = |run: &&RunMark| !why.iter().any(|why| (&why.dag_id, &why.run_id) == (&run.dag_id, &run.run_id));
    let untold: Vec<_> = failed.iter().filter(told).map(of).collect();
    let endings = endings(db, &untold, None).await?;
    for run in failed {
        let why = why.iter().find(|why| why.dag_id == run.dag_id && why.run_id == run.run_id);
        let href = dag_href(&run.dag_id);
        let run_href = format!("{href}/runs/{}", encoded(&run.run_id));
        let (task, error) = match why {
            None => (None, ended_by(endings.iter().find(|deed| is_of(deed, run)))),
            Some(why) => {
                let version = app.versions.get(db, why.version).await?;
                let planned = version.plan.tasks.get(why.task as usize);
                let ledger = ledgers.iter().find(|(run, _)| *run == why.run);
                let elements = ledger.zip(planned).and_then(|((_, ledger), task)| elements_failed(&ledger.run, task));
                let of_first = elements.map(|elements| format!("{elements} failed, first [{}]: ", why.map_index));
                let task_id = planned.map(|_| version.plan.task_id(why.task as u16));
                let task = task_id.map(|id| (id.to_string(), task_href(&run_href, id, why.map_index)));
                (task, of_first.unwrap_or_default() + &in_words(&why.causes))
            }
        };
        let history = by_dag.get(run.dag_id.as_str()).map_or(&[][..], Vec::as_slice);
        let over = history.iter().filter(|run| run.state.is_finished());
        needs.push(Need {
            dag_id: run.dag_id.clone(),
            run_href,
            task,
            error,
            bars: Bars::new(&run.dag_id, history, marked, now, HISTORY).small(),
            ago: parts::ago(run.ended_at.unwrap_or(run.created_at), now),
            in_a_row: over.take_while(|run| run.state == RunState::Failed).count(),
        });
    }
    Ok(needs)
}

async fn partly_failed(
    app: &App,
    db: &mut PgConnection,
    runs: &[RunMark],
    now: ZonedNow,
) -> Result<Vec<PartlyFailedDag>, Refusal> {
    let ids: Vec<Uuid> = runs.iter().map(|run| run.id).collect();
    let ledgers = if ids.is_empty() { Vec::new() } else { ledgers(db, &mut app.versions.clone(), &ids).await? };
    let of_run = |run: &RunMark| {
        let (_, ledger) = ledgers.iter().find(|(id, _)| *id == run.id)?;
        let run_href = format!("{}/runs/{}", dag_href(&run.dag_id), encoded(&run.run_id));
        let failed = PartlyFailed::of(ledger, &run_href)?;
        Some(PartlyFailedDag {
            dag_id: run.dag_id.clone(),
            words: format!("{}: {}", failed.title(), failed.names()),
            ago: parts::ago(run.ended_at.unwrap_or(run.created_at), now),
            run_href,
        })
    };
    Ok(runs.iter().filter_map(of_run).collect())
}

fn is_of(deed: &AuditRow, run: &RunMark) -> bool {
    deed.dag_id.as_ref() == Some(&run.dag_id) && deed.run_id.as_ref() == Some(&run.run_id)
}

fn view_running(run: &RunMark, usual: Option<TimeDelta>, now: ZonedNow) -> RunningRunLine {
    let took = run.active_time(now.at).unwrap_or_default();
    let percent = usual.map(|usual| (took.num_milliseconds() * 100 / usual.num_milliseconds().max(1)).clamp(0, 100));
    RunningRunLine {
        href: format!("{}/runs/{}", dag_href(&run.dag_id), encoded(&run.run_id)),
        dag_id: run.dag_id.clone(),
        run_id: run.run_id.clone(),
        took: parts::duration(took),
        is_late: usual.is_some_and(|usual| took > usual * 2),
        usual: usual.map(parts::duration),
        percent,
    }
}

fn view_next(next: NextRun, now: ZonedNow) -> NextRunLine {
    NextRunLine {
        href: dag_href(&next.dag_id),
        dag_id: next.dag_id,
        schedule: next.schedule_text,
        ago: parts::ago(next.run_after, now),
        at: parts::moment(next.run_after, now),
    }
}

/// Returns the address of an instance's page.
pub(crate) fn task_href(run_href: &str, task_id: &str, map_index: i32) -> String {
    let index = if map_index >= 0 { format!("/{map_index}") } else { String::new() };
    format!("{run_href}/tasks/{}{index}", encoded(task_id))
}
