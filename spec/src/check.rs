//! What start-up refuses: everything about a DAG that no type could refuse, all at once, each with its line and a hint.
//!
//! A pure function over the data, so that DAGs from Rust and from declarative files meet the same rules.

mod alerts;
mod assets;
mod file_problem;
mod graph;
mod limits;
mod maps;
mod names;
mod questions;
mod rules;
mod schedule;

pub use file_problem::FileProblem;
pub(crate) use limits::MAX_RATE;
pub use limits::{MAX_DURATION_MS, MAX_PRIORITY, MAX_RETRIES, MAX_TASKS};
pub use names::at;

use crate::{DagSpec, GroupSpec, Location, TaskSpec};
use std::collections::HashMap;
use std::fmt;

/// One thing that is wrong with a DAG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub dag_id: String,
    pub task_id: Option<String>,
    pub message: String,
    pub hint: String,
    pub at: Option<Location>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: dag `{}`", self.dag_id)?;
        self.task_id.iter().try_for_each(|t| write!(f, ", task `{t}`"))?;
        write!(f, ": {}", self.message)?;
        self.at.iter().try_for_each(|at| write!(f, "\n  at {at}"))?;
        write!(f, "\nhint: {}", self.hint)
    }
}

impl std::error::Error for Problem {}

/// Everything that is wrong with this DAG by itself.
pub fn problems(spec: &DagSpec) -> Vec<Problem> {
    let mut dag = Checked::new(spec);
    if !limits::size(&mut dag) {
        // What else is wrong with so many tasks would be a wall of text.
        return dag.problems;
    }
    names::check(&mut dag);
    schedule::check(&mut dag);
    assets::check(&mut dag);
    limits::check(&mut dag);
    graph::check(&mut dag);
    maps::check(&mut dag);
    rules::check(&mut dag);
    alerts::check(&mut dag);
    questions::check(&mut dag);
    dag.problems
}

/// A DAG with what is known to be wrong so far. Each rule looks at `spec` and adds to `problems`.
struct Checked<'a> {
    spec: &'a DagSpec,
    /// Places of the tasks by id; the first one where an id is used twice.
    index: HashMap<&'a str, usize>,
    problems: Vec<Problem>,
}

impl<'a> Checked<'a> {
    fn new(spec: &'a DagSpec) -> Self {
        let mut index = HashMap::with_capacity(spec.tasks.len());
        for (place, task) in spec.tasks.iter().enumerate() {
            index.entry(task.task_id.as_str()).or_insert(place);
        }
        Checked { spec, index, problems: Vec::new() }
    }

    fn task_of(&self, task_id: &str) -> Option<&'a TaskSpec> {
        self.index.get(task_id).map(|&place| &self.spec.tasks[place])
    }

    /// The mapped group around a task.
    fn mapped_group(&self, task: &TaskSpec) -> Option<&'a GroupSpec> {
        self.spec.mapped_group(task.group_id.as_deref())
    }

    fn about_dag(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        self.add(None, message.into(), hint.into(), &self.spec.location);
    }

    fn about_group(&mut self, group: &GroupSpec, message: impl Into<String>, hint: impl Into<String>) {
        self.add(None, message.into(), hint.into(), &group.location);
    }

    fn about_task(&mut self, task: &TaskSpec, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Some(&task.task_id), message.into(), hint.into(), &task.added);
    }

    fn add(&mut self, task_id: Option<&str>, message: String, hint: String, at: &Location) {
        self.problems.push(Problem {
            dag_id: self.spec.dag_id.clone(),
            task_id: task_id.map(Into::into),
            message,
            hint,
            // Declarative files and tests may know no line.
            at: Some(at.clone()).filter(|at| !at.file.is_empty()),
        });
    }
}

#[cfg(test)]
mod tests;
