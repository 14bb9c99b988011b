//! Resolves names of tasks, groups and values in a document.

use super::Problems;
use super::build::{Entry, Outline, group_around};
use super::check::how_to_connect;
use super::keys::Shape;
use super::node::{Mark, Node, NodeKind};
use super::template::airflow::in_orch;
use super::template::{self, ROOTS, RUN_FIELDS, TASK_FIELDS, Template};
use orch_sdk::secret::is_sensitive;
use orch_spec::names::closest;
use orch_spec::{InputSpec, Source};
use serde_json::Value;
use std::collections::BTreeMap;

/// Maximum number of tasks that a hint names.
const MAX_NAMED_TASKS: usize = 10;

/// The target of a name.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TaskOrGroup {
    Task(usize),
    Group(String),
}

impl Outline<'_> {
    /// Resolves a name that is used inside a group: first in that group, then outwards.
    pub(super) fn meant(&self, name: &str, group: Option<&str>) -> Option<TaskOrGroup> {
        let outwards = std::iter::successors(group, |group| group_around(group));
        let ids = outwards.map(|group| format!("{group}.{name}")).chain([name.to_string()]);
        ids.into_iter().find_map(|id| match self.index.get(&id) {
            Some(&task) => Some(TaskOrGroup::Task(task)),
            None => self.group_index.contains_key(&id).then_some(TaskOrGroup::Group(id)),
        })
    }

    /// Resolves a name to a task. Reports a problem if there is none.
    pub(super) fn task(
        &self,
        name: &str,
        seen_from: &Entry<'_>,
        at: Mark,
        problems: &mut Problems<'_>,
    ) -> Option<usize> {
        match self.meant(name, seen_from.group.as_deref()) {
            Some(TaskOrGroup::Task(task)) => Some(task),
            Some(TaskOrGroup::Group(id)) => {
                problems.add(at, format!("`{id}` is a group, not a task"), "name one of its tasks");
                None
            }
            None => {
                self.unknown(name, &seen_from.id, at, problems);
                None
            }
        }
    }

    /// Reports that no task has this name. `seen_from` is the id of the task or group that uses the name; the hint does
    /// not suggest it.
    pub(super) fn unknown(&self, name: &str, seen_from: &str, at: Mark, problems: &mut Problems<'_>) {
        let mut others: Vec<&str> = self.index.keys().map(String::as_str).filter(|id| *id != seen_from).collect();
        others.sort_unstable();
        let short = others.iter().filter_map(|id| Some(id.rsplit_once('.')?.1));
        let hint = match closest(name, others.iter().copied().chain(short)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => named_tasks(&others),
        };
        problems.add(at, format!("there is no task `{name}`"), hint);
    }

    /// Returns the output of a task as a source for another task.
    pub(super) fn output(&self, task: usize, seen_from: &Entry<'_>) -> Source {
        let entry = &self.tasks[task];
        let id = entry.id.clone();
        let group = entry.mapped.as_deref();
        if entry.is_mapped || (group.is_some() && group != seen_from.mapped.as_deref()) {
            Source::Outputs(id)
        } else {
            Source::Output(id)
        }
    }

    /// Returns the inputs that the templates of a task refer to.
    pub(super) fn inputs(
        &self,
        entry: &Entry<'_>,
        work: &Node,
        shape: &Shape,
        problems: &mut Problems<'_>,
    ) -> Vec<InputSpec> {
        let mut asked = Vec::new();
        templates(work, shape, false, &mut asked);
        let mut inputs = BTreeMap::new();
        for TemplateReference { path, at, in_argument } in asked {
            let Some((first, rest)) = path.split_first() else { continue };
            match first.as_str() {
                "upstream" => {
                    let Some((name, _)) = template::upstream(rest) else {
                        let hint = "write `upstream.TASK.output`, and behind it fields of the output";
                        problems.add(at, format!("`{}` names no output", path.join(".")), hint);
                        continue;
                    };
                    let Some(task) = self.task(&name, entry, at, problems) else { continue };
                    inputs.insert(format!("upstream.{name}"), self.output(task, entry));
                }
                "element" => match (&entry.mapped, entry.is_mapped) {
                    (_, true) => drop(inputs.insert("element".into(), Source::Element { group: None, part: None })),
                    (Some(group), false) => {
                        let source = Source::Element { group: Some(group.clone()), part: None };
                        inputs.insert("element".into(), source);
                    }
                    (None, false) => {
                        let hint = "add `map` with the list that the task runs over";
                        problems.add(at, format!("task `{}` has no element: it is not mapped", entry.id), hint);
                    }
                },
                "map_index" if entry.mapped.is_none() && !entry.is_mapped => {
                    let hint = "add `map` with the list that the task runs over";
                    problems.add(at, format!("task `{}` has no map_index: it is not mapped", entry.id), hint);
                }
                "params" => self.param(rest, at, problems),
                "run" => one_of("run", rest, &RUN_FIELDS, at, problems),
                "task" => one_of("task", rest, &TASK_FIELDS, at, problems),
                "var" => variable(&path, in_argument, at, problems),
                "conf" | "map_index" => {}
                other => {
                    let hint = match (in_orch(&path.join(".")), closest(other, ROOTS)) {
                        (Some(orch), _) => format!("write `{{{{ {orch} }}}}`"),
                        (None, _) if other == "conn" => how_to_connect("", &path.join(".")),
                        (None, Some(near)) => format!("did you mean `{near}`?"),
                        (None, None) => {
                            format!("paths begin with {}", ROOTS.map(|root| format!("`{root}`")).join(", "))
                        }
                    };
                    problems.add(at, format!("templates have no `{other}`"), hint);
                }
            }
        }
        let input = |(name, source)| InputSpec { name, type_name: String::new(), optional: entry.is_lenient, source };
        inputs.into_iter().map(input).collect()
    }

    fn param(&self, rest: &[String], at: Mark, problems: &mut Problems<'_>) {
        let Some(name) = rest.first() else { return };
        let known = self.params.as_ref().and_then(|schema| schema.get("properties")?.as_object());
        let names = || known.into_iter().flat_map(|known| known.keys()).map(String::as_str);
        if names().any(|known| known == name) {
            return;
        }
        let hint = match closest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                format!("declare it: `params: {{{name}: …}}`; what a run was started with beside them is in `conf`")
            }
        };
        problems.add(at, format!("there is no param `{name}`"), hint);
    }
}

/// Returns a hint that lists the first of these ids.
fn named_tasks(ids: &[&str]) -> String {
    if ids.is_empty() {
        return "the DAG has no other task: add it under `tasks`, or remove the name".into();
    }
    let named: Vec<String> = ids.iter().take(MAX_NAMED_TASKS).map(|id| format!("`{id}`")).collect();
    let more = match ids.len().saturating_sub(MAX_NAMED_TASKS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("name another task of this DAG: {}{more}", named.join(", "))
}

fn one_of(root: &str, rest: &[String], known: &[&str], at: Mark, problems: &mut Problems<'_>) {
    match rest {
        [name] if known.contains(&name.as_str()) => {}
        [] => problems.add(at, format!("`{root}` is no value"), format!("name a field: {}", known.join(", "))),
        [name, ..] => {
            let hint = match closest(name, known.iter().copied()) {
                Some(near) if near != name => format!("did you mean `{near}`?"),
                _ => format!("the fields are {}", known.join(", ")),
            };
            problems.add(at, format!("there is no `{root}.{}`", rest.join(".")), hint);
        }
    }
}

fn variable(path: &[String], in_argument: bool, at: Mark, problems: &mut Problems<'_>) {
    let Some((name, ..)) = template::variable(path) else {
        let hint = "write `var.NAME`, or `var.json.NAME.field`";
        return problems.add(at, format!("`{}` names no variable", path.join(".")), hint);
    };
    if in_argument && is_sensitive(name) {
        let hint = "every user of the machine can read arguments: pass the variable by `env`";
        problems.add(at, format!("the secret variable `{name}` is in an argument"), hint);
    }
}

struct TemplateReference {
    path: Vec<String>,
    at: Mark,
    in_argument: bool,
}

/// Collects the paths of all templates below a node.
fn templates(node: &Node, shape: &Shape, in_argument: bool, found: &mut Vec<TemplateReference>) {
    match (&node.kind, shape) {
        (_, Shape::Text | Shape::Program | Shape::Word(_) | Shape::Any) => {}
        (_, Shape::Either(shapes)) => {
            if let Some(shape) = shapes.iter().find(|shape| shape.could_be(node)) {
                templates(node, shape, in_argument, found);
            }
        }
        (NodeKind::Scalar(Value::String(text)), shape) if text.contains("{{") => {
            let in_argument = in_argument || matches!(shape, Shape::Argument);
            if let Ok(template) = Template::parse(text) {
                let of = |path: &[String]| TemplateReference { path: path.to_vec(), at: node.mark, in_argument };
                found.extend(template.paths().map(of));
            }
        }
        (NodeKind::Scalar(_), _) => {}
        (NodeKind::List(items), Shape::List(inner)) => {
            items.iter().for_each(|item| templates(item, inner, in_argument, found));
        }
        (NodeKind::List(items), _) => items.iter().for_each(|item| templates(item, shape, in_argument, found)),
        (NodeKind::Map(entries), Shape::Table(inner)) => {
            entries.iter().for_each(|(_, value)| templates(value, inner, in_argument, found));
        }
        (NodeKind::Map(entries), Shape::Object(table)) => {
            for (key, value) in entries {
                if let Some(known) = table.iter().find(|known| known.name == key.text) {
                    templates(value, known.shape, in_argument, found);
                }
            }
        }
        (NodeKind::Map(entries), Shape::Sensor) => {
            for (key, value) in entries {
                if let Some(known) = super::keys::SENSORS.iter().find(|known| known.name == key.text) {
                    templates(value, known.shape, in_argument, found);
                }
            }
        }
        (NodeKind::Map(entries), _) => {
            entries.iter().for_each(|(_, value)| templates(value, shape, in_argument, found));
        }
    }
}
