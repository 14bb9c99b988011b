//! Is a stored run what follows from its history? For audits of a database: nothing here decides anything.
//!
//! Two questions. `books`: do the ledger and its counters say what the rows of the instances say? `replay`: do the
//! decisions in those rows follow from the outcomes in them? The second is asked of the transition itself, which is given
//! the recorded outcomes again.

mod books;
mod replay;

use crate::plan::{Plan, TaskIdx};
use crate::run::Run;
use orch_spec::state::TaskState;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// Elements of one map that are replayed in memory. Larger ones are only counted.
const MOST_ELEMENTS: i32 = 2_000_000;

/// Differences of one run that are named; the others are counted.
const MOST_DIFFERENCES: usize = 100;

/// A task, and the index of its element; −1: not mapped.
pub type TaskElement = (TaskIdx, i32);

/// All that is stored about a run and what happened in it.
#[derive(Debug, Clone)]
pub struct History {
    pub rev: i32,
    pub run: Run,
    /// Somebody cleared instances of it: what was decided before need not follow from what happened since.
    pub cleared: bool,
    /// Cleared, moved to another version or marked by somebody: a replay may differ although nothing is wrong.
    pub changed: bool,
    /// Instances that are over and in the ledger.
    pub over: BTreeMap<TaskElement, Over>,
    /// Queued, running, waiting, or over and not yet in the ledger.
    pub in_flight: BTreeSet<TaskElement>,
    /// Kept aside by a limit.
    pub held: BTreeSet<TaskElement>,
    /// Instances that stand in two places where there must be one.
    pub twice: BTreeSet<TaskElement>,
    /// Lengths of the lists that are mapped over, as the outputs have them.
    pub list_lens: HashMap<TaskIdx, i32>,
    /// What tasks gave that may tell others not to run.
    pub outputs: HashMap<TaskElement, Value>,
}

/// How an instance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    pub state: TaskState,
    /// A worker ran it; else it was decided without.
    pub ran: bool,
    /// The revision of the run that its end made, or at which its end was recorded.
    pub rev_end: Option<i32>,
    pub ended_at_us: i64,
}

/// What is stored is not what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// None: it is about the run as a whole.
    pub task: Option<TaskIdx>,
    pub index: i32,
    /// `state`, `counter success`, …
    pub what: String,
    pub stored: String,
    pub follows: String,
}

/// What became of the two questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub differences: Vec<Difference>,
    /// Its decisions were replayed. Not so when the books are wrong already, or somebody changed what was decided.
    pub replayed: bool,
}

/// Asks both. A replay of a run that somebody changed counts only when it agrees.
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

/// One mistake may have thousands of consequences.
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
