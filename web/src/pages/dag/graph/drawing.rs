//! Renders a graph as SVG: boxes of groups, edges, and nodes that link to pages.

use crate::graph::{Edge, Flow, Graph, Layout, Node, Rect, lay_out_along};
use crate::parts::{self, Escaped, url};
use crate::refusal::Refusal;
use askama::filters::HtmlSafe;
use orch_spec::state::TaskState;
use std::fmt;

pub(in crate::pages) struct Drawing {
    /// Accessible name of the picture.
    pub(in crate::pages) name: &'static str,
    pub(in crate::pages) graph: Graph,
    pub(in crate::pages) layout: Layout,
    /// One entry per node of `graph`, in the same order.
    pub(in crate::pages) nodes: Vec<DrawnNode>,
    /// Zoom in percent; `None` fits the picture to its frame.
    pub(in crate::pages) zoom: Option<i32>,
    /// Index of the selected node.
    pub(in crate::pages) chosen: Option<usize>,
    /// Address that folds a group, by index of the group; `None` if the group cannot be folded.
    pub(in crate::pages) folds: Vec<Option<String>>,
}

pub(in crate::pages) struct DrawnNode {
    pub(in crate::pages) state: Option<TaskState>,
    pub(in crate::pages) detail: String,
    pub(in crate::pages) href: String,
}

/// Lays out the graph on a blocking thread, because a large graph takes milliseconds.
pub(in crate::pages) async fn laid_out(
    graph: impl FnOnce() -> Option<Graph> + Send + 'static,
    flow: Flow,
) -> Result<Option<(Graph, Layout)>, Refusal> {
    let laid = tokio::task::spawn_blocking(move || {
        let graph = graph()?;
        let layout = lay_out_along(&graph, flow);
        Some((graph, layout))
    });
    laid.await.map_err(|error| Refusal::Broken(format!("a graph cannot be laid out: {error}")))
}

impl fmt::Display for Drawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Layout { width, height, .. } = self.layout;
        let zoom = self.zoom.unwrap_or(100);
        let (wide, tall) = (width * zoom / 100, height * zoom / 100);
        let class = if self.zoom.is_none() { r#" class="fit""# } else { "" };
        write!(
            f,
            r#"<svg width="{wide}" height="{tall}" viewBox="0 0 {width} {height}"{class} role="group" aria-label="{}">"#,
            self.name
        )?;
        let groups = self.graph.groups.iter().enumerate().zip(&self.layout.groups).filter(|(_, rect)| rect.width > 0);
        for ((at, group), Rect { x, y, width, height }) in groups {
            let (tasks, mapped) = (self.graph.tasks_in(at), if group.is_mapped { "mapped, " } else { "" });
            let count = parts::counted(tasks, "task");
            let (label, fold) = (Escaped(&group.label), self.folds.get(at).and_then(Option::as_deref));
            write!(f, r#"<rect class="grp" x="{x}" y="{y}" width="{width}" height="{height}"/>"#)?;
            let (left, right, base) = (x + 14, x + width - 14, y + 21);
            match fold.map(Escaped) {
                None => write!(f, r#"<text x="{left}" y="{base}">{label}</text>"#)?,
                Some(href) => write!(
                    f,
                    r#"<a class="foldable" href="{href}"><title>Fold {label}</title><text x="{left}" y="{base}">{label} −</text></a>"#
                )?,
            }
            write!(f, r#"<text class="sm" x="{right}" y="{base}" text-anchor="end">{mapped}{count}</text>"#)?;
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
            let Edge { from, to, .. } = edge;
            write!(f, r#"<path class="{class}" data-from="{from}" data-to="{to}" d="{}"/>"#, wire.path)?;
        }
        let failed = self.failed();
        for (at, node) in self.graph.nodes.iter().enumerate() {
            let shown = &self.nodes[at];
            let (state, id) = (class_of(shown.state), if failed == Some(at) { r#" id="failed""# } else { "" });
            let current = if self.chosen == Some(at) { r#" aria-current="true""# } else { "" };
            let (href, title) = (Escaped(&shown.href), Escaped(&node.id));
            write!(
                f,
                r#"<a class="node s-{state}"{id} data-node="{at}" href="{href}"{current}><title>{title}</title>"#
            )?;
            of_node(f, node, shown, self.layout.nodes[at])?;
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Drawing {}

impl Drawing {
    /// Returns true if a group is drawn as one node.
    pub(in crate::pages) fn has_folds(&self) -> bool {
        self.graph.nodes.iter().any(|node| !node.members.is_empty())
    }

    /// Returns the first node in the state `failed`, not `upstream_failed`.
    pub(in crate::pages) fn failed(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.state == Some(TaskState::Failed))
    }
}

fn class_of(state: Option<TaskState>) -> &'static str {
    match state {
        None => "ink",
        Some(TaskState::None) => "no_status",
        Some(state) => state.as_str(),
    }
}

/// Writes the content of a node's link and the closing tag.
fn of_node(f: &mut fmt::Formatter<'_>, node: &Node, shown: &DrawnNode, rect: Rect) -> fmt::Result {
    let Rect { x, y, width, height } = rect;
    let state = class_of(shown.state);
    if node.is_mapped || !node.members.is_empty() {
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
