//! Replays the recorded outcomes of a run through the transition function. The result must match the stored state.
//!
//! The order of outcomes is only approximately known: an outcome that lost a race has the revision at which it was
//! recorded, not the later revision at which it was applied. An outcome is therefore postponed while its consequences
//! contradict the stored rows, and a difference is reported only if no order explains it. The replay ignores limits and
//! windows: they affect when a task starts, not how it ends.

use super::{Difference, History, Over, TaskElement};
use crate::branch;
use crate::plan::{Plan, TaskIdx};
use crate::run::{Elements, Missing, NEXT, Run};
use crate::transition::{Effects, Event, Outcome, RunEnd, Skip, end_run, fold, start_some};
use orch_spec::state::{RunState, TaskState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Maximum number of postponed outcomes that are retried after each step. If there are more, they are retried only at
/// the end.
const MOST_RETRIED: usize = 64;
/// Maximum number of pairs of outcomes that are tried together.
const MOST_PAIRS: usize = 100;
/// Maximum number of orders that are tried before a difference is reported.
const MOST_ORDERS: usize = 6;

pub(super) fn check(plan: &Plan, history: &History) -> Vec<Difference> {
    if history.run.state == RunState::Queued {
        return Vec::new();
    }
    let mut plan = unlimited(plan);
    plan.max_map_elements = max_map_elements(&plan, history);
    // The records do not show whether the run ended by itself, by a user or by its timeout. All possibilities are
    // replayed, and the one with the fewest differences counts.
    let ends: &[Option<RunEnd>] = match history.run.state {
        RunState::Success => &[None, Some(RunEnd::Success)],
        RunState::Failed => &[None, Some(RunEnd::Failed), Some(RunEnd::TimedOut)],
        RunState::Queued | RunState::Running => &[None],
    };
    let mut best: Option<Vec<Difference>> = None;
    for &end in ends {
        for order in [by_revision, by_time] {
            let mut first = BTreeSet::new();
            for _ in 0..MOST_ORDERS {
                let (late, found) = Replay::of(&plan, history, end).replay_ended(order, &first);
                if found.is_empty() {
                    return found;
                }
                if best.as_ref().is_none_or(|best| found.len() < best.len()) {
                    best = Some(found);
                }
                // Outcomes can be applied out of order, so an outcome with a later revision may have been applied
                // first.
                let before = first.len();
                first.extend(late);
                if first.len() == before {
                    break;
                }
            }
        }
    }
    best.unwrap_or_default()
}

type InstanceEnd = (TaskElement, Over);

fn by_revision((place, over): &InstanceEnd) -> (i32, i64, TaskElement) {
    (over.rev_end.unwrap_or(i32::MAX), over.ended_at_us, *place)
}

fn by_time((place, over): &InstanceEnd) -> (i32, i64, TaskElement) {
    (0, over.ended_at_us, *place)
}

/// Returns a copy of the plan without limits, so that every instance that may run is ready immediately.
fn unlimited(plan: &Plan) -> Plan {
    let mut spec = (*plan.spec).clone();
    spec.max_active_tasks = None;
    spec.tasks.iter_mut().for_each(|task| task.options.max_active = None);
    Plan::new(Arc::new(spec)).expect("limits say nothing about how tasks hang together")
}

/// Returns a limit on map elements that explains the stored maps. The setting may have changed since they were
/// expanded.
fn max_map_elements(plan: &Plan, history: &History) -> i32 {
    let lengths = plan.tasks.iter().filter_map(|task| history.run.len(task));
    let failed = |task: &TaskIdx| {
        history.over.get(&(*task, -1)).is_some_and(|over| over.state == TaskState::Failed && !over.ran)
    };
    let longest = lengths.max().unwrap_or(0);
    let is_refused =
        (0..plan.tasks.len() as TaskIdx).filter(|task| plan.task(*task).map.is_some()).any(|task| failed(&task));
    if is_refused { longest.max(1) } else { plan.max_map_elements.max(longest) }
}

/// Returns the tasks that the run was started with. A partial run removes all other tasks at its start, which no
/// trigger rule does.
fn part(plan: &Plan, history: &History) -> BTreeSet<TaskIdx> {
    let is_removed = |over: &Over| over.state == TaskState::Removed && !over.ran;
    let chosen = |task: &TaskIdx| !history.over.get(&(*task, -1)).is_some_and(is_removed);
    (0..plan.tasks.len() as TaskIdx).filter(chosen).collect()
}

struct Replay<'a> {
    plan: &'a Plan,
    history: &'a History,
    /// How a user or the timeout ended the run. `None` if the run ended by itself.
    end: Option<RunEnd>,
    /// Instances whose states were set by the early end of the run, which interrupted them.
    cut: BTreeSet<TaskElement>,
    run: Run,
    states: BTreeMap<TaskElement, TaskState>,
    ready: BTreeSet<TaskElement>,
}

impl<'a> Replay<'a> {
    fn of(plan: &'a Plan, history: &'a History, end: Option<RunEnd>) -> Replay<'a> {
        let cut = |(place, over): (&TaskElement, &Over)| {
            let is_last = over.ran && over.rev_end == Some(history.rev);
            let by_it = over.state == TaskState::Skipped || end.is_some_and(|end| end.running_state() == over.state);
            (is_last && by_it).then_some(*place)
        };
        let cut = if end.is_some() { history.over.iter().filter_map(cut).collect() } else { BTreeSet::new() };
        let (run, effects) = start_some(plan, &part(plan, history));
        let (states, ready) = (BTreeMap::new(), BTreeSet::new());
        let mut replay = Replay { plan, history, end, cut, run, states, ready };
        replay.take(effects);
        let widen = [Event::Widen { window: i32::MAX }];
        let (run, effects) = replay.fold(&widen);
        replay.run = run;
        replay.take(effects);
        replay
    }

    /// Replays all recorded outcomes, those in `first` before the others. Returns the outcomes that could not be
    /// applied, and the differences.
    fn replay_ended<K: Ord>(
        mut self,
        order: impl Fn(&InstanceEnd) -> K,
        first: &BTreeSet<TaskElement>,
    ) -> (Vec<TaskElement>, Vec<Difference>) {
        let over = self.history.over.iter().filter(|(place, over)| over.ran && !self.cut.contains(*place));
        let mut ended: Vec<InstanceEnd> = over.map(|(place, over)| (*place, *over)).collect();
        ended.sort_by_key(|one| (!first.contains(&one.0), order(one)));
        let mut late: Vec<InstanceEnd> = Vec::new();
        for together in ended.chunk_by(|a, b| a.1.rev_end.is_some() && a.1.rev_end == b.1.rev_end) {
            // Outcomes with the same revision were probably applied together. Try the whole group, then the possible
            // subset, then each outcome alone.
            let now = self.may_have_happened(together);
            if now.is_empty() || !self.apply(&now) {
                late.extend(together.iter().filter(|one| !self.apply(std::slice::from_ref(*one))));
            } else if now.len() < together.len() {
                late.extend(together.iter().filter(|one| !now.contains(one)));
            }
            if late.len() <= MOST_RETRIED {
                self.settle(&mut late);
            }
        }
        self.settle(&mut late);
        (late.iter().map(|one| one.0).collect(), self.compare(late))
    }

    /// Applies postponed outcomes as long as none contradicts the stored rows: first each alone, then all together,
    /// then in pairs.
    fn settle(&mut self, late: &mut Vec<InstanceEnd>) {
        loop {
            let before = late.len();
            late.retain(|one| !self.apply(std::slice::from_ref(one)));
            if late.len() == before && !self.apply_some(late) {
                return;
            }
        }
    }

    /// Tries groups of postponed outcomes: an outcome that contradicts the stored rows alone may have been applied
    /// together with others.
    fn apply_some(&mut self, late: &mut Vec<InstanceEnd>) -> bool {
        let now = self.may_have_happened(late);
        if now.len() < 2 {
            return false;
        }
        let pairs = (0..now.len()).flat_map(|a| (a + 1..now.len()).map(move |b| (a, b)));
        let pairs = pairs.take(MOST_PAIRS).map(|(a, b)| vec![now[a], now[b]]);
        for some in std::iter::once(now.clone()).chain(pairs) {
            if self.apply(&some) {
                late.retain(|one| !some.contains(one));
                return true;
            }
        }
        false
    }

    fn may_have_happened(&self, ended: &[InstanceEnd]) -> Vec<InstanceEnd> {
        ended.iter().filter(|one| self.ready.contains(&one.0)).copied().collect()
    }

    /// Applies these outcomes if all of them are possible now and no consequence contradicts the stored rows.
    fn apply(&mut self, ended: &[InstanceEnd]) -> bool {
        if !ended.iter().all(|(place, _)| self.ready.contains(place)) {
            return false;
        }
        let events: Vec<Event> = ended.iter().map(|(place, over)| self.event(*place, *over)).collect();
        let (run, effects) = self.fold(&events);
        if !self.agrees(&run, &effects) {
            return false;
        }
        self.run = run;
        for (place, over) in ended {
            self.ready.remove(place);
            self.states.insert(*place, over.state);
        }
        self.take(effects);
        true
    }

    fn event(&self, (task, index): TaskElement, over: Over) -> Event {
        let outcome = match over.state {
            TaskState::Success => {
                let stored = self.plan.list_slots.get(&task).map(|&slot| self.history.run.counters[slot]);
                let list_len = self.history.list_lens.get(&task).copied().or(stored).filter(|&len| len >= 0);
                Outcome::Success { list_len, skip: self.skips_by_output((task, index)) }
            }
            TaskState::Skipped => Outcome::Skipped { skip: Vec::new() },
            _ => Outcome::Failed,
        };
        Event::Finished { task, index, outcome }
    }

    /// Returns the tasks that must be skipped because of the output of this instance. A branch without output follows
    /// no task.
    fn skips_by_output(&self, (task, index): TaskElement) -> Vec<Skip> {
        let spec = &self.plan.spec.tasks[usize::from(task)];
        let tells =
            matches!(spec.kind.as_str(), "branch" | "short_circuit") || !self.plan.task(task).asked_by.is_empty();
        if !tells {
            return Vec::new();
        }
        let nothing = serde_json::Value::Null;
        let output = self.history.outputs.get(&(task, index)).unwrap_or(&nothing);
        branch::skips(self.plan, task, index, output).unwrap_or_default()
    }

    fn fold(&self, events: &[Event]) -> (Run, Effects) {
        Elements::deciding(|elements| fold(self.plan, &self.run, events, elements), |missing| self.look_up(missing))
    }

    fn look_up(&self, missing: Missing) -> Vec<(TaskIdx, i32, TaskState)> {
        let members = &self.plan.domains[missing.domain].members;
        let range = |task: TaskIdx| match missing.index {
            Some(index) => (task, index)..=(task, index),
            None => (task, 0)..=(task, i32::MAX),
        };
        let states = members.iter().flat_map(|&task| self.states.range(range(task)));
        states.map(|(&(task, index), &state)| (task, index, state)).collect()
    }

    /// Returns true if the decisions match the stored rows, every ready instance may run, and the lengths of maps
    /// match.
    fn agrees(&self, run: &Run, effects: &Effects) -> bool {
        let len = |planned| run.len(planned).is_none_or(|len| self.history.run.len(planned) == Some(len));
        if !self.plan.tasks.iter().all(len) {
            return false;
        }
        let decided = effects.decided.iter().all(|&(task, index, state)| {
            self.history.over.get(&(task, index)).is_some_and(|over| !over.ran && over.state == state)
        });
        decided && effects.ready.iter().all(|place| self.may_run(*place))
    }

    fn may_run(&self, place: TaskElement) -> bool {
        match self.history.over.get(&place) {
            Some(over) => over.ran || (self.end.is_some() && over.state == TaskState::Skipped),
            None => self.is_open(place),
        }
    }

    /// Returns true if, by the stored rows, the instance is running or waits only for a limit or for the window of its
    /// map.
    fn is_open(&self, place: TaskElement) -> bool {
        self.history.in_flight.contains(&place) || self.history.held.contains(&place) || self.waits(place)
    }

    fn take(&mut self, effects: Effects) {
        self.ready.extend(effects.ready);
        self.states.extend(effects.decided.into_iter().map(|(task, index, state)| ((task, index), state)));
    }

    /// Compares the replayed run with the stored run. `late` contains the outcomes that could not be applied.
    fn compare(mut self, late: Vec<InstanceEnd>) -> Vec<Difference> {
        let (forced, impossible): (Vec<InstanceEnd>, Vec<InstanceEnd>) =
            late.into_iter().partition(|one| self.ready.remove(&one.0));
        if !forced.is_empty() {
            let events: Vec<Event> = forced.iter().map(|(place, over)| self.event(*place, *over)).collect();
            self.states.extend(forced.iter().map(|(place, over)| (*place, over.state)));
            let (run, effects) = self.fold(&events);
            self.run = run;
            self.take(effects);
        }
        let mut found = Vec::new();
        for (place, over) in impossible {
            found.push(Difference::of(place, "state", over.state, format!("{}: it could not run", self.word(place))));
            self.states.insert(place, over.state);
        }
        if let Some(end) = self.end.filter(|_| !self.run.state.is_finished()) {
            self.end_by(end);
        }
        let mut seen = BTreeSet::new();
        for (&place, over) in &self.history.over {
            seen.insert(place);
            if self.states.get(&place) != Some(&over.state) {
                found.push(Difference::of(place, "state", over.state, self.word(place)));
            }
        }
        let decided = self.states.iter().filter(|(place, _)| !seen.contains(*place));
        found.extend(decided.map(|(&place, &state)| Difference::of(place, "state", self.stored(place), state)));
        self.compare_open(&mut found);
        for (task, planned) in (0..).zip(&self.plan.tasks) {
            let (stored, follows) = (self.history.run.len(planned), self.run.len(planned));
            if stored != follows {
                let word = |len: Option<i32>| len.map_or_else(|| "not expanded".into(), |len| len.to_string());
                found.push(Difference::of((task, -1), "number of elements", word(stored), word(follows)));
            }
        }
        if self.run.state != self.history.run.state {
            found.push(Difference::of_run("state", self.history.run.state, self.run.state));
        }
        found.sort_by_key(|difference| difference.task.is_some());
        found.dedup_by(|a, b| a.task == b.task && a.index == b.index && a.what == b.what);
        found
    }

    fn end_by(&mut self, end: RunEnd) {
        let running: Vec<TaskElement> = self.cut.iter().copied().filter(|place| self.ready.contains(place)).collect();
        let ran = |place: &TaskElement| self.history.over.get(place).is_some_and(|o| o.state == end.running_state());
        let running: Vec<TaskElement> = running.into_iter().filter(ran).collect();
        for (task, planned) in (0..).zip(&self.plan.tasks) {
            let elements = match self.run.len(planned) {
                Some(len) if len > 0 => 0..len,
                _ if self.run.task(task).is_finished() => continue,
                _ => -1..0,
            };
            for index in elements {
                self.states.entry((task, index)).or_insert(TaskState::Skipped);
            }
        }
        self.states.extend(running.iter().map(|place| (*place, end.running_state())));
        self.ready.clear();
        self.run = end_run(self.plan, &self.run, &running, end);
    }

    /// Checks that every ready instance is stored as in flight or waits for a limit or a window, and that every
    /// instance stored as in flight is ready.
    fn compare_open(&self, found: &mut Vec<Difference>) {
        let history = self.history;
        for &place in self.ready.iter().filter(|place| !history.over.contains_key(*place)) {
            if !self.is_open(place) {
                found.push(Difference::of(place, "state", self.stored(place), "ready to run"));
            }
        }
        let open = history.in_flight.iter().chain(&history.held).filter(|place| !self.ready.contains(*place));
        found.extend(open.map(|&place| Difference::of(place, "state", "in flight", self.word(place))));
    }

    /// Returns true if the instance waits for a limit of the run or for the window of its map.
    fn waits(&self, (task, index): TaskElement) -> bool {
        let (planned, run) = (self.plan.task(task), &self.history.run);
        match planned.map.filter(|_| index >= 0 && run.len(planned).is_some()) {
            _ if run.state.is_finished() => false,
            Some(map) => index >= run.counters[map.slot + NEXT],
            None => run.task(task) == TaskState::Scheduled,
        }
    }

    fn stored(&self, place: TaskElement) -> String {
        match self.history.over.get(&place) {
            Some(over) => over.state.to_string(),
            None if self.history.in_flight.contains(&place) => "in flight".into(),
            None if self.history.held.contains(&place) => "held".into(),
            None => TaskState::None.to_string(),
        }
    }

    fn word(&self, place: TaskElement) -> String {
        match self.states.get(&place) {
            Some(state) => state.to_string(),
            None if self.ready.contains(&place) => "ready to run".into(),
            None => TaskState::None.to_string(),
        }
    }
}
