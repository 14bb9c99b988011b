//! A DAG while it is being described. Handles are numbers here and become names as tasks are added.
//!
//! Only problems that are not visible in the finished data are rejected here; `orch_spec::check` finds the others.

use crate::arg::{NO_TASK, Wire};
use crate::call::Draft;
use crate::each::Over;
use crate::options::Group;
use orch_sdk::task::TaskFn;
use orch_spec::check::Problem;
use orch_spec::{Condition, GroupSpec, InputSpec, Location, MapSpec, Source, TaskSpec, TriggerRule};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

pub(crate) type MapNumber = usize;

#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) dag_id: String,
    pub(crate) tasks: Vec<TaskSpec>,
    pub(crate) groups: Vec<GroupSpec>,
    pub(crate) bodies: HashMap<String, TaskFn>,
    pub(crate) params: Option<(&'static str, Value)>,
    pub(crate) problems: Vec<Problem>,
    /// The group of each map. `None` for a map of a single task.
    maps: Vec<Option<usize>>,
}

/// The task that is being added, for messages of problems, and the map whose elements it may use.
struct NodeContext {
    task_id: Option<String>,
    map: Option<MapNumber>,
    at: Location,
}

impl Graph {
    pub(crate) fn new(dag_id: &str) -> Self {
        Graph { dag_id: dag_id.into(), ..Graph::default() }
    }

    pub(crate) fn number_map(&mut self, group: Option<usize>) -> MapNumber {
        self.maps.push(group);
        self.maps.len() - 1
    }

    pub(crate) fn open_group(&mut self, group: Group, outer: Option<usize>, over: Option<Over>, at: Location) -> usize {
        let group_id = self.path(outer, &group.name);
        let place = NodeContext { task_id: None, map: None, at };
        let map = over.map(|over| self.map_spec(over, &place));
        self.groups.push(GroupSpec { group_id, map, doc: group.doc, location: place.at, extra: Map::new() });
        self.groups.len() - 1
    }

    pub(crate) fn insert(
        &mut self,
        draft: Draft,
        group: Option<usize>,
        over: Option<(MapNumber, Over)>,
        at: Location,
    ) -> usize {
        let task_id = self.path(group, &draft.id);
        let place = NodeContext { task_id: Some(task_id.clone()), map: over.as_ref().map(|(map, _)| *map), at };
        let is_lenient = draft.options.trigger_rule.is_some_and(|rule| rule != TriggerRule::AllSuccess);
        let mut inputs = Vec::with_capacity(draft.inputs.len());
        for input in draft.inputs {
            let (name, type_name) = (input.name.into(), short(input.type_name));
            inputs.push(InputSpec {
                name,
                type_name,
                optional: input.optional || (input.is_field && is_lenient),
                source: self.source(input.wire, &place),
            });
        }
        let mut when = Vec::with_capacity(draft.when.len());
        for condition in draft.when {
            let equals = condition.equals.into_iter().map(|value| self.json(value, "a value of `when`", &place));
            when.push(Condition { equals: equals.collect(), source: self.source(condition.node.wire(), &place) });
        }
        let mut after: Vec<String> = draft.after.into_iter().filter_map(|t| self.task_id(t, &place)).collect();
        let mut seen = HashSet::new();
        after.retain(|id| seen.insert(id.clone()));
        let spec = TaskSpec {
            group_id: group.map(|g| self.groups[g].group_id.clone()),
            kind: draft.kind,
            config: draft.config,
            role: draft.role,
            doc: draft.doc,
            inputs,
            after,
            when,
            map: over.map(|(_, over)| self.map_spec(over, &place)),
            inlets: draft.inlets,
            outlets: draft.outlets,
            output_type: short(draft.output_type),
            options: draft.options,
            callbacks: draft.callbacks,
            defined: draft.defined,
            added: place.at,
            task_id,
            extra: Map::new(),
        };
        self.bodies.insert(spec.task_id.clone(), draft.body);
        self.tasks.push(spec);
        self.tasks.len() - 1
    }

    pub(crate) fn set_params(&mut self, type_name: &'static str, schema: Value, at: Location) {
        if self.params.as_ref().is_some_and(|(other, _)| *other != type_name) {
            let place = NodeContext { task_id: None, map: None, at };
            let message = "params are declared twice with different types".into();
            self.problem(&place, message, "use one params struct for the DAG");
        }
        self.params = Some((type_name, schema));
    }

    /// Makes tasks that were added after `setup` and have no upstream among them depend on the setup.
    pub(crate) fn hang_under(&mut self, setup: usize) {
        let inside: HashSet<String> = self.tasks[setup..].iter().map(|t| t.task_id.clone()).collect();
        let setup_id = self.tasks[setup].task_id.clone();
        for task in &mut self.tasks[setup + 1..] {
            if !task.upstreams().iter().any(|upstream| inside.contains(*upstream)) {
                task.after.push(setup_id.clone());
            }
        }
    }

    /// Returns the tasks of this range that have no downstream task in it.
    pub(crate) fn leaves(&self, start: usize, end: usize) -> Vec<usize> {
        let waited_for: HashSet<&str> = self.tasks[start..end].iter().flat_map(TaskSpec::upstreams).collect();
        (start..end).filter(|&i| !waited_for.contains(self.tasks[i].task_id.as_str())).collect()
    }

    fn path(&self, group: Option<usize>, name: &str) -> String {
        group.map_or_else(|| name.into(), |g| format!("{}.{name}", self.groups[g].group_id))
    }

    fn map_spec(&mut self, over: Over, place: &NodeContext) -> MapSpec {
        // The list of a map cannot use the elements of that map.
        let place = NodeContext { task_id: place.task_id.clone(), map: None, at: place.at.clone() };
        match over {
            Over::Each(wire) => MapSpec::Each(self.source(wire, &place)),
            Over::Zip(wires) => MapSpec::Zip(self.sources(wires, &place)),
            Over::Cross(wires) => MapSpec::Cross(self.sources(wires, &place)),
        }
    }

    fn sources(&mut self, wires: Vec<Wire>, place: &NodeContext) -> Vec<Source> {
        wires.into_iter().map(|wire| self.source(wire, place)).collect()
    }

    fn source(&mut self, wire: Wire, place: &NodeContext) -> Source {
        let named = |id: Option<String>, source: fn(String) -> Source| id.map_or_else(nothing, source);
        match wire {
            Wire::Value(value) => Source::Value(self.json(value, "an input", place)),
            Wire::Params => Source::Params,
            Wire::Task(task) => named(self.task_id(task, place), Source::Output),
            Wire::Tasks(task) => named(self.task_id(task, place), Source::Outputs),
            Wire::Collected(task) => named(self.task_id(task, place), Source::Collected),
            Wire::Element { map, part } => self.element(map, part, place),
            Wire::List(wires) => Source::List(self.sources(wires, place)),
        }
    }

    fn element(&mut self, map: MapNumber, part: Option<usize>, place: &NodeContext) -> Source {
        match self.maps[map] {
            Some(group) => Source::Element { group: Some(self.groups[group].group_id.clone()), part },
            None if place.map == Some(map) => Source::Element { group: None, part },
            None => {
                let message = "it uses the element of another task's map".into();
                let hint =
                    "keep the element inside its `d.map` closure; for several tasks an element use `d.map_group`";
                self.problem(place, message, hint);
                nothing()
            }
        }
    }

    fn task_id(&mut self, number: usize, place: &NodeContext) -> Option<String> {
        if number == NO_TASK {
            let message = "it waits for the element of a map as if it were a task".into();
            self.problem(place, message, "wait for the task that gave the list");
            return None;
        }
        Some(self.tasks[number].task_id.clone())
    }

    fn json(&mut self, value: Result<Value, String>, what: &str, place: &NodeContext) -> Value {
        value.unwrap_or_else(|error| {
            self.problem(place, format!("{what} is not JSON: {error}"), "map keys must be strings");
            Value::Null
        })
    }

    fn problem(&mut self, place: &NodeContext, message: String, hint: &str) {
        self.problems.push(Problem {
            dag_id: self.dag_id.clone(),
            task_id: place.task_id.clone(),
            message,
            hint: hint.into(),
            at: Some(place.at.clone()),
        });
    }
}

/// Replaces a source that was rejected, so that it is not reported again.
fn nothing() -> Source {
    Source::List(Vec::new())
}

/// Shortens a type name: `alloc::vec::Vec<retail::Table>` becomes `Vec<Table>`.
fn short(type_name: &str) -> String {
    let mut out = String::new();
    for part in type_name.split_inclusive(['<', '>', ',', ' ', '(', ')', '[', ']', '&', ';']) {
        out.push_str(part.rsplit("::").next().unwrap_or(part));
    }
    out
}
