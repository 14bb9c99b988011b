//! A run as data: one state per task and a few counters per mapped task, never an entry per element.
//!
//! Exactly this is stored in the run's row, so a process that has the row can decide what happens next. The states of
//! single elements are in separate rows; `Elements` has the few that a decision needs.

use crate::plan::{Length, Lengths, Plan, PlanTask, TaskIdx, WINDOW};
use crate::rule::Counts;
use orch_spec::state::{RunState, TaskState};
use std::collections::{HashMap, HashSet};

/// Version of the meaning of `ledger` and `counters`, set when a run is created. The code reads this and the previous
/// one.
pub const LEDGER_FORMAT: i16 = 1;

/// Number of counters of the run itself. They come first.
pub(crate) const RUN_COUNTERS: usize = 3;
/// Maximum number of elements of one map in flight. Negative after an instance was marked or cleared or the run was
/// moved: from then on the decisions do not follow from the rules alone.
pub(crate) const RUN_WINDOW: usize = 0;
/// Tasks that are not finished.
pub(crate) const RUN_OPEN: usize = 1;
/// Instances in flight: queued, running, or waiting for a retry or an event.
pub(crate) const RUN_FLIGHT: usize = 2;

/// Number of counters of a mapped task, which start at its slot.
pub(crate) const TASK_COUNTERS: usize = 9;
/// Number of elements, or −1 before the task is expanded.
pub(crate) const LEN: usize = 0;
/// Index of the next element to start, for a task that leads its domain.
pub(crate) const NEXT: usize = 1;
pub(crate) const FLIGHT: usize = 2;
pub(crate) const SUCCESS: usize = 3;
pub(crate) const FAILED: usize = 4;
pub(crate) const SKIPPED: usize = 5;
pub(crate) const UPSTREAM_FAILED: usize = 6;
pub(crate) const REMOVED: usize = 7;
/// Elements that could start if no limit held them back.
pub(crate) const HELD: usize = 8;

/// Value of a counter that is not known yet.
pub(crate) const UNKNOWN: i32 = -1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub state: RunState,
    /// `TaskState` codes in the order of `Plan::tasks`.
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

    /// Checks that this is the ledger of a run of `plan` in a format that this code reads. Otherwise returns the
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

    /// Returns the state of a task. For a mapped task it is the state of all its elements together.
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

    /// Returns true if an instance was marked or cleared, or the run was moved to another version.
    pub fn was_changed(&self) -> bool {
        self.counters[RUN_WINDOW] < 0
    }

    /// Records that a user changes the run. Lookups of its elements must then include those in flight.
    pub fn set_changed(&mut self) {
        self.counters[RUN_WINDOW] = -self.window();
    }

    /// Returns the number of elements of a mapped task, or `None` before it is expanded.
    pub fn len(&self, task: &PlanTask) -> Option<i32> {
        let len = self.counters[task.map?.slot + LEN];
        (len != UNKNOWN).then_some(len)
    }

    /// Returns the number of an expanded task's elements in each state.
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

    /// Returns the state of an instance without a row: it is not decided yet, or it waits for its turn in a window.
    pub fn without_a_row(&self, plan: &Plan, task: TaskIdx, index: i32) -> TaskState {
        let t = plan.task(task);
        let Some(map) = t.map.filter(|_| index >= 0 && self.len(t).is_some()) else {
            return self.task(task);
        };
        let leads = !t.up.iter().chain(&t.setups).chain(&t.scope).any(|e| e.same);
        if leads && index >= self.counters[map.slot + NEXT] { TaskState::Scheduled } else { TaskState::None }
    }

    /// Adds a whole upstream: each element of an expanded task, or the task itself.
    pub(crate) fn count(&self, plan: &Plan, upstream: TaskIdx, counts: &mut Counts) {
        let task = plan.task(upstream);
        match self.element_counts(task) {
            // A task with zero elements was skipped itself, which counts once, as in Airflow.
            Some(states) if self.len(task) != Some(0) => {
                states.into_iter().for_each(|(state, many)| counts.add(state, many, task.is_setup));
            }
            _ => counts.add(self.task(upstream), 1, task.is_setup),
        }
    }

    /// Returns the number of elements of a domain if the lengths of all its lists are known.
    pub(crate) fn domain_len(&self, plan: &Plan, lengths: &Lengths) -> DomainLen {
        let one = |length: Length| match length {
            Length::Known(len) => Some(len),
            Length::List(task) => Some(self.counters[plan.list_slots[&task]]).filter(|&len| len != UNKNOWN),
            // The elements must be complete: an eager rule does not finish the task.
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

/// Checks the limit of the plan. `None`: the number of elements exceeds `i64`.
fn within(plan: &Plan, len: Option<i64>) -> DomainLen {
    match len.and_then(|len| i32::try_from(len).ok()) {
        Some(known) if known <= plan.max_map_elements => DomainLen::Known(known),
        _ => DomainLen::TooLong(len),
    }
}

pub(crate) enum DomainLen {
    Known(i32),
    /// More elements than the plan allows; `None` if their number exceeds `i64`.
    TooLong(Option<i64>),
    Unknown,
    /// The lists of a zip have different lengths.
    Unequal,
}

/// States of single elements that a decision requested. A state that is not loaded is reported as `Missing`.
#[derive(Debug, Clone, Default)]
pub struct Elements {
    states: HashMap<(TaskIdx, i32), TaskState>,
    /// Elements in flight or held.
    open: HashSet<(TaskIdx, i32)>,
    loaded: HashSet<(usize, i32)>,
    whole: HashSet<usize>,
}

/// Element states that a decision needs: all tasks of a domain, at one index or at all indexes (`None`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Missing {
    pub domain: usize,
    pub index: Option<i32>,
}

impl Elements {
    /// Adds the finished and folded elements that `missing` requested. For a changed run (`Run::was_changed`), `states`
    /// must also contain elements that are in flight or held, in any unfinished state.
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

    /// Decides with the loaded states, and again after each load, until nothing is missing. For callers that have the
    /// elements in memory; the store has its own version (`run_lock::deciding`).
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

    /// Returns true if a loaded state exists.
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
