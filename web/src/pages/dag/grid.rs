//! `/dags/{dag_id}`: the grid of the last runs and the tasks of a DAG, drawn on the server: one column per run, one
//! row per task. Details of the selected cell are shown next to the grid.

mod chosen;

use super::{Head, LoadedDag, find, offering};
use crate::extract::{DagPath, Query};
use crate::pages::run::failure::PartlyFailed;
use crate::pages::{Shell, encoded, html};
use crate::parts::{self, ZonedNow};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chosen::Chosen;
use chrono::TimeDelta;
use orch_core::plan::TaskIdx;
use orch_spec::DagSpec;
use orch_spec::state::{RunState, RunType, TaskState};
use orch_store::instance::{Ledger, ledgers, loudest_states};
use orch_store::narrow;
use orch_store::overview::RunMark;
use orch_store::run::{RUNS, RunDetails, by, newest_of_dag};
use orch_store::timing::usual_run;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

#[derive(Template)]
#[template(path = "pages/dag/grid.html")]
struct GridPage {
    shell: Shell,
    head: Head,
    kind: &'static str,
    most: i64,
    columns: Vec<Column>,
    /// Number of runs, as text.
    counted: String,
    rows: Vec<Row>,
    longest: String,
    half: String,
    states: Vec<&'static str>,
    /// Smallest entry of `CHOICES` that holds all runs. It determines the width of the cells.
    narrow: i64,
    chosen: Option<Chosen>,
    /// Address of the grid without a selection.
    base: String,
    /// Latest run, summarized next to the grid.
    latest: Option<Summary>,
    usual: Option<String>,
    good: usize,
    /// Number of `good` runs in which tasks failed.
    partly_failed: usize,
    failed: usize,
    running: i64,
    queued: i64,
    most_runs: i32,
    workers: String,
}

struct Summary {
    state: parts::State,
    href: String,
    at: parts::Ago,
    /// `took 3 s`, or `running for 3 s` while it is not finished.
    elapsed: Option<String>,
}

struct Column {
    href: String,
    is_chosen: bool,
    label: String,
    state: &'static str,
    /// The run succeeded although tasks failed.
    has_failed_tasks: bool,
    top: i64,
    tall: i64,
    by_hand: bool,
    day: Option<String>,
}

struct Row {
    name: String,
    /// Full task id, including its groups.
    task_id: String,
    href: String,
    /// Number of a group row. It folds the rows that have this number in `inside`.
    fold: Option<usize>,
    inside: Option<usize>,
    note: String,
    cells: Vec<Option<Cell>>,
}

struct Cell {
    state: &'static str,
    href: String,
    is_chosen: bool,
    label: String,
}

pub(crate) const CHOICES: [(&str, i64); 3] = [("24", 24), ("50", 50), ("100", 100)];
pub(crate) const KINDS: [(&str, &[RunType]); 3] =
    [("all", &[]), ("scheduled", &[RunType::Scheduled]), ("manual", &[RunType::Manual])];
/// Maximum height of a bar in pixels.
const TALL: i64 = 57;
/// A grid with more tasks is unreadable.
const MOST_TASKS: usize = 400;

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    DagPath(dag_id): DagPath,
    query: Query,
) -> Result<Response, Refusal> {
    let asked = query.text("runs");
    let (_, most) = CHOICES.into_iter().find(|(word, _)| Some(*word) == asked).unwrap_or(CHOICES[0]);
    let asked = query.text("type").unwrap_or("all");
    let (kind, run_types) = KINDS.into_iter().find(|(name, _)| *name == asked).unwrap_or(KINDS[0]);
    let mut db = app.pages().await?;
    let found = find(&app, &mut db, &dag_id).await?;
    let of_type = run_types.iter().map(|run_type| run_type.as_str());
    let search =
        newest_of_dag(&found.row.dag_id, most).and((!run_types.is_empty()).then(|| by::RUN_TYPE.any_of(of_type)));
    let mut runs = RUNS.rows(&mut db, &search).await?;
    runs.reverse();
    let ids: Vec<Uuid> = runs.iter().map(|run| run.id).collect();
    let ledgers: HashMap<Uuid, Ledger> = ledgers(&mut db, &mut app.versions.clone(), &ids).await?.into_iter().collect();
    let open: Vec<Uuid> = runs.iter().filter(|run| !run.state.is_finished()).map(|run| run.id).collect();
    let mut loud: HashMap<(Uuid, u16), TaskState> = HashMap::new();
    if !open.is_empty() {
        loud = loudest_states(&mut db, &open).await?.into_iter().map(|(run, task, s)| ((run, task), s)).collect();
    }
    let now = shell.now;
    let longest = runs.iter().map(|run| took(run, now)).max().unwrap_or_default();
    let longest = round_up(longest);
    let head = Head::new(&found, "grid", now);
    let base = format!("{}?type={kind}&runs={most}", head.href);
    let chosen = Chosen::of(&app, &mut db, &runs, &query, now).await?;
    let links = Links { base: &base, chosen: chosen.as_ref() };
    let partly_failed = |run: &RunDetails| {
        let ledger = ledgers.get(&run.id);
        ledger.is_some_and(|ledger| PartlyFailed::of(ledger, &head.href).is_some())
    };
    let partly_failed: HashSet<Uuid> = runs.iter().filter(|run| partly_failed(run)).map(|run| run.id).collect();
    let columns = columns(&runs, &partly_failed, &links, longest, now);
    let rows = rows(&found, &runs, &ledgers, &loud, &head.href, &links);
    let usual = usual_run(&mut db, &found.row.dag_id).await?;
    let page = GridPage {
        states: states(&rows),
        latest: runs.last().map(|run| summary(run, &head.href, now)),
        usual: usual.map(parts::duration),
        good: runs.iter().filter(|run| run.state == RunState::Success).count(),
        partly_failed: partly_failed.len(),
        failed: runs.iter().filter(|run| run.state == RunState::Failed).count(),
        longest: parts::duration(longest),
        half: parts::duration(longest / 2),
        running: found.places.running,
        queued: found.places.queued,
        most_runs: found.row.max_active_runs,
        workers: offering(found.places.workers),
        shell,
        head,
        kind,
        most,
        narrow: CHOICES.map(|(_, most)| most).into_iter().find(|most| *most >= columns.len() as i64).unwrap_or(most),
        chosen,
        base,
        counted: parts::counted(columns.len(), "run"),
        columns,
        rows,
    };
    html(StatusCode::OK, &page)
}

pub(super) fn mark(run: &RunDetails) -> RunMark {
    RunMark {
        id: run.id,
        dag_id: run.dag_id.clone(),
        run_id: run.run_id.clone(),
        state: run.state,
        run_type: run.run_type,
        run_after: run.run_after,
        created_at: run.created_at,
        started_at: run.started_at,
        ended_at: run.ended_at,
        idle: run.idle,
    }
}

fn summary(run: &RunDetails, href: &str, now: ZonedNow) -> Summary {
    Summary {
        state: parts::state(run.state.as_str()),
        href: format!("{href}/runs/{}", encoded(&run.run_id)),
        at: parts::ago(run.ended_at.or(run.started_at).unwrap_or(run.created_at), now),
        elapsed: run.started_at.map(|_| {
            let verb = if run.state.is_finished() { "took" } else { "running for" };
            format!("{verb} {}", parts::duration(took(run, now)))
        }),
    }
}

fn took(run: &RunDetails, now: ZonedNow) -> TimeDelta {
    run.active_time(now.at).unwrap_or_default()
}

/// Builds the links of cells, which lead to the same grid with the cell selected.
struct Links<'a> {
    base: &'a str,
    chosen: Option<&'a Chosen>,
}

impl Links<'_> {
    fn to(&self, run: &RunDetails, task_id: Option<&str>) -> String {
        let task = task_id.map(|task_id| format!("&task={}", encoded(task_id))).unwrap_or_default();
        format!("{}&at={}{task}", self.base, encoded(&run.run_id))
    }

    fn is_chosen(&self, run: &RunDetails, task_id: Option<&str>) -> bool {
        self.chosen.is_some_and(|chosen| chosen.is(run, task_id))
    }
}

fn columns(
    runs: &[RunDetails],
    partly_failed: &HashSet<Uuid>,
    links: &Links<'_>,
    longest: TimeDelta,
    now: ZonedNow,
) -> Vec<Column> {
    let mut last_day = None;
    let mut since_day = 0;
    let column = |run: &RunDetails| {
        let whole = longest.num_milliseconds().max(1);
        let tall = (took(run, now).num_milliseconds() * TALL / whole).clamp(2, TALL);
        let state = run.state.as_str();
        let has_failed_tasks = partly_failed.contains(&run.id);
        let day = now.local(run.run_after).date_naive();
        since_day += 1;
        // A date label is as wide as three columns.
        let is_new = last_day != Some(day) && (last_day.is_none() || since_day > 3);
        if is_new {
            (last_day, since_day) = (Some(day), 0);
        }
        Column {
            href: links.to(run, None),
            is_chosen: links.is_chosen(run, None),
            label: format!(
                "{} run {}, {}, {}",
                parts::words(run.run_type.as_str()),
                now.written(run.run_after, "%-d %b %H:%M"),
                if has_failed_tasks { parts::SUCCESS_WITH_FAILED_TASKS } else { state },
                parts::duration(took(run, now))
            ),
            state,
            has_failed_tasks,
            top: 60 - tall,
            tall,
            by_hand: run.run_type == RunType::Manual,
            day: is_new.then(|| day.format("%d %b").to_string()),
        }
    };
    runs.iter().map(column).collect()
}

fn rows(
    found: &LoadedDag,
    runs: &[RunDetails],
    ledgers: &HashMap<Uuid, Ledger>,
    loud: &HashMap<(Uuid, u16), TaskState>,
    href: &str,
    links: &Links<'_>,
) -> Vec<Row> {
    let spec = &found.version.plan.spec;
    let row = |place: TaskIdx, inside: Option<usize>| {
        let task = &spec.tasks[usize::from(place)];
        let cells = runs.iter().map(|run| cell(run, ledgers.get(&run.id)?, loud, &task.task_id, links));
        let cells: Vec<_> = cells.collect();
        let is_mapped = found.version.plan.task(place).map.is_some();
        let task_id = &task.task_id;
        // Rows inside a group omit the group's prefix, because the group's row is above them.
        let group = task.group_id.as_deref().filter(|_| inside.is_some()).unwrap_or_default();
        let in_group = task_id.strip_prefix(group).and_then(|rest| rest.strip_prefix('.'));
        Row {
            name: in_group.unwrap_or(task_id).into(),
            task_id: task_id.clone(),
            href: format!("{href}/tasks#{}", encoded(task_id)),
            fold: None,
            inside,
            note: if is_mapped { "mapped".into() } else { String::new() },
            cells,
        }
    };
    let mut rows = Vec::new();
    for Block { group, tasks } in blocks(spec) {
        if rows.len() >= MOST_TASKS {
            break;
        }
        let Some(group) = group else {
            rows.extend(tasks.iter().map(|&task| row(task, None)));
            continue;
        };
        let fold = rows.len();
        let inner: Vec<Row> = tasks.iter().map(|&task| row(task, Some(fold))).collect();
        let cells = (0..runs.len()).map(|run| {
            let loudest =
                inner.iter().filter_map(|row| row.cells[run].as_ref()).min_by_key(|cell| loudness(cell.state));
            loudest.map(|cell| Cell {
                state: cell.state,
                href: cell.href.clone(),
                is_chosen: false,
                label: format!("{group}: {}", parts::words(cell.state)),
            })
        });
        let cells = cells.collect();
        let (note, name) = (tasks.len().to_string(), group.to_string());
        rows.push(Row {
            task_id: name.clone(),
            name,
            href: String::new(),
            fold: Some(fold),
            inside: None,
            note,
            cells,
        });
        rows.extend(inner);
    }
    rows
}

/// Tasks in display order: the tasks of a group are together, at the position of its first task.
pub(in crate::pages) struct Block<'a> {
    pub(in crate::pages) group: Option<&'a str>,
    pub(in crate::pages) tasks: Vec<TaskIdx>,
}

pub(in crate::pages) fn blocks(spec: &DagSpec) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut of_group: HashMap<&str, usize> = HashMap::new();
    for (place, task) in spec.tasks.iter().enumerate() {
        let group = task.group_id.as_deref();
        let block = group.map_or(blocks.len(), |group| *of_group.entry(group).or_insert(blocks.len()));
        if block == blocks.len() {
            blocks.push(Block { group, tasks: Vec::new() });
        }
        blocks[block].tasks.push(narrow::task(place));
    }
    blocks
}

/// Rounds the maximum of the axis up to a value whose half is also round.
fn round_up(longest: TimeDelta) -> TimeDelta {
    let step = parts::ticks::millis(longest.num_milliseconds().max(1), 2);
    TimeDelta::milliseconds(step * 2)
}

/// Returns the rank of a state. A group shows the state with the lowest rank among its tasks.
pub(super) fn loudness(state: &str) -> usize {
    const LOUD: [&str; 13] = [
        "failed",
        "upstream_failed",
        "up_for_retry",
        "awaiting_input",
        "restarting",
        "running",
        "up_for_reschedule",
        "deferred",
        "queued",
        "scheduled",
        "none",
        "success",
        "skipped",
    ];
    LOUD.iter().position(|loud| *loud == state).unwrap_or(LOUD.len())
}

fn cell(
    run: &RunDetails,
    ledger: &Ledger,
    loud: &HashMap<(Uuid, u16), TaskState>,
    task_id: &str,
    links: &Links<'_>,
) -> Option<Cell> {
    // The run's version may not contain the task.
    let task = ledger.version.plan.index_of(task_id)?;
    let planned = ledger.version.plan.task(task);
    let settled = ledger.run.task(task);
    let state = if settled.is_finished() { settled } else { *loud.get(&(run.id, task)).unwrap_or(&settled) };
    let mut label = format!("{task_id}, {}: {}", run.run_id, parts::words(state.as_str()));
    if let Some(counts) = ledger.run.element_counts(planned) {
        let total: i32 = counts.iter().map(|(_, count)| count).sum();
        let over: i32 = counts.iter().filter(|(state, _)| state.is_finished()).map(|(_, count)| count).sum();
        label = format!("{label}, {over} of {total} over");
    }
    let (href, is_chosen) = (links.to(run, Some(task_id)), links.is_chosen(run, Some(task_id)));
    Some(Cell { state: state.as_str(), href, is_chosen, label })
}

/// Returns the states in the grid for the legend, in the order of `TaskState::ALL`.
fn states(rows: &[Row]) -> Vec<&'static str> {
    let shown =
        |state: &&TaskState| rows.iter().any(|row| row.cells.iter().flatten().any(|cell| cell.state == state.as_str()));
    TaskState::ALL.iter().filter(shown).map(|state| state.as_str()).collect()
}
