//! `/dags/{dag_id}/graph`: tasks and their dependencies as a graph, drawn on the server. The query selects the run
//! whose states are shown, or a version without states; the direction; the zoom; a task whose upstream or downstream
//! tasks are shown; and the open groups of a large DAG.

pub(in crate::pages) mod drawing;

use super::grid::loudness;
use super::{Head, LoadedDag, find};
use crate::extract::{DagPath, Query, no_such_run};
use crate::graph::{Flow, Graph, Layout, Node};
use crate::pages::home::task_href;
use crate::pages::run::the_ledger;
use crate::pages::{Shell, encoded, html};
use crate::parts::{self, ZonedNow};
use crate::refusal::Refusal;
use crate::state::{App, Inner};
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use drawing::{Drawing, DrawnNode, laid_out};
use orch_core::plan::{Plan, TaskIdx};
use orch_spec::state::TaskState;
use orch_spec::{DagSpec, TaskSpec};
use orch_store::instance::{InstanceFilter, MOST_INSTANCES, list_instances, loudest_states};
use orch_store::narrow;
use orch_store::run::{RUNS, RunDetails, get_run, newest_of_dag};
use orch_store::version::version_of;
use sqlx::PgConnection;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

#[derive(Template)]
#[template(path = "pages/dag/graph.html")]
struct GraphPage {
    shell: Shell,
    head: Head,
    drawing: Option<Drawing>,
    tasks: usize,
    runs: Vec<Choice>,
    run_href: Option<String>,
    version: i32,
    /// True if a version without states was requested.
    is_bare: bool,
    states: Vec<&'static str>,
    view: View,
    names: Vec<String>,
    /// True if groups are folded or can be folded.
    has_folds: bool,
    /// True if the picture contains a failed task.
    has_failed: bool,
}

struct Choice {
    run_id: String,
    words: String,
    is_shown: bool,
}

/// View settings from the query. Each link on the page changes one of them.
#[derive(Debug, Clone)]
struct View {
    href: String,
    run: Option<String>,
    version: Option<i32>,
    dir: &'static str,
    /// `None` fits the picture to its frame.
    zoom: Option<i32>,
    task: String,
    reach: &'static str,
    /// Groups that are open; [`ALL`] for all. `None` opens the groups of the selected task and of failed tasks.
    open: Option<BTreeSet<String>>,
}

const CHOICES: i64 = 25;
/// A larger graph is unreadable and slow to send.
const MOST_NODES: usize = 500;
/// Groups are folded if the graph has more tasks than this.
const MOST_UNFOLDED: usize = 40;
/// Value of `open` that opens every group.
const ALL: &str = "*";
/// Maximum number of failed tasks whose groups are open by default.
const MOST_OPENED: usize = 5;
pub(crate) const DIRECTIONS: [&str; 2] = ["right", "down"];
pub(crate) const REACHES: [&str; 3] = ["both", "up", "down"];
const ZOOMS: [i32; 7] = [25, 50, 75, 100, 125, 150, 200];

impl View {
    fn new(query: &Query, href: &str) -> Result<View, Refusal> {
        let one_of = |name: &str, words: &[&'static str]| {
            let asked = query.text(name).unwrap_or_default();
            words.iter().find(|word| **word == asked).copied().unwrap_or(words[0])
        };
        let number = |name: &str| match query.text(name).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => {
                text.parse::<i32>().map(Some).map_err(|_| Refusal::bad_request(format!("`{name}` is a number")))
            }
        };
        Ok(View {
            href: format!("{href}/graph"),
            run: query.text("run").filter(|run| !run.is_empty()).map(Into::into),
            version: number("version")?,
            dir: one_of("dir", &DIRECTIONS),
            // Rounds to the nearest supported zoom.
            zoom: number("zoom")?
                .and_then(|zoom| ZOOMS.into_iter().min_by_key(|known| (known - zoom.clamp(1, 1_000)).abs())),
            task: query.text("task").unwrap_or_default().into(),
            reach: one_of("reach", &REACHES),
            open: query.text("open").map(|_| query.all("open").filter(|id| !id.is_empty()).map(Into::into).collect()),
        })
    }

    fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(run) = &self.run {
            query.append_pair("run", run);
        }
        if let Some(version) = self.version {
            query.append_pair("version", &version.to_string());
        }
        if self.dir != DIRECTIONS[0] {
            query.append_pair("dir", self.dir);
        }
        if let Some(zoom) = self.zoom {
            query.append_pair("zoom", &zoom.to_string());
        }
        if !self.task.is_empty() {
            query.append_pair("task", &self.task);
        }
        if self.reach != REACHES[0] {
            query.append_pair("reach", self.reach);
        }
        if let Some(open) = &self.open {
            let none = open.is_empty().then_some("");
            none.into_iter().chain(open.iter().map(String::as_str)).for_each(|id| {
                query.append_pair("open", id);
            });
        }
        let query = query.finish();
        if query.is_empty() { self.href.clone() } else { format!("{}?{query}", self.href) }
    }

    fn along(&self, dir: &'static str) -> String {
        View { dir, ..self.clone() }.query()
    }

    fn reaching(&self, reach: &'static str) -> String {
        View { reach, ..self.clone() }.query()
    }

    fn of_all(&self) -> String {
        View { task: String::new(), reach: REACHES[0], ..self.clone() }.query()
    }

    fn at(&self, zoom: impl Into<Option<i32>>) -> String {
        View { zoom: zoom.into(), ..self.clone() }.query()
    }

    fn closer(&self) -> Option<String> {
        ZOOMS.into_iter().find(|zoom| *zoom > self.zoom.unwrap_or(100)).map(|zoom| self.at(zoom))
    }

    fn farther(&self) -> Option<String> {
        ZOOMS.into_iter().rev().find(|zoom| *zoom < self.zoom.unwrap_or(100)).map(|zoom| self.at(zoom))
    }

    fn with_open(&self, open: BTreeSet<String>) -> String {
        View { open: Some(open), ..self.clone() }.query()
    }

    fn all_open(&self) -> String {
        self.with_open(BTreeSet::from([ALL.into()]))
    }

    fn all_folded(&self) -> String {
        self.with_open(BTreeSet::new())
    }

    fn flow(&self) -> Flow {
        if self.dir == "down" { Flow::Down } else { Flow::Right }
    }

    /// Returns the ids of the tasks to draw; `None` means all.
    fn wanted(&self, plan: &Plan) -> Result<Option<BTreeSet<String>>, Refusal> {
        if self.task.is_empty() {
            return Ok(None);
        }
        let missing = || Refusal::not_found(format!("there is no task `{}` in this version of the DAG", self.task));
        let task = plan.index_of(&self.task).ok_or_else(missing)?;
        let mut seen = BTreeSet::from([task]);
        if self.reach != "down" {
            reach(plan, task, &mut seen, |plan, task| plan.task(task).up.iter().map(|edge| edge.task).collect());
        }
        if self.reach != "up" {
            reach(plan, task, &mut seen, |plan, task| plan.task(task).down.iter().map(|edge| edge.task).collect());
        }
        Ok(Some(seen.into_iter().map(|task| plan.task_id(task).to_string()).collect()))
    }
}

fn reach(plan: &Plan, from: TaskIdx, seen: &mut BTreeSet<TaskIdx>, next: impl Fn(&Plan, TaskIdx) -> Vec<TaskIdx>) {
    let (mut open, mut met) = (vec![from], BTreeSet::from([from]));
    while let Some(task) = open.pop() {
        for other in next(plan, task) {
            if met.insert(other) {
                open.push(other);
            }
        }
    }
    seen.extend(met);
}

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    DagPath(dag_id): DagPath,
    query: Query,
) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let found = find(&app, &mut db, &dag_id).await?;
    let head = Head::new(&found, "graph", shell.now);
    let mut view = View::new(&query, &head.href)?;
    let mut runs = RUNS.rows(&mut db, &newest_of_dag(&found.row.dag_id, CHOICES)).await?;
    let run = match &view.run {
        // The requested run can be older than the listed runs.
        Some(run_id) if !runs.iter().any(|run| run.run_id == *run_id) => {
            let run = get_run(&mut db, &found.row.dag_id, run_id).await?;
            let run = run.ok_or_else(|| no_such_run(&dag_id, run_id))?;
            runs.push(run.clone());
            Some(run)
        }
        Some(run_id) => runs.iter().find(|run| run.run_id == *run_id).cloned(),
        // A version without a run has no states.
        None if view.version.is_some() => None,
        None => runs.first().cloned(),
    };
    let (drawing, tasks, version, names) = if let Some(run) = &run {
        // A run is drawn with its own version, even if another version was requested.
        view.version = None;
        let (drawing, plan) = of_run(&app, &mut db, run, &head.href, &view, shell.now).await?;
        (drawing, plan.tasks.len(), run.version_number, names(&plan))
    } else {
        let (plan, number) = of_version(&app, &mut db, &found, view.version).await?;
        let drawing = of_dag(&plan, &head.href, &view).await?;
        (drawing, plan.tasks.len(), number, names(&plan))
    };
    let shown =
        |state: &&TaskState| drawing.as_ref().is_some_and(|d| d.nodes.iter().any(|node| node.state == Some(**state)));
    let choices = runs.iter().map(|one| Choice {
        words: format!(
            "{}, {} ({})",
            parts::words(one.run_type.as_str()),
            shell.now.written(one.run_after, "%-d %b %H:%M:%S"),
            parts::words(one.state.as_str())
        ),
        is_shown: run.as_ref().is_some_and(|run| run.id == one.id),
        run_id: one.run_id.clone(),
    });
    let page = GraphPage {
        runs: choices.collect(),
        run_href: run.as_ref().map(|run| format!("{}/runs/{}", head.href, encoded(&run.run_id))),
        states: TaskState::ALL.iter().filter(shown).map(|state| state.as_str()).collect(),
        is_bare: run.is_none(),
        has_folds: drawing.as_ref().is_some_and(Drawing::has_folds) || view.open.is_some(),
        has_failed: drawing.as_ref().is_some_and(|drawing| drawing.failed().is_some()),
        shell,
        head,
        drawing,
        tasks,
        version,
        view,
        names,
    };
    html(StatusCode::OK, &page)
}

fn names(plan: &Plan) -> Vec<String> {
    plan.spec.tasks.iter().take(MOST_NODES).map(|task| task.task_id.clone()).collect()
}

async fn of_version(
    app: &Inner,
    db: &mut PgConnection,
    found: &LoadedDag,
    number: Option<i32>,
) -> Result<(Arc<Plan>, i32), Refusal> {
    let Some(number) = number.filter(|number| *number != found.row.version_number) else {
        return Ok((Arc::clone(&found.version.plan), found.row.version_number));
    };
    let dag_id = &found.row.dag_id;
    let row = version_of(db, dag_id, number).await?;
    let row = row.ok_or_else(|| Refusal::not_found(format!("`{dag_id}` has no version {number}")))?;
    Ok((app.versions.get(db, row.id).await?.plan.clone(), number))
}

async fn of_dag(plan: &Arc<Plan>, href: &str, view: &View) -> Result<Option<Drawing>, Refusal> {
    let laid = graph_of(&plan.spec, view, view.wanted(plan)?, Vec::new()).await?;
    Ok(drawing(laid, view, |node| DrawnNode {
        state: None,
        detail: planned_detail(node),
        href: format!("{href}/tasks?q={0}#{0}", encoded(&node.id)),
    }))
}

async fn of_run(
    app: &Inner,
    db: &mut PgConnection,
    run: &RunDetails,
    href: &str,
    view: &View,
    now: ZonedNow,
) -> Result<(Option<Drawing>, Arc<Plan>), Refusal> {
    let ledger = the_ledger(app, db, run).await?;
    let plan = Arc::clone(&ledger.version.plan);
    let mut loud: HashMap<u16, TaskState> = HashMap::new();
    if !run.state.is_finished() {
        loud = loudest_states(db, &[run.id]).await?.into_iter().map(|(_, task, state)| (task, state)).collect();
    }
    // Mapped elements are counted in the ledger; only tasks that are not mapped have a row to show.
    let alone = plan.tasks.iter().enumerate().filter(|(_, task)| task.map.is_none());
    let alone = alone.map(|(place, _)| plan.task_id(narrow::task(place)).to_string()).take(MOST_NODES);
    let filter = InstanceFilter { task_ids: Some(alone.collect()), ..InstanceFilter::default() };
    let mut versions = app.versions.clone();
    let rows = list_instances(db, &mut versions, run.id, &filter, MOST_INSTANCES).await?.unwrap_or_default();
    let rows: HashMap<u16, _> = rows.into_iter().map(|row| (row.task, row)).collect();
    let run_href = format!("{href}/runs/{}", encoded(&run.run_id));
    let state_of = |task: TaskIdx| {
        let settled = ledger.run.task(task);
        if settled.is_finished() { settled } else { *loud.get(&task).unwrap_or(&settled) }
    };
    let failed = (0..narrow::task(plan.tasks.len())).filter(|task| state_of(*task) == TaskState::Failed);
    let failed: Vec<TaskIdx> = failed.take(MOST_OPENED).collect();
    let laid = graph_of(&plan.spec, view, view.wanted(&plan)?, failed).await?;
    let drawing = drawing(laid, view, |node| {
        let Some(task) = plan.index_of(&node.id).filter(|_| node.members.is_empty()) else {
            let members = node.members.iter().filter_map(|id| plan.index_of(id)).map(state_of);
            let members: Vec<TaskState> = members.collect();
            let state = members.iter().copied().min_by_key(|state| loudness(state.as_str()));
            let failed = members.iter().filter(|state| **state == TaskState::Failed).count();
            let detail = match failed {
                0 => planned_detail(node),
                failed => format!("{failed} of {} failed", members.len()),
            };
            return DrawnNode { state, detail, href: run_href.clone() };
        };
        let state = state_of(task);
        let row = rows.get(&task);
        let took = row.and_then(|row| Some(parts::duration(row.ended_at.unwrap_or(now.at) - row.started_at?)));
        let counts = ledger.run.element_counts(plan.task(task)).map(|counts| {
            let total: i32 = counts.iter().map(|(_, count)| count).sum();
            let count = |wanted: fn(TaskState) -> bool| -> i32 {
                counts.iter().filter(|(state, _)| wanted(*state)).map(|(_, count)| count).sum()
            };
            match count(|state| state == TaskState::Failed) {
                failed if failed > 0 && state == TaskState::Failed => format!("{failed} of {total} failed"),
                _ => format!("{} of {total}", count(TaskState::is_finished)),
            }
        });
        let said = match state {
            TaskState::UpstreamFailed => Some("never started".into()),
            _ => counts.or(took),
        };
        DrawnNode {
            state: Some(state),
            detail: said.unwrap_or_else(|| node.detail.clone()),
            href: task_href(&run_href, &node.id, -1),
        }
    });
    Ok((drawing, plan))
}

/// A graph with its layout and its open groups. If `open` is `None`, no group is folded.
struct LaidOut {
    graph: Graph,
    layout: Layout,
    open: Option<BTreeSet<String>>,
}

async fn graph_of(
    spec: &Arc<DagSpec>,
    view: &View,
    wanted: Option<BTreeSet<String>>,
    failed: Vec<TaskIdx>,
) -> Result<Option<LaidOut>, Refusal> {
    let open = open_groups(spec, view, wanted.as_ref().map_or(spec.tasks.len(), BTreeSet::len), &failed);
    let (spec, opened) = (Arc::clone(spec), open.clone());
    let graph = move || {
        let graph = match wanted {
            None => Graph::of(&spec),
            Some(wanted) => {
                let mut some = DagSpec::clone(&spec);
                some.tasks.retain(|task| wanted.contains(&task.task_id));
                Graph::of(&some)
            }
        };
        let graph = match opened {
            Some(open) if !open.contains(ALL) => graph.fold(|id| !open.contains(id)),
            _ => graph,
        };
        (graph.nodes.len() <= MOST_NODES).then_some(graph)
    };
    let laid = laid_out(graph, view.flow()).await?;
    Ok(laid.map(|(graph, layout)| LaidOut { graph, layout, open }))
}

/// Returns the groups whose tasks are drawn. `None` if all tasks are drawn, because there are few tasks or no groups.
fn open_groups(spec: &DagSpec, view: &View, shown: usize, failed: &[TaskIdx]) -> Option<BTreeSet<String>> {
    if shown <= MOST_UNFOLDED || spec.tasks.iter().all(|task| task.group_id.is_none()) {
        return None;
    }
    let failed = failed.iter().filter_map(|task| spec.tasks.get(usize::from(*task)));
    let mut open = match &view.open {
        Some(open) => open.clone(),
        None => failed.flat_map(groups_around).collect(),
    };
    open.extend(spec.task(&view.task).into_iter().flat_map(groups_around));
    Some(open)
}

/// Returns what is unusual about a task, or the number of tasks in a folded group.
fn planned_detail(node: &Node) -> String {
    if node.members.is_empty() { node.detail.clone() } else { parts::counted(node.members.len(), "task") }
}

/// Returns the group of a task and all outer groups: `a` and `a.b` for a task in `a.b`.
fn groups_around(task: &TaskSpec) -> Vec<String> {
    let Some(group) = task.group_id.as_deref() else { return Vec::new() };
    let outer = group.match_indices('.').map(|(at, _)| group[..at].to_string());
    outer.chain([group.to_string()]).collect()
}

fn drawing(laid: Option<LaidOut>, view: &View, shown: impl Fn(&Node) -> DrawnNode) -> Option<Drawing> {
    let LaidOut { graph, layout, open } = laid?;
    let with = |id: &str, open: &BTreeSet<String>| view.with_open(open.iter().cloned().chain([id.into()]).collect());
    let without =
        |id: &str, open: &BTreeSet<String>| view.with_open(open.iter().filter(|other| *other != id).cloned().collect());
    let nodes = graph.nodes.iter().map(|node| match &open {
        Some(open) if !node.members.is_empty() => DrawnNode { href: with(&node.id, open), ..shown(node) },
        _ => shown(node),
    });
    let nodes = nodes.collect();
    let foldable = open.filter(|open| !open.contains(ALL)).unwrap_or_default();
    let folds = graph.groups.iter().map(|group| foldable.contains(&group.id).then(|| without(&group.id, &foldable)));
    let folds = folds.collect();
    let chosen = graph.nodes.iter().position(|node| node.id == view.task);
    Some(Drawing { name: "Task graph", graph, layout, nodes, zoom: view.zoom, chosen, folds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_changes_one_thing() {
        let view = View {
            href: "/g".into(),
            run: Some("a+b".into()),
            version: None,
            dir: "right",
            zoom: None,
            task: "t&u".into(),
            reach: "both",
            open: None,
        };
        assert_eq!(view.query(), "/g?run=a%2Bb&task=t%26u");
        assert_eq!(view.along("down"), "/g?run=a%2Bb&dir=down&task=t%26u");
        assert_eq!(view.closer().as_deref(), Some("/g?run=a%2Bb&zoom=125&task=t%26u"));
        assert_eq!(view.farther().as_deref(), Some("/g?run=a%2Bb&zoom=75&task=t%26u"));
        assert_eq!(View { zoom: Some(200), ..view.clone() }.closer(), None);
        assert_eq!(view.all_folded(), "/g?run=a%2Bb&task=t%26u&open=");
        assert_eq!(view.of_all(), "/g?run=a%2Bb");
    }
}
