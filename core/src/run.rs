//! State of a run as data: one state per task and a few counters per mapped task, never an entry per element.
//!
//! The run's database row stores exactly this data, so a process that has read the row can decide what happens next.
//! The states of single elements are in separate rows; `Elements` holds the few that a decision needs.

use crate::plan::{Length, Lengths, Plan, PlanTask, TaskIdx, WINDOW};
use crate::rule::Counts;
use orch_spec::state::{RunState, TaskState};
use std::collections::{HashMap, HashSet};

/// Version of the format of `ledger` and `counters`, set when a run is created. The code reads this version and the
/// previous one.
pub const LEDGER_FORMAT: i16 = 1;

/// Number of counters of the run as a whole. In `counters`, they precede the counters of mapped tasks.
pub(crate) const RUN_COUNTERS: usize = 3;
/// Index of the counter with the maximum number of elements of one map in flight. Its value is negative after a user
/// marked or cleared an instance or moved the run: from then on, the trigger rules alone do not explain the state of
/// the run.
pub(crate) const RUN_WINDOW: usize = 0;
/// Index of the counter of unfinished tasks.
pub(crate) const RUN_OPEN: usize = 1;
/// Index of the counter of instances in flight: queued, running, or waiting for a retry or an event.
pub(crate) const RUN_FLIGHT: usize = 2;

/// Number of counters of one mapped task. They are contiguous and start at the task's `slot`.
pub(crate) const TASK_COUNTERS: usize = 9;
/// Index of the counter with the number of elements, whose value is −1 before the task is expanded.
pub(crate) const LEN: usize = 0;
/// Index of the counter with the map index of the next element to start. Used by tasks whose elements do not wait for
/// elements of another task.
pub(crate) const NEXT: usize = 1;
pub(crate) const FLIGHT: usize = 2;
pub(crate) const SUCCESS: usize = 3;
pub(crate) const FAILED: usize = 4;
pub(crate) const SKIPPED: usize = 5;
pub(crate) const UPSTREAM_FAILED: usize = 6;
pub(crate) const REMOVED: usize = 7;
/// Index of the counter of elements that are ready but that a concurrency limit holds back.
pub(crate) const HELD: usize = 8;

/// Value of a counter whose number is not known yet.
pub(crate) const UNKNOWN: i32 = -1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub state: RunState,
    /// State of each task as a `TaskState` code, in the order of `Plan::tasks`.
    pub ledger: Vec<i16>,
    pub counters: Vec<i32>,
}

impl Run {
    /// Returns a run that has not started.
    pub fn new(plan: &Plan) -> Run {
        let mut counters = vec![0; plan.counters];
        counters[RUN_WINDOW] = WINDOW;
        counters[RUN_OPEN] = plan.tasks.len() as i32;
        plan.list_slots.values().for_each(|&slot| counters[slot] = UNKNOWN);
        plan.tasks.iter().filter_map(|t| t.map).for_each(|m| counters[m.slot + LEN] = UNKNOWN);
        Run { state: RunState::Queued, ledger: vec![TaskState::None.code(); plan.tasks.len()], counters }
    }

    /// Checks that the ledger belongs to a run of `plan` and has a format that this code reads. Otherwise returns the
    /// reason.
    pub fn check(&self, format: i16, plan: &Plan) -> Result<(), String> {
        if !(LEDGER_FORMAT - 1..=LEDGER_FORMAT).contains(&format) {
            let reads = LEDGER_FORMAT;
            return Err(format!(
                "the ledger has format {format}, this orch reads {} and {reads}: install the orch that wrote it, or a newer one",
                reads - 1
            ));
        }
        let sizes = (self.ledger.len(), self.counters.len());
        if sizes != (plan.tasks.len(), plan.counters) {
            let (tasks, counters) = (plan.tasks.len(), plan.counters);
            return Err(format!(
                "the ledger has {} tasks and {} counters, its DAG version {tasks} and {counters}",
                sizes.0, sizes.1
            ));
        }
        match self.ledger.iter().find(|&&code| TaskState::from_code(code).is_none()) {
            Some(code) => Err(format!("the ledger has the unknown state {code}")),
            None => Ok(()),
        }
    }

    /// Returns the state of a task. A mapped task has one combined state for all its elements.
    pub fn task(&self, task: TaskIdx) -> TaskState {
        TaskState::from_code(self.ledger[usize::from(task)]).unwrap_or(TaskState::None)
    }

    pub fn in_flight(&self) -> i32 {
        self.counters[RUN_FLIGHT]
    }

    pub fn window(&self) -> i32 {
        self.counters[RUN_WINDOW].abs()
    }

    pub(crate) fn set_window(&mut self, window: i32) {
        self.counters[RUN_WINDOW] = if self.was_changed() { -window } else { window };
    }

    /// Returns true if a user marked or cleared an instance or moved the run to another version of its DAG.
    pub fn was_changed(&self) -> bool {
        self.counters[RUN_WINDOW] < 0
    }

    /// Records that a user changed the run. Lookups of its elements must then include elements in flight.
    pub fn set_changed(&mut self) {
        self.counters[RUN_WINDOW] = -self.window();
    }

    /// Returns the number of elements of a mapped task, or `None` before it is expanded.
    pub fn len(&self, task: &PlanTask) -> Option<i32> {
        let len = self.counters[task.map?.slot + LEN];
        (len != UNKNOWN).then_some(len)
    }

    /// Returns, for each state, the number of elements of a mapped task. `None` before the task is expanded.
    pub fn element_counts(&self, task: &PlanTask) -> Option<[(TaskState, i32); 7]> {
        let (len, slot) = (self.len(task)?, task.map?.slot);
        let c = |at: usize| self.counters[slot + at];
        let finished = c(SUCCESS) + c(FAILED) + c(SKIPPED) + c(UPSTREAM_FAILED) + c(REMOVED);
        Some([
            (TaskState::Success, c(SUCCESS)),
            (TaskState::Failed, c(FAILED)),
            (TaskState::Skipped, c(SKIPPED)),
            (TaskState::UpstreamFailed, c(UPSTREAM_FAILED)),
            (TaskState::Removed, c(REMOVED)),
            (TaskState::Queued, c(FLIGHT)),
            (TaskState::None, len - finished - c(FLIGHT)),
        ])
    }

    /// Returns the state of an instance without a database row: either undecided, or waiting until the window of its
    /// map reaches it.
    pub fn without_a_row(&self, plan: &Plan, task: TaskIdx, index: i32) -> TaskState {
        let t = plan.task(task);
        let Some(map) = t.map.filter(|_| index >= 0 && self.len(t).is_some()) else {
            return self.task(task);
        };
        let leads = !t.up.iter().chain(&t.setups).chain(&t.scope).any(|e| e.same);
        if leads && index >= self.counters[map.slot + NEXT] { TaskState::Scheduled } else { TaskState::None }
    }

    /// Adds the states of an upstream task to `counts`: one per element if the task is expanded, otherwise the state of
    /// the task.
    pub(crate) fn count(&self, plan: &Plan, upstream: TaskIdx, counts: &mut Counts) {
        let task = plan.task(upstream);
        match self.element_counts(task) {
            // A task with zero elements was itself skipped and counts as one skipped instance, as in Airflow.
            Some(states) if self.len(task) != Some(0) => {
                states.into_iter().for_each(|(state, many)| counts.add(state, many, task.is_setup));
            }
            _ => counts.add(self.task(upstream), 1, task.is_setup),
        }
    }

    /// Returns the number of elements of a mapped task or group if the lengths of all its lists are known.
    pub(crate) fn domain_len(&self, plan: &Plan, lengths: &Lengths) -> DomainLen {
        let one = |length: Length| match length {
            Length::Known(len) => Some(len),
            Length::List(task) => Some(self.counters[plan.list_slots[&task]]).filter(|&len| len != UNKNOWN),
            // Waits until the upstream task has finished: its list needs all elements, even if an eager trigger rule
            // could decide earlier.
            Length::Elements(task) => self.len(plan.task(task)).filter(|_| self.task(task).is_finished()),
        };
        let all: Option<Vec<i32>> = lengths.all().map(one).collect();
        match (lengths, all) {
            (_, None) => DomainLen::Unknown,
            (Lengths::Zip(_), Some(all)) if all.windows(2).any(|w| w[0] != w[1]) => DomainLen::Unequal,
            (Lengths::One(_) | Lengths::Zip(_), Some(all)) => within(plan, Some(i64::from(all[0]))),
            (Lengths::Cross(_), Some(all)) if all.contains(&0) => DomainLen::Known(0),
            (Lengths::Cross(_), Some(all)) => {
                within(plan, all.into_iter().map(i64::from).try_fold(1, i64::checked_mul))
            }
        }
    }
}

/// Compares the number of elements with the limit of the plan. A `len` of `None` means that the number exceeds `i64`.
fn within(plan: &Plan, len: Option<i64>) -> DomainLen {
    match len.and_then(|len| i32::try_from(len).ok()) {
        Some(known) if known <= plan.max_map_elements => DomainLen::Known(known),
        _ => DomainLen::TooLong(len),
    }
}

pub(crate) enum DomainLen {
    Known(i32),
    /// The number of elements exceeds the limit of the plan. `None` if it exceeds `i64`.
    TooLong(Option<i64>),
    Unknown,
    /// The number of elements is undefined, because the lists of a zip have different lengths.
    Unequal,
}

/// States of single elements that a decision requested. Looking up a state that is not loaded returns `Missing`.
#[derive(Debug, Clone, Default)]
pub struct Elements {
    states: HashMap<(TaskIdx, i32), TaskState>,
    /// Elements that are in flight or held back by a limit.
    open: HashSet<(TaskIdx, i32)>,
    loaded: HashSet<(usize, i32)>,
    whole: HashSet<usize>,
}

/// Element states that a decision needs: all tasks of a domain (tasks mapped together) at one index, or at all indexes
/// if `index` is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Missing {
    pub domain: usize,
    pub index: Option<i32>,
}

impl Elements {
    /// Adds the element states that `missing` requested: finished elements whose outcome has been applied. If a user
    /// changed the run (`Run::was_changed`), `states` must also contain elements that are in flight or held, in any
    /// unfinished state.
    pub fn load(&mut self, missing: Missing, states: impl IntoIterator<Item = (TaskIdx, i32, TaskState)>) {
        for (task, index, state) in states {
            if state.is_finished() {
                self.states.insert((task, index), state);
            } else {
                self.open.insert((task, index));
            }
        }
        match missing.index {
            Some(index) => self.loaded.insert((missing.domain, index)),
            None => self.whole.insert(missing.domain),
        };
    }

    /// Calls `decide` repeatedly and loads the element states that it reports as missing, until none is missing. For
    /// callers with all elements in memory; the store has its own version (`run_lock::deciding`).
    pub(crate) fn deciding<T, I: IntoIterator<Item = (TaskIdx, i32, TaskState)>>(
        decide: impl Fn(&Elements) -> Result<T, Missing>,
        look_up: impl Fn(Missing) -> I,
    ) -> T {
        let mut elements = Elements::default();
        loop {
            match decide(&elements) {
                Ok(done) => return done,
                Err(missing) => elements.load(missing, look_up(missing)),
            }
        }
    }

    pub(crate) fn ask(&self, domain: usize, index: i32) -> Result<(), Missing> {
        if self.whole.contains(&domain) || self.loaded.contains(&(domain, index)) {
            Ok(())
        } else {
            Err(Missing { domain, index: Some(index) })
        }
    }

    pub(crate) fn ask_all(&self, domain: usize) -> Result<(), Missing> {
        if self.whole.contains(&domain) { Ok(()) } else { Err(Missing { domain, index: None }) }
    }

    pub(crate) fn get(&self, task: TaskIdx, index: i32) -> Option<TaskState> {
        self.states.get(&(task, index)).copied()
    }

    /// Returns true if a state of this element was loaded.
    pub(crate) fn is_decided(&self, task: TaskIdx, index: i32) -> bool {
        self.states.contains_key(&(task, index)) || self.open.contains(&(task, index))
    }

    pub(crate) fn set(&mut self, task: TaskIdx, index: i32, state: TaskState) {
        self.states.insert((task, index), state);
    }

    pub(crate) fn forget(&mut self, task: TaskIdx, index: i32) {
        self.states.remove(&(task, index));
        self.open.remove(&(task, index));
    }
}
