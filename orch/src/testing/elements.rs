//! Elements of maps in a test run: what they are, which upstream instances each waits for, and where inputs come from.

use super::TestRun;
use orch_core::spec::{DagSpec, MapSpec, Role, Source, TaskSpec};
use orch_core::state::TaskState;
use serde_json::Value;

/// What one instance of a task runs for.
#[derive(Default)]
pub(super) struct Element {
    /// `None` for a task that is not mapped.
    pub(super) index: Option<usize>,
    /// One value of an `Each`; a list of the parts of a zip or cross.
    value: Value,
    /// For each list of the map the place in it.
    places: Vec<usize>,
}

impl TestRun {
    /// The elements of a task, one without index if it is not mapped. `Err`: how it ends when the list never came.
    pub(super) fn elements(&self, spec: &DagSpec, task: &TaskSpec, params: &Value) -> Result<Vec<Element>, TaskState> {
        let Some(map) = spec.map_of(task) else { return Ok(vec![Element::default()]) };
        for source in map.sources() {
            let (Source::Output(id) | Source::Outputs(id) | Source::Collected(id)) = source else { continue };
            // A mapped upstream with elements gives its list whatever became of them.
            match self.instances(id).of.first().filter(|instance| !instance.element).map(|instance| instance.state) {
                None | Some(TaskState::Success) => {}
                Some(TaskState::Skipped) => return Err(TaskState::Skipped),
                Some(_) => return Err(TaskState::UpstreamFailed),
            }
        }
        let list = |source: &Source| match self.resolve(source, params, &Element::default()) {
            Value::Array(list) => list,
            _ => Vec::new(),
        };
        let lists: Vec<Vec<Value>> = map.sources().iter().map(list).collect();
        let places: Vec<Vec<usize>> = match map {
            MapSpec::Each(_) => (0..lists[0].len()).map(|place| vec![place]).collect(),
            MapSpec::Zip(_) => {
                let length = lists.iter().map(Vec::len).min().unwrap_or(0);
                if lists.iter().any(|list| list.len() != length) {
                    return Err(TaskState::Failed);
                }
                (0..length).map(|place| vec![place; lists.len()]).collect()
            }
            MapSpec::Cross(_) => lists.iter().fold(vec![Vec::new()], |found, list| {
                found.iter().flat_map(|start| (0..list.len()).map(|place| [&start[..], &[place]].concat())).collect()
            }),
        };
        let value = |places: &Vec<usize>| match map {
            MapSpec::Each(_) => lists[0][places[0]].clone(),
            MapSpec::Zip(_) | MapSpec::Cross(_) => {
                places.iter().zip(&lists).map(|(&i, list)| list[i].clone()).collect()
            }
        };
        let elements = places.into_iter().enumerate();
        Ok(elements.map(|(index, places)| Element { index: Some(index), value: value(&places), places }).collect())
    }

    /// The state of each upstream instance that this one waits for, and whether it is a setup.
    pub(super) fn upstream_states(&self, spec: &DagSpec, task: &TaskSpec, element: &Element) -> Vec<(TaskState, bool)> {
        let group_of = |task: &TaskSpec| spec.mapped_group(task.group_id.as_deref()).map(|group| &group.group_id);
        let sources = spec.map_of(task).map_or(&[] as &[Source], MapSpec::sources);
        let mut upstreams = task.upstreams();
        for source in sources {
            source.collect(&mut upstreams);
        }
        let mut found = Vec::new();
        for id in upstreams {
            let upstream = spec.task(id).expect("a DAG without problems has all upstreams");
            let same_group = group_of(upstream).is_some() && group_of(upstream) == group_of(task);
            let own_list = sources.iter().position(|source| *source == Source::Outputs(id.into()));
            let place =
                if same_group { element.index } else { own_list.and_then(|list| element.places.get(list).copied()) };
            let instances = &self.instances(id).of;
            let one = place.filter(|_| instances.iter().any(|i| i.element)).and_then(|place| instances.get(place));
            let states = one.map_or_else(|| instances.iter().map(|i| i.state).collect(), |one| vec![one.state]);
            found.extend(states.into_iter().map(|state| (state, upstream.role == Role::Setup)));
        }
        found
    }

    pub(super) fn conditions_hold(&self, task: &TaskSpec, params: &Value, element: &Element) -> bool {
        task.when.iter().all(|condition| condition.equals.contains(&self.resolve(&condition.source, params, element)))
    }

    pub(super) fn resolve(&self, source: &Source, params: &Value, element: &Element) -> Value {
        match source {
            Source::Value(value) => value.clone(),
            Source::Params => params.clone(),
            Source::Output(id) => {
                let instances = self.instances(id);
                let place = if instances.mapped { element.index.unwrap_or(0) } else { 0 };
                instances.of.get(place).and_then(|instance| instance.output.clone()).unwrap_or(Value::Null)
            }
            Source::Outputs(id) | Source::Collected(id) => self.all(id),
            Source::Element { part: Some(part), .. } => element.value.get(*part).cloned().unwrap_or(Value::Null),
            Source::Element { part: None, .. } => element.value.clone(),
            Source::List(sources) => sources.iter().map(|source| self.resolve(source, params, element)).collect(),
        }
    }

    /// The outputs of a mapped task in the order of its list, null where an element gave none.
    pub(super) fn all(&self, task_id: &str) -> Value {
        let elements = self.instances(task_id).of.iter().filter(|instance| instance.element);
        elements.map(|instance| instance.output.clone().unwrap_or(Value::Null)).collect()
    }
}
