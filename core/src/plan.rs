//! A `DagSpec` prepared for deciding: indices instead of names, edges in both directions, slots of the counters.
//!
//! Made once per DAG version and shared. The position of a task in `DagSpec::tasks` is its index here, in the ledger
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

/// Elements of one map in flight at the same time, before a run is widened.
pub const WINDOW: i32 = 1024;

/// Default of the setting `max_map_elements`.
pub const MAX_MAP_ELEMENTS: i32 = 1_000_000;

/// Maximum number of elements of a map in plans that are built from now on.
static MAP_LIMIT: AtomicI32 = AtomicI32::new(MAX_MAP_ELEMENTS);

/// Sets the maximum number of elements of a map for plans that are built later. A process calls this when it has read its settings.
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
    /// Where the length of a task's output list is kept, for those that somebody maps over.
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
    /// Setups it needs although it does not name them.
    pub setups: Vec<Edge>,
    /// What must be over before a teardown, besides its upstreams.
    pub scope: Vec<Edge>,
    /// Whom it may concern when this task ends: the reverse of the three above.
    pub down: Vec<Edge>,
    /// Its failure fails the run.
    pub leaf: bool,
    pub map: Option<TaskMap>,
    pub retries: u32,
    pub max_active: Option<i32>,
    pub gates: Gates,
    pub priority: i32,
    pub queue: String,
    pub isolation: Isolation,
    pub on_lost: OnLost,
    /// Whose output its conditions ask; one that gave none cannot meet a condition.
    pub asks: Vec<Edge>,
    /// Tasks whose conditions ask this one's output.
    pub asked_by: Vec<TaskIdx>,
}

/// `same`: element i waits for element i; else for all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    pub task: TaskIdx,
    pub same: bool,
}

/// How a task takes part in a map.
#[derive(Debug, Clone, Copy)]
pub struct TaskMap {
    pub domain: usize,
    /// Where its counters begin.
    pub slot: usize,
}

/// Tasks that are mapped together: element i of one belongs to element i of another.
#[derive(Debug)]
pub struct Domain {
    pub lengths: Lengths,
    pub members: Vec<TaskIdx>,
    /// Some member joins several tasks of its own element: deciding it needs the states of those.
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
    /// Of the list a task gave.
    List(TaskIdx),
    /// Number of elements of a mapped task.
    Elements(TaskIdx),
}

/// Why a spec cannot be planned. `check::problems` says the same earlier and kinder.
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
