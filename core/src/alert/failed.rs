//! The failed task instances of a run, as the alert about the run lists them.

use super::{Facts, shortened};
use serde::{Deserialize, Serialize};

/// Maximum number of failed instances that the alert about a run lists.
pub const MAX_NAMED_FAILURES: usize = 5;

/// The failed task instances of a run at the time its alert was first sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailedTasks {
    pub count: i64,
    /// The instances that failed first, at most [`MAX_NAMED_FAILURES`].
    pub first: Vec<FailedTask>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailedTask {
    pub task_id: String,
    /// `None` if the task is not mapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map_index: Option<i32>,
    /// Number of the instance's last attempt. `None` if it never started, because a user marked it as failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub try_number: Option<i16>,
    /// Reason of the failure. Empty if a user marked the instance as failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl FailedTask {
    /// Creates the entry of a failed instance. `map_index` is -1 if the task is not mapped; `causes` are ordered
    /// outermost first.
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
    /// Returns a text about the first failed task, such as "task `load` [3] on attempt 2", with the number of failed
    /// tasks if there are several.
    pub(super) fn summary(&self) -> String {
        let Some(task) = self.first.first() else { return String::new() };
        let attempt = task.try_number.map(|number| format!(" on attempt {number}")).unwrap_or_default();
        let first = format!("{}{attempt}", task.name());
        if self.count > 1 { format!("{} tasks, first {first}", self.count) } else { format!("task {first}") }
    }

    /// Returns the line that lists the failed tasks other than the first. `None` if only one task failed.
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
    /// Adds the failed tasks of the run to the alert. If the run has no reason of its own, the reason of the first
    /// failed task is used.
    pub fn add_failures(&mut self, failed: FailedTasks) {
        if let (true, Some(first)) = (self.reason.is_empty(), failed.first.first()) {
            self.reason.clone_from(&first.reason);
        }
        self.failed = Some(failed);
    }

    /// Returns the facts of the alert. If the alert is about a run, the task, element and attempt of the first failed
    /// task are added.
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
