//! Waiting for a run of another DAG, or for a task of a run.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A run and the states that it, or one of its tasks, must reach. Returns `{run_id, logical_date, state, ended_at}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunWait {
    pub dag_id: String,
    /// The task to wait for, with all its elements if it is mapped. Without it, the whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    pub which: RunSelector,
    /// States that end the wait successfully.
    #[serde(default = "success")]
    pub allowed: Vec<String>,
    /// States that end the wait with an error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
    /// States that skip the waiting task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// Selects a run of a DAG.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunSelector {
    RunId(String),
    LogicalDate(DateTime<Utc>),
    /// The newest run that ended in an allowed state at or after this time, regardless of its logical date.
    EndedSince(DateTime<Utc>),
}

fn success() -> Vec<String> {
    vec!["success".into()]
}

/// Waits until a run of a DAG has succeeded.
pub fn dag(dag_id: impl Into<String>, which: RunSelector) -> RunWait {
    RunWait { dag_id: dag_id.into(), task_id: None, which, allowed: success(), failed: Vec::new(), skipped: Vec::new() }
}

/// Waits until a task of a run has succeeded.
pub fn task(dag_id: impl Into<String>, task_id: impl Into<String>, which: RunSelector) -> RunWait {
    RunWait { task_id: Some(task_id.into()), ..dag(dag_id, which) }
}

/// Waits until a run has succeeded or failed.
pub fn run(dag_id: impl Into<String>, run_id: impl Into<String>) -> RunWait {
    dag(dag_id, RunSelector::RunId(run_id.into())).allowed(["success", "failed"])
}

impl RunWait {
    /// Sets the states to wait for. Default: `success`.
    #[must_use]
    pub fn allowed<S: Into<String>>(mut self, states: impl IntoIterator<Item = S>) -> Self {
        self.allowed = states.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the states that fail the waiting task.
    #[must_use]
    pub fn failed<S: Into<String>>(mut self, states: impl IntoIterator<Item = S>) -> Self {
        self.failed = states.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the states that skip the waiting task.
    #[must_use]
    pub fn skipped<S: Into<String>>(mut self, states: impl IntoIterator<Item = S>) -> Self {
        self.skipped = states.into_iter().map(Into::into).collect();
        self
    }
}
