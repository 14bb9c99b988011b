//! Resolves the names in `after`, `when`, `follow` and `map` to task ids and sources.

use super::{Entry, Outline, group_around, inside, is_teardown, texts, torn_down};
use crate::file::Problems;
use crate::file::check::text_of;
use crate::file::keys::TaskKind;
use crate::file::node::{Node, NodeKind};
use crate::file::template::{self, Template};
use crate::file::upstream::TaskOrGroup;
use orch_spec::names::closest;
use orch_spec::{Condition, MapSpec, Source};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

#[derive(Clone, Copy)]
enum Edge {
    Beginning,
    End,
}

impl Outline<'_> {
    /// Resolves the tasks that a branch or a choice can follow.
    pub(super) fn targets(
        &self,
        entry: &Entry<'_>,
        work: &Node,
        kind: &TaskKind,
        config: &mut Value,
        problems: &mut Problems<'_>,
    ) {
        if kind.name == "input" {
            return self.follow(entry, work, config, problems);
        }
        if kind.name != "branch" {
            return;
        }
        let ids = |node: &Node, problems: &mut Problems<'_>| -> Value {
            let mut found = Vec::new();
            for name in node.items() {
                let text = name.scalar().map(text_of).unwrap_or_default();
                match self.meant(&text, entry.group.as_deref()) {
                    Some(TaskOrGroup::Task(task)) => found.push(self.tasks[task].id.clone()),
                    Some(TaskOrGroup::Group(group)) => found.extend(self.edge_of(&group, Edge::Beginning)),
                    None => self.unknown(&text, &entry.id, name.mark, problems),
                }
            }
            json!(found)
        };
        if let Some(cases) = work.get("cases") {
            let cases: Map<String, Value> =
                cases.entries().iter().map(|(value, node)| (value.text.clone(), ids(node, problems))).collect();
            config["cases"] = Value::Object(cases);
        }
        if let Some(otherwise) = work.get("otherwise") {
            config["otherwise"] = ids(otherwise, problems);
        }
    }

    /// Resolves the task that each option of a choice continues with.
    fn follow(&self, entry: &Entry<'_>, work: &Node, config: &mut Value, problems: &mut Problems<'_>) {
        let options = texts(work.get("options"));
        for (option, name) in work.get("follow").map(Node::entries).unwrap_or_default() {
            if !options.contains(&option.text) {
                let near = closest(&option.text, options.iter().map(String::as_str));
                let hint =
                    near.map_or_else(|| "name it under `options`".into(), |near| format!("did you mean `{near}`?"));
                problems.add(option.mark, format!("`{}` is no option of task `{}`", option.text, entry.id), hint);
            }
            let text = name.scalar().map(text_of).unwrap_or_default();
            if let Some(task) = self.task(&text, entry, name.mark, problems) {
                config["follow"][&option.text] = json!(self.tasks[task].id);
            }
        }
    }

    pub(super) fn after(&self, entry: &Entry<'_>, names: Option<&Node>, problems: &mut Problems<'_>) -> Vec<String> {
        let mut after = Vec::new();
        for name in names.map(Node::items).unwrap_or_default() {
            let text = name.scalar().map(text_of).unwrap_or_default();
            match self.meant(&text, entry.group.as_deref()) {
                Some(TaskOrGroup::Task(task)) => after.push(self.tasks[task].id.clone()),
                Some(TaskOrGroup::Group(group)) if inside(&entry.id, &group) => {
                    let message = format!("task `{}` waits for group `{group}`, in which it is", entry.id);
                    problems.add(name.mark, message, "name a task of the group");
                }
                Some(TaskOrGroup::Group(group)) => after.extend(self.edge_of(&group, Edge::End)),
                None => self.unknown(&text, &entry.id, name.mark, problems),
            }
        }
        after
    }

    /// Returns the dependencies that tasks get from `after` of a group, by task id: the first tasks of the group have
    /// them. Names are resolved from the parent of the group.
    pub(super) fn after_groups(&self, problems: &mut Problems<'_>) -> HashMap<String, Vec<String>> {
        let mut found: HashMap<String, Vec<String>> = HashMap::new();
        // Inner groups come first, so that their upstreams precede the upstreams of outer groups.
        for group in self.groups.iter().rev() {
            let Some(names) = group.node.get("after") else { continue };
            let id = &group.spec.group_id;
            let beginning = self.edge_of(id, Edge::Beginning);
            for name in names.items() {
                for upstream in self.after_of_group(id, name, problems) {
                    if let Some(hidden) = beginning.iter().find(|task| !self.sees(task, &upstream)) {
                        let message = format!(
                            "group `{id}` waits for `{upstream}`, and `{hidden}` has another of that name near it"
                        );
                        problems.add(name.mark, message, "give one of the two another name");
                    }
                    beginning.iter().for_each(|task| found.entry(task.clone()).or_default().push(upstream.clone()));
                }
            }
        }
        found
    }

    /// Returns the tasks that one name in `after` of a group refers to.
    fn after_of_group(&self, id: &str, name: &Node, problems: &mut Problems<'_>) -> Vec<String> {
        let text = name.scalar().map(text_of).unwrap_or_default();
        let (what, meant) = match self.meant(&text, group_around(id)) {
            Some(TaskOrGroup::Task(task)) => ("task", self.tasks[task].id.clone()),
            Some(TaskOrGroup::Group(group)) => ("group", group),
            None => {
                self.unknown(&text, id, name.mark, problems);
                return Vec::new();
            }
        };
        let way = if meant == id {
            "which is itself"
        } else if inside(&meant, id) {
            "which is in it"
        } else if inside(id, &meant) {
            "in which it is"
        } else if what == "task" {
            return vec![meant];
        } else {
            return self.edge_of(&meant, Edge::End);
        };
        let message = format!("group `{id}` waits for {what} `{meant}`, {way}");
        problems.add(name.mark, message, "name a task or a group outside of it");
        Vec::new()
    }

    /// Returns whether the id of a task, used as a name in another task, refers to that task. The export uses ids as
    /// names.
    fn sees(&self, task: &str, other: &str) -> bool {
        let (Some(task), Some(&other_place)) = (self.index.get(task), self.index.get(other)) else { return true };
        self.meant(other, self.tasks[*task].group.as_deref()) == Some(TaskOrGroup::Task(other_place))
    }

    /// Returns the first or last tasks of a group. A teardown is not a last task, unless the group has no other.
    fn edge_of(&self, group: &str, edge: Edge) -> Vec<String> {
        let members: Vec<&Entry<'_>> = self.tasks.iter().filter(|entry| inside(&entry.id, group)).collect();
        let mut waited_for: HashSet<usize> = HashSet::new();
        let mut waits: HashSet<&str> = HashSet::new();
        for entry in &members {
            for (name, from) in self.named_by(entry) {
                let upstreams: Vec<usize> = match self.meant(&name, from) {
                    Some(TaskOrGroup::Task(task)) => vec![task],
                    Some(TaskOrGroup::Group(inner)) => {
                        (0..self.tasks.len()).filter(|task| inside(&self.tasks[*task].id, &inner)).collect()
                    }
                    None => Vec::new(),
                };
                let own: Vec<usize> = upstreams.into_iter().filter(|t| inside(&self.tasks[*t].id, group)).collect();
                if !own.is_empty() {
                    waits.insert(&entry.id);
                }
                if !is_teardown(entry.node) {
                    waited_for.extend(own);
                }
            }
        }
        let is_edge = |entry: &&&Entry<'_>| match edge {
            Edge::Beginning => !waits.contains(entry.id.as_str()),
            Edge::End => !waited_for.contains(&self.index[&entry.id]) && !is_teardown(entry.node),
        };
        let found: Vec<String> = members.iter().filter(is_edge).map(|entry| entry.id.clone()).collect();
        if found.is_empty() { members.iter().map(|entry| entry.id.clone()).collect() } else { found }
    }

    /// Returns every name by which a task or a group around it waits for another, with the group in which the name is
    /// resolved.
    fn named_by<'e>(&'e self, entry: &'e Entry<'_>) -> Vec<(String, Option<&'e str>)> {
        let node = entry.node;
        let mut names = texts(node.get("after"));
        names.extend(texts(torn_down(node)));
        names.extend(node.get("when").map(Node::entries).unwrap_or_default().iter().map(|(key, _)| key.text.clone()));
        let mut paths = Vec::new();
        template::paths(&node.json(), &mut paths);
        let upstream = |path: &Vec<String>| match path.split_first() {
            Some((first, rest)) if first == "upstream" => template::upstream(rest).map(|(name, _)| name),
            _ => None,
        };
        names.extend(paths.iter().filter_map(upstream));
        let own = entry.group.as_deref();
        let mut found: Vec<(String, Option<&str>)> = names.into_iter().map(|name| (name, own)).collect();
        for group in std::iter::successors(own, |group| group_around(group)) {
            let node = self.group_index.get(group).map(|place| self.groups[*place].node);
            let names = texts(node.and_then(|node| node.get("after")));
            found.extend(names.into_iter().map(|name| (name, group_around(group))));
        }
        found
    }

    pub(super) fn when(&self, entry: &Entry<'_>, problems: &mut Problems<'_>) -> Vec<Condition> {
        let mut found = Vec::new();
        for (key, value) in entry.node.get("when").map(Node::entries).unwrap_or_default() {
            let source = if key.text == "element" && (entry.is_mapped || entry.mapped.is_some()) {
                let group = if entry.is_mapped { None } else { entry.mapped.clone() };
                Source::Element { group, part: None }
            } else {
                match self.task(&key.text, entry, key.mark, problems) {
                    Some(task) => self.output(task, entry),
                    None => continue,
                }
            };
            found.push(Condition { source, equals: value.items().iter().map(Node::json).collect() });
        }
        found
    }

    pub(super) fn map(&self, node: &Node, entry: &Entry<'_>, problems: &mut Problems<'_>) -> Option<MapSpec> {
        let mut each = |key: &str| -> Option<Vec<Source>> {
            let lists = node.get(key)?;
            Some(lists.items().iter().filter_map(|list| self.list(list, entry, problems)).collect())
        };
        match (each("zip"), each("cross")) {
            (Some(lists), None) => Some(MapSpec::Zip(lists)),
            (None, Some(lists)) => Some(MapSpec::Cross(lists)),
            (Some(_), Some(_)) => {
                problems.add(node.mark, "`map` is both `zip` and `cross`", "say one of them");
                None
            }
            (None, None) if matches!(node.kind, NodeKind::Map(_)) => {
                problems.add(node.mark, "`map` has neither `zip` nor `cross`", "say one of them, or give a list");
                None
            }
            (None, None) => self.list(node, entry, problems).map(MapSpec::Each),
        }
    }

    /// Returns the list that a task is mapped over: a list in the file, or the output of a task.
    fn list(&self, node: &Node, entry: &Entry<'_>, problems: &mut Problems<'_>) -> Option<Source> {
        if let NodeKind::List(_) = node.kind {
            let list = node.json();
            let mut paths = Vec::new();
            template::paths(&list, &mut paths);
            if !paths.is_empty() {
                let hint = "let a task give the list: `value: [\"{{ … }}\"]`, and map over its output";
                problems.add(node.mark, "templates are not rendered in the list of a map", hint);
                return None;
            }
            return Some(Source::Value(list));
        }
        let hint = "write a list, or `\"{{ upstream.TASK.output }}\"`; a `value` task makes a list of anything else";
        let template = node.text().and_then(|text| Template::parse(text).ok());
        let path = template.as_ref().and_then(Template::only_path);
        let named = match path {
            Some([first, rest @ ..]) if first == "upstream" => {
                template::upstream(rest).filter(|(_, rest)| rest.is_empty())
            }
            _ => None,
        };
        let Some((name, _)) = named else {
            problems.add(node.mark, "`map` is over neither a list nor the output of a task", hint);
            return None;
        };
        let task = self.task(&name, entry, node.mark, problems)?;
        Some(match self.output(task, entry) {
            // Mapping over a mapped task waits for all its elements, like in Airflow.
            Source::Outputs(id) => Source::Collected(id),
            one => one,
        })
    }
}
