//! A `DagSpec` prepared for decisions: indexes instead of names, edges in both directions, counter slots.
//!
//! Built once per DAG version and shared. The position of a task in `DagSpec::tasks` is its index here, in the ledger
//! and in the database.

mod build;
mod edges;
#[cfg(test)]
mod planned;
#[cfg(test)]
mod tests;

use crate::gates::Gates;
use orch_spec::check::MAX_TASKS;
use orch_spec::{DagSpec, Isolation, OnLost, TriggerRule};
use std::sync::atomic::{AtomicI32, Ordering};
use std::{collections::HashMap, sync::Arc};

/// Maximum number of elements of one map in flight, before the window of a run is widened.
pub const WINDOW: i32 = 1024;

/// Default of the setting `max_map_elements`.
pub const MAX_MAP_ELEMENTS: i32 = 1_000_000;

/// Maximum number of elements of a map in plans that are built from now on.
static MAP_LIMIT: AtomicI32 = AtomicI32::new(MAX_MAP_ELEMENTS);

/// Sets the maximum number of elements of a map for plans that are built later. A process calls it after it has read
/// its settings.
pub fn set_max_map_elements(max: i32) {
    MAP_LIMIT.store(max, Ordering::Relaxed);
}

/// Position of a task in its DAG.
pub type TaskIdx = u16;

#[derive(Debug)]
pub struct Plan {
    pub spec: Arc<DagSpec>,
    pub tasks: Vec<PlanTask>,
    pub domains: Vec<Domain>,
    /// Counter index of the length of a task's output list, for tasks whose output is mapped over.
    pub list_slots: HashMap<TaskIdx, usize>,
    pub counters: usize,
    /// Maximum number of elements of one map. A task fails when its map expands to more.
    pub max_map_elements: i32,
    by_id: HashMap<String, TaskIdx>,
}

#[derive(Debug)]
pub struct PlanTask {
    pub rule: TriggerRule,
    pub is_setup: bool,
    pub is_teardown: bool,
    pub up: Vec<Edge>,
    /// Setups that the task needs although it does not name them.
    pub setups: Vec<Edge>,
    /// Tasks that must finish before a teardown, in addition to its upstreams.
    pub scope: Vec<Edge>,
    /// Tasks to check when this task ends: the reverse of `up`, `setups` and `scope`.
    pub down: Vec<Edge>,
    /// True if a failure of this task fails the run.
    pub leaf: bool,
    pub map: Option<TaskMap>,
    pub retries: u32,
    pub max_active: Option<i32>,
    pub gates: Gates,
    pub priority: i32,
    pub queue: String,
    pub isolation: Isolation,
    pub on_lost: OnLost,
    /// Tasks whose output the conditions of this task check. A task without output meets no condition.
    pub asks: Vec<Edge>,
    /// Tasks whose conditions check the output of this task.
    pub asked_by: Vec<TaskIdx>,
}

/// `same`: element i waits for element i. Otherwise it waits for the whole task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    pub task: TaskIdx,
    pub same: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct TaskMap {
    pub domain: usize,
    /// Index of the first counter of the task.
    pub slot: usize,
}

/// Tasks that are mapped together: element i of one belongs to element i of another.
#[derive(Debug)]
pub struct Domain {
    pub lengths: Lengths,
    pub members: Vec<TaskIdx>,
    /// True if a member joins several tasks at the same element, so decisions about it need the states of those tasks.
    pub joins: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lengths {
    One(Length),
    /// All must be equal.
    Zip(Vec<Length>),
    Cross(Vec<Length>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    Known(i32),
    /// Length of the list that the task returns.
    List(TaskIdx),
    /// Number of elements of a mapped task.
    Elements(TaskIdx),
}

/// Reasons why a spec cannot be planned. `check::problems` reports the same earlier, with better messages.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    #[error("task `{task}` waits for `{upstream}`, which is not in dag `{dag}`")]
    UnknownUpstream { dag: String, task: String, upstream: String },
    #[error("tasks of dag `{dag}` are not in a topological order: `{task}` stands before `{upstream}`")]
    Order { dag: String, task: String, upstream: String },
    #[error("dag `{dag}` has {tasks} tasks, more than {MAX_TASKS}")]
    TooLarge { dag: String, tasks: usize },
    #[error("task `{task}` of dag `{dag}` cannot be mapped: {why}")]
    Map { dag: String, task: String, why: &'static str },
}

impl Plan {
    pub fn new(spec: Arc<DagSpec>) -> Result<Plan, PlanError> {
        Ok(Plan { max_map_elements: MAP_LIMIT.load(Ordering::Relaxed), ..build::plan(spec)? })
    }

    pub fn index_of(&self, task_id: &str) -> Option<TaskIdx> {
        self.by_id.get(task_id).copied()
    }

    pub fn task_id(&self, task: TaskIdx) -> &str {
        &self.spec.tasks[usize::from(task)].task_id
    }

    pub fn task(&self, task: TaskIdx) -> &PlanTask {
        &self.tasks[usize::from(task)]
    }
}
