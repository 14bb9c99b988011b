//! Waiting for another DAG: a run of it, or a task of a run.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Which run, and how it, or one task of it, must have ended. Gives `{run_id, logical_date, state, ended_at}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunWait {
    pub dag_id: String,
    /// Without it the run as a whole. Of a mapped task all elements count together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    pub which: RunSelector,
    /// Met by these states.
    #[serde(default = "success")]
    pub allowed: Vec<String>,
    /// These end the wait with an error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
    /// These skip the task that waits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// Which run of a DAG.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunSelector {
    RunId(String),
    /// The run for exactly this date.
    LogicalDate(DateTime<Utc>),
    /// The newest that ended in an allowed state at this time or later, whatever date it is for.
    EndedSince(DateTime<Utc>),
}

fn success() -> Vec<String> {
    vec!["success".into()]
}

/// Until a run of a DAG has succeeded.
pub fn dag(dag_id: impl Into<String>, which: RunSelector) -> RunWait {
    RunWait { dag_id: dag_id.into(), task_id: None, which, allowed: success(), failed: Vec::new(), skipped: Vec::new() }
}

/// Until a task of a run of a DAG has succeeded.
pub fn task(dag_id: impl Into<String>, task_id: impl Into<String>, which: RunSelector) -> RunWait {
    RunWait { task_id: Some(task_id.into()), ..dag(dag_id, which) }
}

/// Until a run has ended, well or not.
pub fn run(dag_id: impl Into<String>, run_id: impl Into<String>) -> RunWait {
    dag(dag_id, RunSelector::RunId(run_id.into())).allowed(["success", "failed"])
}

impl RunWait {
    /// The states that are waited for; `success` without this.
    #[must_use]
    pub fn allowed<S: Into<String>>(mut self, states: impl IntoIterator<Item = S>) -> Self {
        self.allowed = states.into_iter().map(Into::into).collect();
        self
    }

    /// The states that fail the task that waits.
    #[must_use]
    pub fn failed<S: Into<String>>(mut self, states: impl IntoIterator<Item = S>) -> Self {
        self.failed = states.into_iter().map(Into::into).collect();
        self
    }

    /// The states that skip the task that waits.
    #[must_use]
    pub fn skipped<S: Into<String>>(mut self, states: impl IntoIterator<Item = S>) -> Self {
        self.skipped = states.into_iter().map(Into::into).collect();
        self
    }
}
