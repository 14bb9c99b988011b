//! A `DagSpec` prepared for fast decisions: indexes instead of names, edges in both directions, offsets of counters.
//!
//! Built once per DAG version and shared. The position of a task in `DagSpec::tasks` is its index in the plan, in the
//! ledger and in the database.

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

/// Initial limit on the elements of one map in flight. It grows when workers have free slots.
pub const WINDOW: i32 = 1024;

/// Default of the setting `max_map_elements`.
pub const MAX_MAP_ELEMENTS: i32 = 1_000_000;

/// Current limit on the elements of a map, used by plans that are built from now on.
static MAP_LIMIT: AtomicI32 = AtomicI32::new(MAX_MAP_ELEMENTS);

/// Sets the maximum number of elements of a map for plans that are built later. Each process calls this once it has
/// read its settings.
pub fn set_max_map_elements(max: i32) {
    MAP_LIMIT.store(max, Ordering::Relaxed);
}

/// Index of a task in `DagSpec::tasks`.
pub type TaskIdx = u16;

#[derive(Debug)]
pub struct Plan {
    pub spec: Arc<DagSpec>,
    pub tasks: Vec<PlanTask>,
    pub domains: Vec<Domain>,
    /// Index of the counter with the length of a task's output list, for tasks whose output other tasks are mapped
    /// over.
    pub list_slots: HashMap<TaskIdx, usize>,
    pub counters: usize,
    /// Maximum number of elements of one map. A task fails if its map expands to more elements.
    pub max_map_elements: i32,
    by_id: HashMap<String, TaskIdx>,
}

#[derive(Debug)]
pub struct PlanTask {
    pub rule: TriggerRule,
    pub is_setup: bool,
    pub is_teardown: bool,
    pub up: Vec<Edge>,
    /// Setup tasks that this task needs, although it does not name them as upstreams.
    pub setups: Vec<Edge>,
    /// Tasks that must finish before this teardown runs, in addition to its upstreams.
    pub scope: Vec<Edge>,
    /// Tasks to check when this task ends: the reverse edges of `up`, `setups` and `scope`.
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
    /// Tasks whose output is checked by a condition of this task. The condition is not met if such a task has no
    /// output.
    pub asks: Vec<Edge>,
    /// Tasks whose conditions check the output of this task.
    pub asked_by: Vec<TaskIdx>,
}

/// A dependency on another task. If `same` is true, element i waits only for element i of that task; otherwise it waits
/// for the whole task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    pub task: TaskIdx,
    pub same: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct TaskMap {
    pub domain: usize,
    /// Index of the first counter of this mapped task.
    pub slot: usize,
}

/// Tasks that are mapped over the same lists. Element i of one task belongs to element i of the others.
#[derive(Debug)]
pub struct Domain {
    pub lengths: Lengths,
    pub members: Vec<TaskIdx>,
    /// True if a task in this domain depends on several other tasks of it. Decisions about an element then need the
    /// states of those tasks at its index.
    pub joins: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lengths {
    One(Length),
    /// Lists that are combined by index. All lengths must be equal.
    Zip(Vec<Length>),
    Cross(Vec<Length>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    Known(i32),
    /// The number of elements equals the length of the list that this task returns.
    List(TaskIdx),
    /// The number of elements equals the number of elements of this mapped task.
    Elements(TaskIdx),
}

/// Reasons why a spec cannot be planned. `check::problems` reports the same problems earlier, with better messages.
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
