//! What start-up refuses: everything about a DAG that no type could refuse, all at once, each with its line and a hint.

use crate::spec::{DagSpec, Location};
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
pub fn problems(_spec: &DagSpec) -> Vec<Problem> {
    Vec::new()
}
