//! A graph as a standalone SVG in the style of the graph page, with its colors in the file.

use super::layout::{Layout, Rect, lay_out};
use super::{Graph, Group, Node};
use orch_spec::DagSpec;
use std::fmt::Write as _;

/// Colors of the graph page in light and dark, without `var()`, which some SVG viewers do not support.
const STYLE: &str = "\
text{font:12px Inter,system-ui,sans-serif;fill:#1a1c1f}.sm{font-size:11px;fill:#676b71}.paper{fill:#f8f7f4}\
.node rect{fill:#fff;stroke:#cbc7bf}.node .edge-l{fill:#8b877f;stroke:none}.grp{fill:#f2f0ec;stroke:#cbc7bf}\
.wire{fill:none;stroke:#a5a199;stroke-width:1.5}.wire.wait{stroke-dasharray:4 4}\
@media(prefers-color-scheme:dark){text{fill:#e9ebed}.sm{fill:#8f979f}.paper{fill:#0f1113}\
.node rect{fill:#15181b;stroke:#3b434b}.node .edge-l{fill:#6d7680}.grp{fill:#0b0d0f;stroke:#3b434b}.wire{stroke:#566069}}";

pub fn svg(dag: &DagSpec) -> String {
    let graph = Graph::of(dag);
    let layout = lay_out(&graph);
    let Layout { width, height, .. } = layout;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n<rect class=\"paper\" width=\"{width}\" \
         height=\"{height}\"/>\n",
        escaped(&dag.dag_id)
    );
    for ((at, group), rect) in graph.groups.iter().enumerate().zip(&layout.groups).filter(|(_, rect)| rect.width > 0) {
        text += &of_group(group, graph.tasks_in(at), *rect);
    }
    for (edge, wire) in graph.edges.iter().zip(&layout.wires) {
        let class = if edge.is_lenient { "wire wait" } else { "wire" };
        line(&mut text, format_args!("<path class=\"{class}\" d=\"{}\"/>", wire.path));
    }
    for (node, rect) in graph.nodes.iter().zip(&layout.nodes) {
        text += &of_node(node, *rect);
    }
    text + "</svg>\n"
}

fn of_group(group: &Group, tasks: usize, Rect { x, y, width, height }: Rect) -> String {
    let mut text = String::new();
    let (left, right, line_y) = (x + 14, x + width - 14, y + 21);
    let count = if tasks == 1 { "1 task".into() } else { format!("{tasks} tasks") };
    let mapped = if group.is_mapped { "mapped, " } else { "" };
    line(
        &mut text,
        format_args!("<rect class=\"grp\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"10\"/>"),
    );
    line(&mut text, format_args!("<text x=\"{left}\" y=\"{line_y}\">{}</text>", escaped(&group.label)));
    line(
        &mut text,
        format_args!("<text class=\"sm\" x=\"{right}\" y=\"{line_y}\" text-anchor=\"end\">{mapped}{count}</text>"),
    );
    text
}

fn of_node(node: &Node, rect: Rect) -> String {
    let Rect { x, y, width, height } = rect;
    let mut text = format!("<g class=\"node\"><title>{}</title>", escaped(&node.id));
    let mut face = |class: &str, by: f32| {
        let (x, y) = (x as f32 + by, y as f32 + by);
        write!(text, "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>")
            .expect("writing to a string cannot fail");
    };
    if node.is_mapped {
        face("back", 5.0);
        face("back", 2.5);
    }
    face("face", 0.0);
    let label_y = if node.detail.is_empty() { y + 26 } else { y + 19 };
    let edge_height = height - 12;
    write!(
        text,
        "<rect class=\"edge-l\" x=\"{x}\" y=\"{}\" width=\"3\" height=\"{edge_height}\" rx=\"2\"/>\
         <text x=\"{}\" y=\"{label_y}\">{}</text>",
        y + 6,
        x + 14,
        escaped(&node.label)
    )
    .expect("writing to a string cannot fail");
    if !node.detail.is_empty() {
        let detail = escaped(&node.detail);
        write!(text, "<text class=\"sm\" x=\"{}\" y=\"{}\">{detail}</text>", x + 14, y + 35)
            .expect("writing to a string cannot fail");
    }
    text + "</g>\n"
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
