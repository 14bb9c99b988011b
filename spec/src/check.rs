//! Validates a DAG at start-up: reports everything that the types cannot rule out, all problems together, each with its
//! line and a hint.
//!
//! A pure function of the data, so the same rules apply to DAGs from Rust and from declarative files.

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

/// Returns all problems of a DAG, regardless of other DAGs.
pub fn problems(spec: &DagSpec) -> Vec<Problem> {
    let mut dag = Checked::new(spec);
    if !limits::size(&mut dag) {
        // Listing every other problem of this many tasks would be unreadable.
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

/// A DAG and the problems found so far. Each rule reads `spec` and adds to `problems`.
struct Checked<'a> {
    spec: &'a DagSpec,
    /// Indexes of the tasks by id. If an id is used twice, it is the first index.
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
            // The location may be unknown in declarative files and tests.
            at: Some(at.clone()).filter(|at| !at.file.is_empty()),
        });
    }
}

#[cfg(test)]
mod tests;
