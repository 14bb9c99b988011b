//! Renders the graph of a DAG as text, SVG, Graphviz or Mermaid.

use orch_binary::failure::Failure;
use orch_spec::{DagSpec, Role, TaskSpec, TriggerRule};
use std::fmt::Write as _;
use std::path::Path;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Drawing {
    /// A line a task, with its upstreams
    #[default]
    Text,
    /// A picture
    Svg,
    /// For Graphviz: `dot -Tpng`
    Dot,
    /// For Markdown and mermaid.live
    Mermaid,
}

impl Drawing {
    pub(crate) fn by_ending(path: &Path) -> Result<Drawing, Failure> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("txt") => Ok(Drawing::Text),
            Some("svg") => Ok(Drawing::Svg),
            Some("dot" | "gv") => Ok(Drawing::Dot),
            Some("mmd" | "mermaid") => Ok(Drawing::Mermaid),
            _ => {
                let hint = "save `graph.svg`; other images are made from it or from `graph.dot`: \
                    `dot -Tpng graph.dot -o graph.png`";
                Err(Failure::new(format!("`{}` does not end in .svg, .txt, .dot or .mmd", path.display())).hint(hint))
            }
        }
    }
}

pub(crate) fn draw(dag: &DagSpec, drawing: Drawing) -> String {
    match drawing {
        Drawing::Text => text(dag),
        Drawing::Svg => orch_web::graph::svg(dag),
        Drawing::Dot => dot(dag),
        Drawing::Mermaid => mermaid(dag),
    }
}

/// Returns a line such as `report[]  ← extract, clean  (all_done, setup)` for each task, indented by the length of the
/// longest path to it.
fn text(dag: &DagSpec) -> String {
    let depths = depths(dag);
    let names: Vec<String> = dag
        .tasks
        .iter()
        .zip(&depths)
        .map(|(task, depth)| format!("{}{}", "  ".repeat(*depth), name(dag, task)))
        .collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut lines = format!("{}  ({})\n", dag.dag_id, dag.schedule.describe());
    for (task, name) in dag.tasks.iter().zip(&names) {
        let upstreams = task.upstreams();
        let arrow = if upstreams.is_empty() { String::new() } else { format!("← {}", upstreams.join(", ")) };
        let notes = notes(task);
        let notes = if notes.is_empty() { String::new() } else { format!("  ({})", notes.join(", ")) };
        let line = format!("  {name:width$}  {arrow}{notes}");
        writeln!(lines, "{}", line.trim_end()).expect("writing to a string cannot fail");
    }
    lines
}

fn name(dag: &DagSpec, task: &TaskSpec) -> String {
    let mapped = if dag.map_of(task).is_some() { "[]" } else { "" };
    format!("{}{mapped}", task.task_id)
}

/// Returns the properties of a task that differ from the defaults.
fn notes(task: &TaskSpec) -> Vec<String> {
    let mut notes = Vec::new();
    if task.kind != "rust" {
        notes.push(task.kind.clone());
    }
    if task.role != Role::Work {
        notes.push(word(task.role));
    }
    if let Some(rule) = task.options.trigger_rule.filter(|rule| *rule != TriggerRule::default()) {
        notes.push(word(rule));
    }
    if !task.when.is_empty() {
        notes.push("conditional".into());
    }
    notes
}

/// Returns the serialized name of an enum variant.
fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// Returns the depth of each task. Tasks are in topological order, so upstream tasks come first.
fn depths(dag: &DagSpec) -> Vec<usize> {
    let mut depths: Vec<usize> = Vec::with_capacity(dag.tasks.len());
    for task in &dag.tasks {
        let place = |id: &&str| dag.tasks.iter().position(|other| other.task_id == **id);
        let depth =
            task.upstreams().iter().filter_map(place).filter_map(|at| depths.get(at)).max().map_or(0, |d| d + 1);
        depths.push(depth);
    }
    depths
}

fn dot(dag: &DagSpec) -> String {
    let mut text = format!("digraph {:?} {{\n  rankdir=LR;\n  node [shape=box, style=rounded];\n", dag.dag_id);
    for task in &dag.tasks {
        writeln!(text, "  {:?} [label={:?}];", task.task_id, name(dag, task)).expect("writing to a string cannot fail");
    }
    for (from, to) in edges(dag) {
        writeln!(text, "  {from:?} -> {to:?};").expect("writing to a string cannot fail");
    }
    text + "}\n"
}

fn mermaid(dag: &DagSpec) -> String {
    let place = |id: &str| dag.tasks.iter().position(|task| task.task_id == id).unwrap_or(0);
    let mut text = String::from("flowchart LR\n");
    for (number, task) in dag.tasks.iter().enumerate() {
        writeln!(text, "  t{number}[\"{}\"]", name(dag, task)).expect("writing to a string cannot fail");
    }
    for (from, to) in edges(dag) {
        writeln!(text, "  t{} --> t{}", place(from), place(to)).expect("writing to a string cannot fail");
    }
    text
}

fn edges(dag: &DagSpec) -> impl Iterator<Item = (&str, &str)> {
    dag.tasks.iter().flat_map(|task| task.upstreams().into_iter().map(|from| (from, task.task_id.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn diamond() -> DagSpec {
        let spec = json!({ "dag_id": "diamond", "tasks": [
            { "task_id": "start", "kind": "rust" },
            { "task_id": "left", "kind": "shell", "after": ["start"] },
            { "task_id": "right", "kind": "rust", "after": ["start"], "map": { "each": { "value": [1, 2] } } },
            { "task_id": "end", "kind": "rust", "after": ["left", "right"], "trigger_rule": "all_done" },
        ] });
        serde_json::from_value(spec).expect("a spec")
    }

    #[test]
    fn a_graph_is_readable_as_text() {
        assert_eq!(
            draw(&diamond(), Drawing::Text),
            "diamond  (only by hand)\n  start\n    left     ← start  (shell)\n    right[]  ← start\n      \
             end    ← left, right  (all_done)\n"
        );
    }

    #[test]
    fn a_graph_is_drawn_by_others() {
        assert!(draw(&diamond(), Drawing::Dot).contains("  \"left\" -> \"end\";\n"));
        assert!(draw(&diamond(), Drawing::Mermaid).contains("  t2[\"right[]\"]\n"));
        assert!(draw(&diamond(), Drawing::Mermaid).ends_with("  t2 --> t3\n"));
        assert!(draw(&diamond(), Drawing::Svg).contains(">right</text>"));
        assert_eq!(Drawing::by_ending(Path::new("a.svg")).ok(), Some(Drawing::Svg));
        assert!(Drawing::by_ending(Path::new("a.png")).is_err());
    }
}
