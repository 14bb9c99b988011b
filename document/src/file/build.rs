//! Builds the structure of a DAG from a document whose shapes have been checked.

mod edges;

use super::check::{text_of, time_ms};
use super::keys::KINDS;
use super::node::{Mark, Node, NodeKind};
use super::options::{read as options, read_of_dag};
use super::{FILE_TASK, Problems, schedule, task};
use orch_spec::check::Problem;
use orch_spec::params::embedded;
use orch_spec::{
    Callbacks, DagSpec, Deadline, DeadlineFrom, GroupSpec, Location, Notifier, Options, Role, TaskSpec, Timetable,
    TriggerRule, check,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap, HashSet};

pub(super) struct Entry<'a> {
    pub(super) id: String,
    pub(super) group: Option<String>,
    node: &'a Node,
    mark: Mark,
    options: Options,
    /// The mapped group that contains the task.
    pub(super) mapped: Option<String>,
    /// True if the task itself has a `map`.
    pub(super) is_mapped: bool,
    /// True if its trigger rule lets it run although an upstream has no output.
    pub(super) is_lenient: bool,
}

pub(super) struct GroupEntry<'a> {
    pub(super) spec: GroupSpec,
    node: &'a Node,
}

/// All tasks and groups, before names are resolved.
#[derive(Default)]
pub(super) struct Outline<'a> {
    pub(super) tasks: Vec<Entry<'a>>,
    pub(super) groups: Vec<GroupEntry<'a>>,
    pub(super) index: HashMap<String, usize>,
    /// Index in `groups` by id.
    pub(super) group_index: HashMap<String, usize>,
    pub(super) params: Option<Value>,
}

pub(super) fn dag(document: &Node, folder: &str, problems: &mut Problems<'_>) -> Option<DagSpec> {
    let before = problems.found.len();
    let location = |mark: Mark| Location { file: problems.file.into(), line: mark.line };
    let mut spec = words(document, location(document.mark));
    if let Some(node) = document.get("schedule").filter(|node| !node.is_null()) {
        spec.schedule = schedule::schedule(node, problems);
    }
    let zone = schedule::zone(&spec.schedule);
    spec.start = schedule::date(document.get("start"), zone, problems);
    spec.end = schedule::date(document.get("end"), zone, problems);
    spec.params_schema = document.get("params").map(params);
    let mut outline = Outline { params: spec.params_schema.clone(), ..Outline::default() };
    let defaults = document.get("defaults").map(options).unwrap_or_default();
    if let Some(tasks) = document.get("tasks") {
        outline.collect(tasks, None, None, &defaults, problems);
    }
    for group in &outline.groups {
        let mut group_spec = group.spec.clone();
        if let Some(node) = group.node.get("map") {
            let whole = Entry {
                id: group_spec.group_id.clone(),
                group: group_around(&group_spec.group_id).map(String::from),
                node,
                mark: node.mark,
                options: Options::default(),
                mapped: None,
                is_mapped: false,
                is_lenient: false,
            };
            group_spec.map = outline.map(node, &whole, problems);
        }
        spec.groups.push(group_spec);
    }
    spec.groups.sort_by(|one, other| one.group_id.cmp(&other.group_id));
    let after_groups = outline.after_groups(problems);
    let tasks: Vec<TaskSpec> =
        outline.tasks.iter().filter_map(|entry| outline.task_spec(entry, &after_groups, folder, problems)).collect();
    spec.tasks = in_order(tasks, &spec.groups);
    if problems.found.len() == before {
        for problem in &check::problems(&spec) {
            problems.of_dag(problem, outline.mark_of(problem, document));
        }
    }
    (problems.found.len() == before).then_some(spec)
}

/// Reads the keys that do not depend on anything else.
fn words(document: &Node, location: Location) -> DagSpec {
    let text = |key: &str| document.get(key).and_then(Node::scalar).map(text_of);
    let flag = |key: &str| document.get(key).and_then(Node::scalar).and_then(Value::as_bool);
    let mut spec = DagSpec {
        description: text("description").unwrap_or_default(),
        aliases: texts(document.get("aliases")),
        owners: texts(document.get("owners")),
        tags: texts(document.get("tags")),
        timetable: if flag("data_interval") == Some(true) { Timetable::DataInterval } else { Timetable::Trigger },
        callbacks: callbacks(document),
        deadlines: document.get("deadlines").map(Node::items).unwrap_or_default().iter().map(deadline).collect(),
        location,
        extra: Map::from_iter([(FILE_TASK.to_string(), json!(true))]),
        ..DagSpec::new(&text("dag_id").unwrap_or_default())
    };
    read_of_dag(document, &mut spec);
    spec
}

pub(super) fn texts(node: Option<&Node>) -> Vec<String> {
    node.map(Node::items).unwrap_or_default().iter().filter_map(Node::scalar).map(text_of).collect()
}

fn says_setup(task: &Node) -> bool {
    task.get("setup").and_then(Node::scalar) == Some(&Value::Bool(true))
}

/// Returns whether a task is a teardown, with or without setups.
pub(super) fn is_teardown(task: &Node) -> bool {
    task.get("teardown").is_some_and(|said| said.scalar() != Some(&Value::Bool(false)))
}

/// Returns the names of the setups that a teardown removes; `None` if `teardown` is only `true` or `false`.
pub(super) fn torn_down(task: &Node) -> Option<&Node> {
    task.get("teardown").filter(|said| !matches!(said.scalar(), Some(Value::Bool(_))))
}

fn ms(node: &Node, key: &str) -> Option<u64> {
    time_ms(node.get(key)?.scalar()?)
}

fn callbacks(node: &Node) -> Callbacks {
    Callbacks {
        on_success: notifiers(node, "on_success"),
        on_failure: notifiers(node, "on_failure"),
        on_retry: notifiers(node, "on_retry"),
        on_skipped: notifiers(node, "on_skipped"),
        on_awaiting_input: notifiers(node, "on_awaiting_input"),
        on_stale: notifiers(node, "on_stale"),
        on_failed_check: notifiers(node, "on_failed_check"),
    }
}

pub(crate) fn notifiers(node: &Node, key: &str) -> Vec<Notifier> {
    let notifier = |node: &Node| {
        let text = |key: &str| node.get(key).and_then(Node::scalar).map(text_of);
        Notifier {
            connection: node.scalar().map(text_of).or_else(|| text("connection")).unwrap_or_default(),
            subject: text("subject"),
            message: text("message"),
            to: texts(node.get("to")),
            each: node.get("each").and_then(Node::scalar) == Some(&Value::Bool(true)),
            extra: Map::new(),
        }
    };
    node.get(key).map(Node::items).unwrap_or_default().iter().map(notifier).collect()
}

fn deadline(node: &Node) -> Deadline {
    let from = node.get("from").and_then(Node::scalar).and_then(|word| text_of(word).parse().ok());
    Deadline {
        from: from.unwrap_or(DeadlineFrom::Queued),
        after_ms: ms(node, "after").unwrap_or(0),
        notify: notifiers(node, "notify"),
        extra: Map::new(),
    }
}

/// Returns a JSON Schema for the params. Values that are not a schema are defaults.
fn params(node: &Node) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (key, value) in node.entries() {
        let schema = match (&value.kind, value.json()) {
            (NodeKind::Map(_), schema) => schema,
            (_, Value::Null) => json!({ "default": null }),
            (_, default @ Value::Bool(_)) => json!({ "type": "boolean", "default": default }),
            (_, default @ Value::String(_)) => json!({ "type": "string", "default": default }),
            (_, default @ Value::Array(_)) => json!({ "type": "array", "default": default }),
            (_, default) => {
                let kind = if default.is_i64() { "integer" } else { "number" };
                json!({ "type": kind, "default": default })
            }
        };
        if schema.get("default").is_none() {
            required.push(key.text.clone());
        }
        properties.insert(key.text.clone(), embedded(&key.text, schema));
    }
    // Sorted, because the order of params in the file must not change the version.
    required.sort_unstable();
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

impl<'a> Outline<'a> {
    fn collect(
        &mut self,
        tasks: &'a Node,
        group: Option<&str>,
        mapped: Option<&str>,
        defaults: &Options,
        problems: &mut Problems<'_>,
    ) {
        for (key, node) in tasks.entries() {
            let id = group.map_or_else(|| key.text.clone(), |group| format!("{group}.{}", key.text));
            let location = Location { file: problems.file.into(), line: key.mark.line };
            let own = options(node).or(defaults);
            let Some(inside) = node.get("tasks") else {
                let teardown = is_teardown(node);
                let rule = own.trigger_rule.filter(|_| !teardown).unwrap_or_default();
                let is_mapped = node.get("map").is_some();
                self.index.insert(id.clone(), self.tasks.len());
                self.tasks.push(Entry {
                    id,
                    group: group.map(String::from),
                    node,
                    mark: key.mark,
                    options: own,
                    mapped: mapped.map(String::from),
                    is_mapped,
                    is_lenient: rule != TriggerRule::AllSuccess || teardown,
                });
                continue;
            };
            let doc = node.get("doc").and_then(Node::scalar).map(text_of).unwrap_or_default();
            let spec = GroupSpec { group_id: id.clone(), map: None, doc, location, extra: Map::new() };
            self.group_index.insert(id.clone(), self.groups.len());
            self.groups.push(GroupEntry { spec, node });
            let around = if node.get("map").is_some() { Some(id.as_str()) } else { mapped };
            if let (Some(map), Some(outer)) = (node.get("map"), mapped) {
                let outer_map = self.group_index.get(outer).and_then(|index| self.groups[*index].node.get("map"));
                let message = format!("group `{id}` is mapped inside the mapped group `{outer}`");
                problems.add(key.mark, message, one_map(&id, map, outer, outer_map));
            }
            self.collect(inside, Some(&id), around, &own, problems);
        }
    }

    /// Returns the location of the value that a problem is about, or else of its task. `None` if neither is known.
    /// Messages about a value begin with its key, except those about ids and params.
    fn mark_of(&self, problem: &Problem, document: &Node) -> Option<Mark> {
        let task = problem.task_id.as_ref().and_then(|id| self.index.get(id)).map(|index| &self.tasks[*index]);
        let words: Vec<&str> = problem.message.split([' ', '`']).filter(|word| !word.is_empty()).take(3).collect();
        let value = match (words.as_slice(), task) {
            (["dag", "id", ..], None) => document.get("dag_id"),
            (["the", "param", name], None) => document.get("params").and_then(|params| params.get(name)),
            ([key, ..], _) => task.map_or(document, |task| task.node).get(key),
            ([], _) => None,
        };
        value.map(|value| value.mark).or(task.map(|task| task.mark))
    }

    fn task_spec(
        &self,
        entry: &Entry<'_>,
        after_groups: &HashMap<String, Vec<String>>,
        folder: &str,
        problems: &mut Problems<'_>,
    ) -> Option<TaskSpec> {
        let node = entry.node;
        let (kind, work) = KINDS.iter().find_map(|kind| Some((kind, node.get(kind.name)?)))?;
        let (kind_name, mut config) = task::work(work, kind, folder);
        self.targets(entry, work, kind, &mut config, problems);
        let role = if is_teardown(node) {
            Role::Teardown
        } else if says_setup(node) {
            Role::Setup
        } else {
            Role::Work
        };
        if role == Role::Teardown && says_setup(node) {
            problems.add(
                entry.mark,
                format!("task `{}` is both setup and teardown", entry.id),
                "split it into two tasks",
            );
        }
        let mut own = entry.options.clone();
        if role == Role::Teardown {
            // A rule in `defaults` is for the work between setup and teardown.
            own.trigger_rule = options(node).trigger_rule.or(Some(TriggerRule::AllDoneSetupSuccess));
        }
        let mut after = self.after(entry, node.get("after"), problems);
        after.extend(after_groups.get(&entry.id).into_iter().flatten().cloned());
        after.extend(self.after(entry, torn_down(node), problems));
        let mut seen = HashSet::new();
        after.retain(|id| seen.insert(id.clone()));
        if role == Role::Teardown {
            // Same order as in an export.
            after.sort_by_key(|id| self.index.get(id).is_some_and(|task| says_setup(self.tasks[*task].node)));
        }
        Some(TaskSpec {
            task_id: entry.id.clone(),
            group_id: entry.group.clone(),
            kind: kind_name,
            config,
            role,
            doc: node.get("doc").and_then(Node::scalar).map(text_of).unwrap_or_default(),
            inputs: self.inputs(entry, work, &kind.shape, problems),
            after,
            when: self.when(entry, problems),
            map: node.get("map").and_then(|map| self.map(map, entry, problems)),
            inlets: schedule::assets(node.get("inlets"), problems),
            outlets: schedule::assets(node.get("outlets"), problems),
            output_type: String::new(),
            options: own,
            callbacks: callbacks(node),
            defined: Location { file: problems.file.into(), line: entry.mark.line },
            added: Location { file: problems.file.into(), line: entry.mark.line },
            extra: Map::from_iter([(FILE_TASK.to_string(), json!(true))]),
        })
    }
}

/// Returns the hint for a mapped group inside a mapped group: one map over every pair.
fn one_map(id: &str, map: &Node, outer: &str, outer_map: Option<&Node>) -> String {
    const MAX_CHARS: usize = 60;
    let list = |map: Option<&Node>| {
        let list = map.filter(|map| !matches!(map.kind, NodeKind::Map(_))).map(|map| map.json().to_string());
        list.filter(|list| list.chars().count() <= MAX_CHARS).unwrap_or_else(|| "[…]".into())
    };
    format!(
        "remove `map` from `{id}`, and map `{outer}` over every pair: `map: {{cross: [{}, {}]}}`; `{{{{ element[0] }}}}` and \
         `{{{{ element[1] }}}}` are the two values of a pair",
        list(outer_map),
        list(Some(map))
    )
}

fn inside(id: &str, group: &str) -> bool {
    id.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'))
}

/// Returns the group that contains a group.
pub(super) fn group_around(group: &str) -> Option<&str> {
    group.rsplit_once('.').map(|(outer, _)| outer)
}

/// Sorts tasks topologically and by id, so that moving a task within its file does not change the structure. Tasks in a
/// cycle stay at the end, where the check reports them.
fn in_order(mut tasks: Vec<TaskSpec>, groups: &[GroupSpec]) -> Vec<TaskSpec> {
    tasks.sort_by(|one, other| one.task_id.cmp(&other.task_id));
    let index: HashMap<&str, usize> =
        tasks.iter().enumerate().map(|(place, task)| (task.task_id.as_str(), place)).collect();
    let mut missing = vec![0_usize; tasks.len()];
    let mut downstreams: Vec<Vec<usize>> = vec![Vec::new(); tasks.len()];
    for (place, task) in tasks.iter().enumerate() {
        let mut ids: BTreeSet<&str> = task.upstreams().into_iter().collect();
        if let Some(map) = orch_spec::mapped_group(groups, task.group_id.as_deref()).and_then(|g| g.map.as_ref()) {
            let mut found = Vec::new();
            map.sources().iter().for_each(|source| source.collect(&mut found));
            ids.extend(found);
        }
        for upstream in ids.into_iter().filter_map(|id| index.get(id)) {
            missing[place] += 1;
            downstreams[*upstream].push(place);
        }
    }
    let mut ready: BTreeSet<usize> = (0..tasks.len()).filter(|place| missing[*place] == 0).collect();
    let mut order = Vec::with_capacity(tasks.len());
    while let Some(place) = ready.pop_first() {
        order.push(place);
        for &down in &downstreams[place] {
            missing[down] -= 1;
            if missing[down] == 0 {
                ready.insert(down);
            }
        }
    }
    let placed: HashSet<usize> = order.iter().copied().collect();
    order.extend((0..tasks.len()).filter(|place| !placed.contains(place)));
    let mut tasks: Vec<Option<TaskSpec>> = tasks.into_iter().map(Some).collect();
    order.into_iter().filter_map(|place| tasks[place].take()).collect()
}
