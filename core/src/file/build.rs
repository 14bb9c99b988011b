//! From a document whose shapes are right to the structure of a DAG.

use super::check::{text_of, time_ms};
use super::keys::{KINDS, TaskKind};
use super::node::{Kind, Mark, Node};
use super::template::{self, Template};
use super::upstream::Meant;
use super::{FILE_TASK, Problems, schedule, task};
use crate::check;
use crate::overlap::{Concurrency, Overlap};
use crate::spec::{
    Callbacks, Condition, DagSpec, GroupSpec, Limit, Location, MapSpec, OnLost, Options, Role, Schedule, Source,
    TaskSpec, Timetable, TriggerRule,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap, HashSet};

/// A task of the file.
pub(super) struct Entry<'a> {
    pub(super) id: String,
    pub(super) group: Option<String>,
    node: &'a Node,
    mark: Mark,
    options: Options,
    /// The mapped group around it.
    pub(super) mapped: Option<String>,
    /// It has a map of its own.
    pub(super) is_mapped: bool,
    /// Its rule lets it run although an upstream gave nothing.
    pub(super) is_lenient: bool,
}

pub(super) struct GroupEntry<'a> {
    pub(super) spec: GroupSpec,
    node: &'a Node,
}

/// All tasks and groups, before their names are looked up.
#[derive(Default)]
pub(super) struct Outline<'a> {
    pub(super) tasks: Vec<Entry<'a>>,
    pub(super) groups: Vec<GroupEntry<'a>>,
    pub(super) index: HashMap<String, usize>,
    pub(super) group_ids: HashSet<String>,
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
            let around = Entry {
                id: group_spec.group_id.clone(),
                group: group_spec.group_id.rsplit_once('.').map(|(outer, _)| outer.to_string()),
                node,
                mark: node.mark,
                options: Options::default(),
                mapped: None,
                is_mapped: false,
                is_lenient: false,
            };
            group_spec.map = outline.map(node, &around, problems);
        }
        spec.groups.push(group_spec);
    }
    spec.groups.sort_by(|one, other| one.group_id.cmp(&other.group_id));
    let tasks: Vec<TaskSpec> =
        outline.tasks.iter().filter_map(|entry| outline.task_spec(entry, folder, problems)).collect();
    spec.tasks = in_order(tasks, &spec.groups);
    if problems.found.len() == before {
        check::problems(&spec).iter().for_each(|problem| problems.of_dag(problem));
    }
    (problems.found.len() == before).then_some(spec)
}

/// What needs no look at anything else.
fn words(document: &Node, location: Location) -> DagSpec {
    let text = |key: &str| document.get(key).and_then(Node::scalar).map(text_of);
    let flag = |key: &str| document.get(key).and_then(Node::scalar).and_then(Value::as_bool);
    let concurrency = document.get("concurrency").map(Node::items).unwrap_or_default().iter().map(|one| Concurrency {
        key: one.get("param").and_then(Node::scalar).map(text_of).unwrap_or_default(),
        most: count(one, "most").unwrap_or(0),
    });
    let overlap =
        document.get("overlap").map(|node| serde_json::from_value::<Overlap>(node.json()).unwrap_or_default());
    DagSpec {
        dag_id: text("dag_id").unwrap_or_default(),
        description: text("description").unwrap_or_default(),
        aliases: texts(document.get("aliases")),
        owners: texts(document.get("owners")),
        tags: texts(document.get("tags")),
        schedule: Schedule::Manual,
        timetable: if flag("data_interval") == Some(true) { Timetable::DataInterval } else { Timetable::Trigger },
        start: None,
        end: None,
        catchup: flag("catchup").unwrap_or(false),
        run_timeout_ms: ms(document, "run_timeout"),
        max_active_runs: count(document, "max_active_runs"),
        overlap: overlap.unwrap_or_default(),
        concurrency: concurrency.collect(),
        max_active_tasks: count(document, "max_active_tasks"),
        max_consecutive_failed_runs: count(document, "max_consecutive_failed_runs").unwrap_or(0),
        paused_at_creation: flag("paused"),
        params_schema: None,
        groups: Vec::new(),
        tasks: Vec::new(),
        callbacks: callbacks(document),
        location,
        extra: Map::from_iter([(FILE_TASK.to_string(), json!(true))]),
    }
}

pub(super) fn texts(node: Option<&Node>) -> Vec<String> {
    node.map(Node::items).unwrap_or_default().iter().filter_map(Node::scalar).map(text_of).collect()
}

fn count(node: &Node, key: &str) -> Option<u32> {
    u32::try_from(node.get(key)?.scalar()?.as_u64()?).ok()
}

fn ms(node: &Node, key: &str) -> Option<u64> {
    time_ms(node.get(key)?.scalar()?)
}

fn callbacks(node: &Node) -> Callbacks {
    let list = |key: &str| node.get(key).map(|list| list.items().iter().map(Node::json).collect()).unwrap_or_default();
    Callbacks {
        on_success: list("on_success"),
        on_failure: list("on_failure"),
        on_retry: list("on_retry"),
        on_skipped: list("on_skipped"),
    }
}

/// A schema of the params: what is no schema is a default.
fn params(node: &Node) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (key, value) in node.entries() {
        let schema = match (&value.kind, value.json()) {
            (Kind::Map(_), schema) => schema,
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
        properties.insert(key.text.clone(), schema);
    }
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn options(node: &Node) -> Options {
    let text = |key: &str| node.get(key).and_then(Node::scalar).map(text_of);
    let flag = |key: &str| node.get(key).and_then(Node::scalar).and_then(Value::as_bool);
    fn word<T: serde::de::DeserializeOwned>(node: &Node, key: &str) -> Option<T> {
        serde_json::from_value(node.get(key)?.json()).ok()
    }
    let limit = |one: &Node| Limit {
        name: one.get("name").and_then(Node::scalar).map(text_of).unwrap_or_default(),
        most: count(one, "most").unwrap_or(0),
        key: one.get("key").and_then(Node::scalar).map(text_of),
        per_ms: ms(one, "per"),
        extra: Map::new(),
    };
    let on_lost = node.get("on_lost").and_then(Node::scalar).map(|value| match value.as_u64() {
        Some(times) => OnLost::Retry(u16::try_from(times).unwrap_or(u16::MAX)),
        None => OnLost::Fail,
    });
    Options {
        retries: count(node, "retries"),
        retry_delay_ms: ms(node, "retry_delay"),
        retry_backoff: node.get("retry_backoff").and_then(Node::scalar).and_then(Value::as_f64),
        max_retry_delay_ms: ms(node, "max_retry_delay"),
        timeout_ms: ms(node, "timeout"),
        pool: text("pool"),
        pool_slots: count(node, "pool_slots"),
        queue: text("queue"),
        priority: node.get("priority").and_then(|n| i32::try_from(n.scalar()?.as_i64()?).ok()),
        weight_rule: word(node, "weight_rule"),
        trigger_rule: word(node, "trigger_rule"),
        max_active: count(node, "max_active"),
        max_active_over_runs: count(node, "max_active_over_runs"),
        limits: node.get("limits").map(|limits| limits.items().iter().map(limit).collect()),
        poll_every_ms: ms(node, "poll_every"),
        depends_on_past: flag("depends_on_past"),
        wait_for_downstream: flag("wait_for_downstream"),
        isolation: word(node, "isolation"),
        memory_mb: count(node, "memory_mb"),
        on_lost,
        on_failure_fail_run: flag("on_failure_fail_run"),
    }
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
                let teardown = node.get("teardown").is_some();
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
            self.groups.push(GroupEntry { spec, node });
            self.group_ids.insert(id.clone());
            let around = if node.get("map").is_some() { Some(id.as_str()) } else { mapped };
            if node.get("map").is_some() && mapped.is_some() {
                let message =
                    format!("group `{id}` is mapped inside the mapped group `{}`", mapped.unwrap_or_default());
                problems.add(key.mark, message, "map one of the two, over `cross: [a, b]` if need be");
            }
            self.collect(inside, Some(&id), around, &own, problems);
        }
    }

    fn task_spec(&self, entry: &Entry<'_>, folder: &str, problems: &mut Problems<'_>) -> Option<TaskSpec> {
        let node = entry.node;
        let (kind, work) = KINDS.iter().find_map(|kind| Some((kind, node.get(kind.name)?)))?;
        let (kind_name, mut config) = task::work(work, kind, folder);
        self.targets(entry, work, kind, &mut config, problems);
        let setups = texts(node.get("teardown"));
        let role = match (node.get("setup").and_then(Node::scalar), setups.is_empty()) {
            (Some(Value::Bool(true)), true) => Role::Setup,
            (_, true) => Role::Work,
            (_, false) => Role::Teardown,
        };
        if role == Role::Teardown && node.get("setup").and_then(Node::scalar) == Some(&Value::Bool(true)) {
            problems.add(entry.mark, format!("task `{}` is both setup and teardown", entry.id), "make two tasks of it");
        }
        let mut options = entry.options.clone();
        if role == Role::Teardown {
            // A rule of the defaults is for the work between.
            options.trigger_rule = self::options(node).trigger_rule.or(Some(TriggerRule::AllDoneSetupSuccess));
        }
        let mut after = self.after(entry, node.get("after"), problems);
        after.extend(self.after(entry, node.get("teardown"), problems));
        let mut seen = HashSet::new();
        after.retain(|id| seen.insert(id.clone()));
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
            options,
            callbacks: callbacks(node),
            defined: Location { file: problems.file.into(), line: entry.mark.line },
            added: Location { file: problems.file.into(), line: entry.mark.line },
            extra: Map::from_iter([(FILE_TASK.to_string(), json!(true))]),
        })
    }

    /// The tasks that a branch may follow.
    fn targets(
        &self,
        entry: &Entry<'_>,
        work: &Node,
        kind: &TaskKind,
        config: &mut Value,
        problems: &mut Problems<'_>,
    ) {
        if kind.name != "branch" {
            return;
        }
        let ids = |node: &Node, problems: &mut Problems<'_>| -> Value {
            let mut found = Vec::new();
            for name in node.items() {
                let text = name.scalar().map(text_of).unwrap_or_default();
                match self.meant(&text, entry.group.as_deref()) {
                    Some(Meant::Task(task)) => found.push(self.tasks[task].id.clone()),
                    Some(Meant::Group(group)) => found.extend(self.edge_of(&group, Edge::Beginning)),
                    None => self.unknown(&text, name.mark, problems),
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

    fn after(&self, entry: &Entry<'_>, names: Option<&Node>, problems: &mut Problems<'_>) -> Vec<String> {
        let mut after = Vec::new();
        for name in names.map(Node::items).unwrap_or_default() {
            let text = name.scalar().map(text_of).unwrap_or_default();
            match self.meant(&text, entry.group.as_deref()) {
                Some(Meant::Task(task)) => after.push(self.tasks[task].id.clone()),
                Some(Meant::Group(group)) if inside(&entry.id, &group) => {
                    let message = format!("task `{}` waits for group `{group}`, in which it is", entry.id);
                    problems.add(name.mark, message, "name a task of the group");
                }
                Some(Meant::Group(group)) => after.extend(self.edge_of(&group, Edge::End)),
                None => self.unknown(&text, name.mark, problems),
            }
        }
        after
    }

    /// The tasks with which a group begins or ends; teardowns end nothing, unless there is nothing else.
    fn edge_of(&self, group: &str, edge: Edge) -> Vec<String> {
        let members: Vec<&Entry<'_>> = self.tasks.iter().filter(|entry| inside(&entry.id, group)).collect();
        let mut waited_for: HashSet<usize> = HashSet::new();
        let mut waits: HashSet<&str> = HashSet::new();
        for entry in &members {
            for name in Self::named_by(entry) {
                let upstreams: Vec<usize> = match self.meant(&name, entry.group.as_deref()) {
                    Some(Meant::Task(task)) => vec![task],
                    Some(Meant::Group(inner)) => {
                        (0..self.tasks.len()).filter(|task| inside(&self.tasks[*task].id, &inner)).collect()
                    }
                    None => Vec::new(),
                };
                let own: Vec<usize> = upstreams.into_iter().filter(|t| inside(&self.tasks[*t].id, group)).collect();
                if !own.is_empty() {
                    waits.insert(&entry.id);
                }
                if entry.node.get("teardown").is_none() {
                    waited_for.extend(own);
                }
            }
        }
        let is_edge = |entry: &&&Entry<'_>| match edge {
            Edge::Beginning => !waits.contains(entry.id.as_str()),
            Edge::End => !waited_for.contains(&self.index[&entry.id]) && entry.node.get("teardown").is_none(),
        };
        let found: Vec<String> = members.iter().filter(is_edge).map(|entry| entry.id.clone()).collect();
        if found.is_empty() { members.iter().map(|entry| entry.id.clone()).collect() } else { found }
    }

    /// Every name by which a task waits for another.
    fn named_by(entry: &Entry<'_>) -> Vec<String> {
        let node = entry.node;
        let mut names = texts(node.get("after"));
        names.extend(texts(node.get("teardown")));
        names.extend(node.get("when").map(Node::entries).unwrap_or_default().iter().map(|(key, _)| key.text.clone()));
        let mut paths = Vec::new();
        template::paths(&node.json(), &mut paths);
        let upstream = |path: &Vec<String>| match path.split_first() {
            Some((first, rest)) if first == "upstream" => template::upstream(rest).map(|(name, _)| name),
            _ => None,
        };
        names.extend(paths.iter().filter_map(upstream));
        names
    }

    fn when(&self, entry: &Entry<'_>, problems: &mut Problems<'_>) -> Vec<Condition> {
        let mut found = Vec::new();
        for (key, value) in entry.node.get("when").map(Node::entries).unwrap_or_default() {
            let source = if key.text == "element" && (entry.is_mapped || entry.mapped.is_some()) {
                let group = if entry.is_mapped { None } else { entry.mapped.clone() };
                Source::Element { group, part: None }
            } else {
                match self.task(&key.text, entry.group.as_deref(), key.mark, problems) {
                    Some(task) => self.output(task, entry),
                    None => continue,
                }
            };
            found.push(Condition { source, equals: value.items().iter().map(Node::json).collect() });
        }
        found
    }

    fn map(&self, node: &Node, entry: &Entry<'_>, problems: &mut Problems<'_>) -> Option<MapSpec> {
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
            (None, None) if matches!(node.kind, Kind::Map(_)) => {
                problems.add(node.mark, "`map` has neither `zip` nor `cross`", "say one of them, or give a list");
                None
            }
            (None, None) => self.list(node, entry, problems).map(MapSpec::Each),
        }
    }

    /// A list that is mapped over: one of the file, or what a task gives.
    fn list(&self, node: &Node, entry: &Entry<'_>, problems: &mut Problems<'_>) -> Option<Source> {
        if let Kind::List(_) = node.kind {
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
        let task = self.task(&name, entry.group.as_deref(), node.mark, problems)?;
        Some(match self.output(task, entry) {
            // As Airflow: mapping over a mapped task waits for all of it.
            Source::Outputs(id) => Source::Collected(id),
            one => one,
        })
    }
}

#[derive(Clone, Copy)]
enum Edge {
    Beginning,
    End,
}

fn inside(id: &str, group: &str) -> bool {
    id.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'))
}

/// Upstreams first, else by id, so that a task may be moved within its file and the structure stays the same. What waits
/// for itself stays at the end, for the check to name.
fn in_order(mut tasks: Vec<TaskSpec>, groups: &[GroupSpec]) -> Vec<TaskSpec> {
    tasks.sort_by(|one, other| one.task_id.cmp(&other.task_id));
    let index: HashMap<&str, usize> =
        tasks.iter().enumerate().map(|(place, task)| (task.task_id.as_str(), place)).collect();
    let mut missing = vec![0_usize; tasks.len()];
    let mut downstreams: Vec<Vec<usize>> = vec![Vec::new(); tasks.len()];
    for (place, task) in tasks.iter().enumerate() {
        let mut ids: BTreeSet<&str> = task.upstreams().into_iter().collect();
        if let Some(map) = crate::spec::mapped_group(groups, task.group_id.as_deref()).and_then(|g| g.map.as_ref()) {
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
