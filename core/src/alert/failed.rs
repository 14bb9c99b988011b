//! The failed task instances of a run, as its alert names them.

use super::{Facts, shortened};
use serde::{Deserialize, Serialize};

/// Maximum number of failed instances that an alert of a run names.
pub const MAX_NAMED_FAILURES: usize = 5;

/// The failed task instances of a run at the time its alert was first sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailedTasks {
    pub count: i64,
    /// At most [`MAX_NAMED_FAILURES`], in the order in which they failed.
    pub first: Vec<FailedTask>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailedTask {
    pub task_id: String,
    /// `None` if the task is not mapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map_index: Option<i32>,
    /// Number of its last attempt. `None` if it never started, because a user marked it as failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub try_number: Option<i16>,
    /// Empty if a user marked it as failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl FailedTask {
    /// `map_index` is -1 if the task is not mapped; `causes` are outermost first.
    pub fn new(task_id: String, map_index: i32, try_number: i16, causes: &[String]) -> Self {
        FailedTask {
            task_id,
            map_index: (map_index >= 0).then_some(map_index),
            try_number: (try_number > 0).then_some(try_number),
            reason: shortened(&causes.join(": ")),
        }
    }

    fn name(&self) -> String {
        let element = self.map_index.map(|index| format!(" [{index}]")).unwrap_or_default();
        format!("`{}`{element}", self.task_id)
    }
}

impl FailedTasks {
    /// Returns a text such as "task `load` [3] on attempt 2", with the number of failed tasks if there are several.
    pub(super) fn summary(&self) -> String {
        let Some(task) = self.first.first() else { return String::new() };
        let attempt = task.try_number.map(|number| format!(" on attempt {number}")).unwrap_or_default();
        let first = format!("{}{attempt}", task.name());
        if self.count > 1 { format!("{} tasks, first {first}", self.count) } else { format!("task {first}") }
    }

    /// Returns the line that names the failed tasks after the first. `None` if only one failed.
    pub(super) fn others(&self) -> Option<String> {
        let names: Vec<String> = self.first.iter().skip(1).map(FailedTask::name).collect();
        if names.is_empty() {
            return None;
        }
        let more = self.count - self.first.len() as i64;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Some(format!("Also failed: {}{more}", names.join(", ")))
    }
}

impl Facts {
    /// Adds the failed tasks of the run. The reason of the first one is the reason of the run, unless the run has its
    /// own.
    pub fn add_failures(&mut self, failed: FailedTasks) {
        if let (true, Some(first)) = (self.reason.is_empty(), failed.first.first()) {
            self.reason.clone_from(&first.reason);
        }
        self.failed = Some(failed);
    }

    /// Returns the facts. If the alert is about the run, they have the task, element and attempt of the first failed
    /// task.
    pub(super) fn with_first_failure(&self) -> Facts {
        let mut facts = self.clone();
        if let (None, Some(first)) = (&self.task_id, self.failed.as_ref().and_then(|failed| failed.first.first())) {
            facts.task_id = Some(first.task_id.clone());
            facts.map_index = first.map_index;
            facts.try_number = first.try_number;
        }
        facts
    }
}
