//! Audits whether a stored run follows from its history. Nothing here makes decisions.
//!
//! `books` checks whether the ledger and its counters match the instance rows. `replay` checks whether the decisions in
//! those rows follow from the recorded outcomes, by feeding the outcomes to the transition again.

mod books;
mod replay;

use crate::plan::{Plan, TaskIdx};
use crate::run::Run;
use orch_spec::state::TaskState;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// Maximum number of elements of a map that is replayed in memory. Larger maps are only counted.
const MOST_ELEMENTS: i32 = 2_000_000;

/// Maximum number of reported differences per run. The others are counted.
const MOST_DIFFERENCES: usize = 100;

/// A task and the index of its element, or −1 if the task is not mapped.
pub type TaskElement = (TaskIdx, i32);

#[derive(Debug, Clone)]
pub struct History {
    pub rev: i32,
    pub run: Run,
    /// An instance was cleared, so earlier decisions need not follow from later outcomes.
    pub cleared: bool,
    /// The run was cleared, moved to another version or marked, so a replay may differ although nothing is wrong.
    pub changed: bool,
    /// Finished instances that are folded (applied to the ledger).
    pub over: BTreeMap<TaskElement, Over>,
    /// Instances that are queued, running or waiting, or finished and not folded yet.
    pub in_flight: BTreeSet<TaskElement>,
    /// Instances that a limit holds back.
    pub held: BTreeSet<TaskElement>,
    /// Instances that are stored twice, such as in flight and finished. Always empty in a valid history.
    pub twice: BTreeSet<TaskElement>,
    /// Lengths of the lists that are mapped over, taken from the outputs.
    pub list_lens: HashMap<TaskIdx, i32>,
    /// Outputs that can cause other tasks to be skipped.
    pub outputs: HashMap<TaskElement, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    pub state: TaskState,
    /// True if a worker ran the instance, false if it ended without running.
    pub ran: bool,
    /// Revision that the run got by this end, or had when the end was recorded.
    pub rev_end: Option<i32>,
    pub ended_at_us: i64,
}

/// A stored value that does not follow from the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `None` if the difference is about the whole run.
    pub task: Option<TaskIdx>,
    pub index: i32,
    /// Name of the value, such as `state` or `counter success`.
    pub what: String,
    pub stored: String,
    pub follows: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub differences: Vec<Difference>,
    /// False if the books are already wrong, a map is too large, or the run was changed and its replay differs.
    pub replayed: bool,
}

/// Runs both checks. If the run was changed, differences of its replay are ignored.
pub fn judge(plan: &Plan, history: &History) -> Judgement {
    let differences = books::check(plan, history);
    if !differences.is_empty() {
        return Judgement { differences: first(differences), replayed: false };
    }
    let too_large = |t| history.run.len(t).is_some_and(|len| len > MOST_ELEMENTS);
    if plan.tasks.iter().any(too_large) {
        return Judgement { differences, replayed: false };
    }
    let differences = replay::check(plan, history);
    if history.changed && !differences.is_empty() {
        return Judgement { differences: Vec::new(), replayed: false };
    }
    Judgement { differences: first(differences), replayed: true }
}

/// Truncates the list: one error can cause thousands of differences.
fn first(mut differences: Vec<Difference>) -> Vec<Difference> {
    let more = differences.len().saturating_sub(MOST_DIFFERENCES);
    if more > 0 {
        differences.truncate(MOST_DIFFERENCES);
        differences.push(Difference::of_run("more differences", more, 0));
    }
    differences
}

impl Difference {
    fn of_run(what: &str, stored: impl fmt::Display, follows: impl fmt::Display) -> Difference {
        let (stored, follows) = (stored.to_string(), follows.to_string());
        Difference { task: None, index: -1, what: what.into(), stored, follows }
    }

    fn of((task, index): TaskElement, what: &str, stored: impl fmt::Display, follows: impl fmt::Display) -> Difference {
        let (stored, follows) = (stored.to_string(), follows.to_string());
        Difference { task: Some(task), index, what: what.into(), stored, follows }
    }
}

#[cfg(test)]
mod tests;
