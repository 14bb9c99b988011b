//! `/dags/{dag_id}/graph`: tasks and what they wait for, with the states of a run, drawn by the server.

use super::{Head, find};
use crate::extract::{DagPath, Query, no_such_run};
use crate::graph::{Graph, Layout, Node, Rect, lay_out};
use crate::pages::home::task_href;
use crate::pages::run::the_ledger;
use crate::pages::{Shell, encoded, html};
use crate::parts::{self, Escaped, url};
use crate::refusal::Refusal;
use crate::state::{App, Inner};
use askama::Template;
use askama::filters::HtmlSafe;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use orch_core::spec::DagSpec;
use orch_core::state::TaskState;
use orch_store::instance::{InstanceFilter, MOST_INSTANCES, list_instances, loudest_states};
use orch_store::run::{RunDetails, RunFilter, get_run, list_runs};
use sqlx::PgConnection;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "pages/dag/graph.html")]
struct GraphPage {
    shell: Shell,
    head: Head,
    drawing: Option<Drawing>,
    tasks: usize,
    /// Run id, its words, its address, whether it is the one.
    runs: Vec<Choice>,
    run_href: Option<String>,
    states: Vec<&'static str>,
}

struct Choice {
    run_id: String,
    words: String,
    is_shown: bool,
}

struct Drawing {
    graph: Graph,
    layout: Layout,
    /// In the order of the nodes.
    nodes: Vec<Shown>,
}

struct Shown {
    state: Option<TaskState>,
    detail: String,
    href: String,
}

const CHOICES: i64 = 25;
/// A larger graph is a wall of boxes, and takes long to send.
const MOST_NODES: usize = 500;

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    DagPath(dag_id): DagPath,
    query: Query,
) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let found = find(&app, &mut db, &dag_id).await?;
    let filter = RunFilter { dag_ids: Some(vec![found.row.dag_id.clone()]), ..RunFilter::default() };
    let mut runs = list_runs(&mut db, &filter, CHOICES).await?;
    let asked = query.text("run").filter(|run| !run.is_empty());
    let run = match asked {
        // Neither a run that is not among the last ones nor none at all.
        Some(run_id) if !runs.iter().any(|run| run.run_id == run_id) => {
            let run = get_run(&mut db, &found.row.dag_id, run_id).await?;
            let run = run.ok_or_else(|| no_such_run(&dag_id, run_id))?;
            runs.push(run.clone());
            Some(run)
        }
        Some(run_id) => runs.iter().find(|run| run.run_id == run_id).cloned(),
        None => runs.first().cloned(),
    };
    let head = Head::new(&found, "graph", shell.now);
    let (drawing, tasks) = match &run {
        Some(run) => of_run(&app, &mut db, run, &head.href, shell.now).await?,
        None => of_dag(&found.version.plan.spec, &head.href).await?,
    };
    let shown =
        |state: &&TaskState| drawing.as_ref().is_some_and(|d| d.nodes.iter().any(|node| node.state == Some(**state)));
    let choices = runs.iter().map(|one| Choice {
        words: format!(
            "{}, {} ({})",
            parts::words(one.run_type.as_str()),
            one.run_after.format("%-d %b %H:%M:%S"),
            parts::words(one.state.as_str())
        ),
        is_shown: run.as_ref().is_some_and(|run| run.id == one.id),
        run_id: one.run_id.clone(),
    });
    let page = GraphPage {
        runs: choices.collect(),
        run_href: run.as_ref().map(|run| format!("{}/runs/{}", head.href, encoded(&run.run_id))),
        states: TaskState::ALL.iter().filter(shown).map(|state| state.as_str()).collect(),
        shell,
        head,
        drawing,
        tasks,
    };
    html(StatusCode::OK, &page)
}

async fn of_dag(spec: &Arc<DagSpec>, href: &str) -> Result<(Option<Drawing>, usize), Refusal> {
    let drawing = drawing(laid_out(spec).await?, |node| Shown {
        state: None,
        detail: node.detail.clone(),
        href: format!("{href}/details#{}", encoded(&node.id)),
    });
    Ok((drawing, spec.tasks.len()))
}

async fn of_run(
    app: &Inner,
    db: &mut PgConnection,
    run: &RunDetails,
    href: &str,
    now: DateTime<Utc>,
) -> Result<(Option<Drawing>, usize), Refusal> {
    let ledger = the_ledger(app, db, run).await?;
    let plan = Arc::clone(&ledger.version.plan);
    let mut loud: HashMap<u16, TaskState> = HashMap::new();
    if !run.state.is_finished() {
        loud = loudest_states(db, &[run.id]).await?.into_iter().map(|(_, task, state)| (task, state)).collect();
    }
    // Elements are counted by the ledger; only what is not mapped has a row of its own to show.
    let alone = plan.tasks.iter().enumerate().filter(|(_, task)| task.map.is_none());
    let alone = alone.map(|(place, _)| plan.task_id(place as u16).to_string()).take(MOST_NODES);
    let filter = InstanceFilter { task_ids: Some(alone.collect()), ..InstanceFilter::default() };
    let mut versions = app.versions.clone();
    let rows = list_instances(db, &mut versions, run.id, &filter, MOST_INSTANCES).await?.unwrap_or_default();
    let rows: HashMap<u16, _> = rows.into_iter().map(|row| (row.task, row)).collect();
    let run_href = format!("{href}/runs/{}", encoded(&run.run_id));
    let drawing = drawing(laid_out(&plan.spec).await?, |node| {
        let Some(task) = plan.index_of(&node.id) else {
            return Shown { state: None, detail: node.detail.clone(), href: run_href.clone() };
        };
        let settled = ledger.run.task(task);
        let state = if settled.is_finished() { settled } else { *loud.get(&task).unwrap_or(&settled) };
        let row = rows.get(&task);
        let took = row.and_then(|row| Some(parts::duration(row.ended_at.unwrap_or(now) - row.started_at?)));
        let counts = ledger.run.element_counts(plan.task(task)).map(|counts| {
            let total: i32 = counts.iter().map(|(_, count)| count).sum();
            let over: i32 = counts.iter().filter(|(state, _)| state.is_finished()).map(|(_, count)| count).sum();
            format!("{over} of {total}")
        });
        let said = match state {
            TaskState::UpstreamFailed => Some("never started".into()),
            _ => counts.or(took),
        };
        Shown {
            state: Some(state),
            detail: said.unwrap_or_else(|| node.detail.clone()),
            href: task_href(&run_href, &node.id, -1),
        }
    });
    Ok((drawing, plan.tasks.len()))
}

/// Away from the threads that answer: a large graph takes milliseconds.
async fn laid_out(spec: &Arc<DagSpec>) -> Result<Option<(Graph, Layout)>, Refusal> {
    if spec.tasks.len() > MOST_NODES {
        return Ok(None);
    }
    let spec = Arc::clone(spec);
    let laid = tokio::task::spawn_blocking(move || {
        let graph = Graph::of(&spec);
        let layout = lay_out(&graph);
        (graph, layout)
    });
    laid.await.map(Some).map_err(|error| Refusal::Broken(format!("a graph cannot be laid out: {error}")))
}

fn drawing(laid: Option<(Graph, Layout)>, shown: impl Fn(&Node) -> Shown) -> Option<Drawing> {
    let (graph, layout) = laid?;
    let nodes = graph.nodes.iter().map(shown).collect();
    Some(Drawing { graph, layout, nodes })
}

impl fmt::Display for Drawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Layout { width, height, .. } = self.layout;
        write!(
            f,
            r#"<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="group" aria-label="Task graph">"#
        )?;
        let groups = self.graph.groups.iter().enumerate().zip(&self.layout.groups).filter(|(_, rect)| rect.width > 0);
        for ((at, group), Rect { x, y, width, height }) in groups {
            let (tasks, mapped) = (self.graph.tasks_in(at), if group.is_mapped { "mapped, " } else { "" });
            let count = if tasks == 1 { "1 task".to_string() } else { format!("{tasks} tasks") };
            write!(
                f,
                r#"<rect class="grp" x="{x}" y="{y}" width="{width}" height="{height}"/><text x="{}" y="{}">{}</text><text class="sm" x="{}" y="{}" text-anchor="end">{mapped}{count}</text>"#,
                x + 14,
                y + 21,
                Escaped(&group.label),
                x + width - 14,
                y + 21
            )?;
        }
        for (edge, wire) in self.graph.edges.iter().zip(&self.layout.wires) {
            let lost = |at: usize| self.nodes[at].state.is_some_and(TaskState::is_failed);
            let is_hot = lost(edge.from) && self.nodes[edge.to].state == Some(TaskState::UpstreamFailed);
            let class = if is_hot {
                "wire hot"
            } else if edge.is_lenient {
                "wire wait"
            } else {
                "wire"
            };
            write!(f, r#"<path class="{class}" d="{}"/>"#, wire.path)?;
        }
        for ((node, shown), rect) in self.graph.nodes.iter().zip(&self.nodes).zip(&self.layout.nodes) {
            of_node(f, node, shown, *rect)?;
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Drawing {}

fn of_node(f: &mut fmt::Formatter<'_>, node: &Node, shown: &Shown, rect: Rect) -> fmt::Result {
    let Rect { x, y, width, height } = rect;
    let state = match shown.state {
        None => "ink",
        Some(TaskState::None) => "no_status",
        Some(state) => state.as_str(),
    };
    write!(f, r#"<a class="node s-{state}" href="{}"><title>{}</title>"#, Escaped(&shown.href), Escaped(&node.id))?;
    if node.is_mapped {
        for by in [5, 2] {
            let (x, y) = (x + by, y + by);
            write!(f, r#"<rect class="back" x="{x}" y="{y}" width="{width}" height="{height}"/>"#)?;
        }
    }
    write!(
        f,
        r#"<rect class="face" x="{x}" y="{y}" width="{width}" height="{height}"/><rect class="edge-l" x="{x}" y="{}" width="3" height="{}"/>"#,
        y + 6,
        height - 12
    )?;
    let text_x = if shown.state.is_some() {
        write!(
            f,
            r#"<svg class="si s-{state}" x="{}" y="{}" width="14" height="14" viewBox="0 0 16 16" role="img" aria-label="{}"><use href="{}#s-{state}"/></svg>"#,
            x + 12,
            y + 8,
            parts::words(state),
            url("icons.svg")
        )?;
        x + 33
    } else {
        x + 14
    };
    let label_y = if shown.detail.is_empty() { y + 26 } else { y + 19 };
    write!(f, r#"<text x="{text_x}" y="{label_y}">{}</text>"#, Escaped(&node.label))?;
    if !shown.detail.is_empty() {
        write!(f, r#"<text class="sm" x="{text_x}" y="{}">{}</text>"#, y + 35, Escaped(&shown.detail))?;
    }
    f.write_str("</a>")
}
