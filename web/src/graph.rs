//! The graph of a DAG: tasks as nodes, dependencies as edges, groups as boxes. [`lay_out`] computes the positions;
//! pages and [`svg`] draw them. The layout is deterministic: the same DAG always results in the same picture.

mod fold;
mod layout;
mod level;
mod order;
mod place;
mod svg;

pub use layout::{Flow, Layout, Rect, Wire, lay_out, lay_out_along};
pub use svg::svg;

use crate::parts::short;
use orch_spec::{DagSpec, MapSpec, Role, Source, TaskSpec, TriggerRule};
use std::collections::HashMap;

/// Maximum length of a label, in characters. The node's title contains the whole name.
const MOST_LETTERS: usize = 40;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// Topologically sorted.
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
    /// Sorted so that a group comes before its subgroups.
    pub groups: Vec<Group>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    pub id: String,
    /// The task id without the prefix of its group.
    pub label: String,
    /// Options that differ from the defaults. Empty if there are none.
    pub detail: String,
    pub group: Option<usize>,
    /// True if the node is drawn as a stack.
    pub is_mapped: bool,
    /// The tasks of a folded group. Empty for a single task.
    pub members: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    /// True if the trigger rule of `to` does not require the success of `from`. The edge is then dashed.
    pub is_lenient: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    pub id: String,
    pub label: String,
    pub parent: Option<usize>,
    pub is_mapped: bool,
}

impl Graph {
    pub fn of(dag: &DagSpec) -> Graph {
        let groups = groups(dag);
        let places: HashMap<&str, usize> =
            dag.tasks.iter().enumerate().map(|(at, t)| (t.task_id.as_str(), at)).collect();
        let edges = dag.tasks.iter().enumerate().flat_map(|(to, task)| {
            let is_lenient = is_lenient(task);
            let mut upstreams = task.upstreams();
            upstreams.extend(lists_of_group(dag, task));
            let from = upstreams.into_iter().filter_map(|id| places.get(id).copied()).filter(move |from| *from != to);
            from.map(|from| Edge { from, to, is_lenient }).collect::<Vec<_>>()
        });
        let edges = edges.collect();
        let nodes = dag.tasks.iter().map(|task| node(dag, task, &groups)).collect();
        Graph { nodes, edges, groups }
    }

    /// Returns the number of tasks in a group, including its subgroups.
    pub fn tasks_in(&self, group: usize) -> usize {
        let is_inside = |mut at: Option<usize>| {
            while let Some(inner) = at {
                if inner == group {
                    return true;
                }
                at = self.groups[inner].parent;
            }
            false
        };
        self.nodes.iter().filter(|node| is_inside(node.group)).map(|node| node.members.len().max(1)).sum()
    }
}

fn groups(dag: &DagSpec) -> Vec<Group> {
    let mut ids: Vec<&str> = dag.tasks.iter().filter_map(|task| task.group_id.as_deref()).collect();
    ids.extend(dag.groups.iter().map(|group| group.group_id.as_str()));
    // `a.b` is a subgroup of `a` if `a` exists. Sorting puts the outer group first.
    ids.sort_unstable();
    ids.dedup();
    let parent = |id: &str| {
        let around = |(at, outer): (usize, &&str)| {
            let inner = id.strip_prefix(*outer)?;
            inner.starts_with('.').then_some((outer.len(), at))
        };
        ids.iter().enumerate().filter_map(around).max().map(|(_, at)| at)
    };
    let group = |id: &&str| {
        let parent = parent(id);
        let label = parent.map_or(*id, |at| &id[ids[at].len() + 1..]);
        let is_mapped = dag.groups.iter().any(|group| group.group_id == **id && group.map.is_some());
        Group { id: (*id).into(), label: short(label, MOST_LETTERS).into_owned(), parent, is_mapped }
    };
    ids.iter().map(group).collect()
}

fn node(dag: &DagSpec, task: &TaskSpec, groups: &[Group]) -> Node {
    let group = task.group_id.as_ref().and_then(|id| groups.iter().position(|group| group.id == *id));
    let prefix = group.map(|at| format!("{}.", groups[at].id));
    let label = prefix.and_then(|prefix| task.task_id.strip_prefix(&prefix)).unwrap_or(&task.task_id);
    let is_mapped = dag.map_of(task).is_some();
    Node {
        id: task.task_id.clone(),
        label: short(label, MOST_LETTERS).into_owned(),
        detail: short(&detail(task), MOST_LETTERS).into_owned(),
        group,
        is_mapped,
        members: Vec::new(),
    }
}

/// Returns the tasks over which the mapped group of a task is mapped. Empty if the task depends on another task in that
/// group.
fn lists_of_group<'a>(dag: &'a DagSpec, task: &'a TaskSpec) -> Vec<&'a str> {
    let Some(group) = dag.mapped_group(task.group_id.as_deref()) else { return Vec::new() };
    let is_inside = |id: &str| {
        dag.task(id).and_then(|t| dag.mapped_group(t.group_id.as_deref())).is_some_and(|g| std::ptr::eq(g, group))
    };
    let named = task.upstreams();
    if named.iter().any(|id| is_inside(id)) {
        return Vec::new();
    }
    let mut lists = Vec::new();
    group.map.iter().flat_map(MapSpec::sources).for_each(|source| source.collect(&mut lists));
    lists.retain(|id| !named.contains(id));
    lists.dedup();
    lists
}

fn detail(task: &TaskSpec) -> String {
    let mut said = Vec::new();
    if let Some(MapSpec::Each(Source::Value(list))) = &task.map {
        said.push(format!("{} ×", list.as_array().map_or(0, Vec::len)));
    } else if task.map.is_some() {
        said.push("mapped".into());
    }
    if task.kind != "rust" {
        said.push(task.kind.clone());
    }
    if task.role != Role::Work {
        said.push(word(task.role));
    }
    if let Some(rule) = task.options.trigger_rule.filter(|rule| *rule != TriggerRule::default()) {
        said.push(format!("rule {}", word(rule)));
    }
    if !task.when.is_empty() {
        said.push("conditional".into());
    }
    said.join(", ")
}

/// Returns whether a task may run although one of its upstream tasks did not succeed.
fn is_lenient(task: &TaskSpec) -> bool {
    let rule = task.options.trigger_rule.unwrap_or_default();
    let strict = [TriggerRule::AllSuccess, TriggerRule::NoneFailed, TriggerRule::NoneFailedMinOneSuccess];
    task.role == Role::Teardown || !strict.contains(&rule)
}

/// Returns the serialized name of an enum variant.
fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
