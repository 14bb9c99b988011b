//! Resolution of inputs in a test run: constants, params, elements of maps and upstream outputs.

use orch_core::plan::{Plan, TaskIdx};
use orch_spec::elements::as_elements;
use orch_spec::{MapSpec, Source};
use serde_json::Value;
use std::collections::HashMap;

/// Outputs of tasks by instance. The index is −1 for tasks that are not mapped.
pub(super) type Outputs = HashMap<(TaskIdx, i32), Value>;

/// Resolves the inputs of one instance.
pub(super) struct Inputs<'a> {
    pub(super) plan: &'a Plan,
    pub(super) params: &'a Value,
    pub(super) outputs: &'a Outputs,
    /// Returns the number of elements of an expanded task.
    pub(super) len: &'a dyn Fn(TaskIdx) -> i32,
    pub(super) task: TaskIdx,
    pub(super) index: i32,
}

impl Inputs<'_> {
    pub(super) fn value(&self, source: &Source) -> Value {
        match source {
            Source::Value(value) => value.clone(),
            Source::Params => self.params.clone(),
            Source::Output(id) => {
                let task = self.find(id);
                let domain = |t: TaskIdx| self.plan.task(t).map.map(|m| m.domain);
                let same = domain(task).is_some() && domain(task) == domain(self.task);
                self.output(task, if same { self.index } else { -1 })
            }
            Source::Outputs(id) | Source::Collected(id) => all(self.outputs, self.find(id), (self.len)(self.find(id))),
            Source::List(sources) => sources.iter().map(|source| self.value(source)).collect(),
            Source::Element { part, .. } => {
                let element = self.element();
                part.map_or(element.clone(), |part| element.get(part).cloned().unwrap_or(Value::Null))
            }
        }
    }

    /// Returns the element of this instance. For a zip or cross, a list of its parts.
    fn element(&self) -> Value {
        let spec = &self.plan.spec;
        let Some(map) = spec.map_of(&spec.tasks[usize::from(self.task)]) else { return Value::Null };
        let index = usize::try_from(self.index).unwrap_or(0);
        let nth = |source: &Source, index: usize| self.list(source).get(index).cloned().unwrap_or(Value::Null);
        match map {
            MapSpec::Each(source) => nth(source, index),
            MapSpec::Zip(sources) => sources.iter().map(|source| nth(source, index)).collect(),
            MapSpec::Cross(sources) => {
                let (mut rest, mut parts) = (index, Vec::with_capacity(sources.len()));
                for source in sources.iter().rev() {
                    let len = self.list(source).as_array().map_or(1, Vec::len).max(1);
                    parts.push(nth(source, rest % len));
                    rest /= len;
                }
                parts.reverse();
                Value::Array(parts)
            }
        }
    }

    fn list(&self, source: &Source) -> Value {
        match source {
            Source::Output(id) => as_elements(self.output(self.find(id), -1)),
            other => self.value(other),
        }
    }

    fn output(&self, task: TaskIdx, index: i32) -> Value {
        self.outputs.get(&(task, index)).cloned().unwrap_or(Value::Null)
    }

    fn find(&self, id: &str) -> TaskIdx {
        self.plan.index_of(id).expect("a DAG without problems has all upstreams")
    }
}

/// Returns the outputs of a mapped task in the order of its list. Elements without an output are null.
pub(super) fn all(outputs: &Outputs, task: TaskIdx, len: i32) -> Value {
    (0..len).map(|index| outputs.get(&(task, index)).cloned().unwrap_or(Value::Null)).collect()
}
