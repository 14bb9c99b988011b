//! Audits whether the stored state of a run follows from its recorded history. The audit changes nothing.
//!
//! `books` checks whether the ledger and its counters match the instance rows. `replay` passes the recorded outcomes to
//! the transition function again and checks whether it makes the stored decisions.

mod books;
mod replay;

use crate::plan::{Plan, TaskIdx};
use crate::run::Run;
use orch_spec::state::TaskState;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// Maximum number of elements of a map that is replayed in memory. For larger maps, only the counters are checked.
const MOST_ELEMENTS: i32 = 2_000_000;

/// Maximum number of differences that are listed per run. Further differences are only counted.
const MOST_DIFFERENCES: usize = 100;

/// A task and the index of its element, or −1 if the task is not mapped.
pub type TaskElement = (TaskIdx, i32);

#[derive(Debug, Clone)]
pub struct History {
    pub rev: i32,
    pub run: Run,
    /// True if a user cleared an instance, so that earlier decisions need not follow from later outcomes.
    pub cleared: bool,
    /// True if a user cleared, marked or moved the run. Its replay may then differ although nothing is wrong.
    pub changed: bool,
    /// Finished instances whose outcomes have been applied to the ledger.
    pub over: BTreeMap<TaskElement, Over>,
    /// Instances that are queued, running or waiting, or that have finished but whose outcomes have not been applied
    /// yet.
    pub in_flight: BTreeSet<TaskElement>,
    /// Instances that a concurrency limit holds back.
    pub held: BTreeSet<TaskElement>,
    /// Instances that are stored in two states, such as in flight and finished. Always empty in a valid history.
    pub twice: BTreeSet<TaskElement>,
    /// Lengths of the output lists that other tasks are mapped over.
    pub list_lens: HashMap<TaskIdx, i32>,
    /// Outputs of tasks that can cause other tasks to be skipped, such as branches.
    pub outputs: HashMap<TaskElement, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    pub state: TaskState,
    /// True if a worker executed the instance, false if it ended without running.
    pub ran: bool,
    /// Revision of the run that applied this end, or the revision at which the end was recorded.
    pub rev_end: Option<i32>,
    pub ended_at_us: i64,
}

/// A stored value that does not follow from the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Task that the difference is about. `None` if it is about the whole run.
    pub task: Option<TaskIdx>,
    pub index: i32,
    /// Name of the stored value, such as `state` or `counter success`.
    pub what: String,
    pub stored: String,
    pub follows: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub differences: Vec<Difference>,
    /// True if the replay was evaluated. False if the ledger does not match the rows, a map is too large, or the run
    /// was changed and its replay differs.
    pub replayed: bool,
}

/// Checks the ledger and replays the run. If a user changed the run, differences of the replay are ignored.
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

/// Truncates the list of differences, because one error can cause thousands of them.
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
