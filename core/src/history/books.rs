//! Compares the ledger with the instance rows: the state of each task and every counter.

use super::{Difference, History, TaskElement};
use crate::plan::{Plan, PlanTask, TaskIdx};
use crate::run::{
    FAILED, FLIGHT, HELD, LEN, NEXT, REMOVED, RUN_FLIGHT, RUN_OPEN, Run, SKIPPED, SUCCESS, UNKNOWN, UPSTREAM_FAILED,
};
use crate::transition::worst;
use orch_spec::state::{RunState, TaskState};

pub(super) fn check(plan: &Plan, history: &History) -> Vec<Difference> {
    let run = &history.run;
    let sizes =
        [("ledger length", run.ledger.len(), plan.tasks.len()), ("counters", run.counters.len(), plan.counters)];
    let mut found: Vec<Difference> = sizes
        .into_iter()
        .filter(|(_, stored, wanted)| stored != wanted)
        .map(|(what, stored, wanted)| Difference::of_run(what, stored, wanted))
        .collect();
    let is_known = |place: &TaskElement| usize::from(place.0) < plan.tasks.len();
    let strange = history.over.keys().chain(&history.in_flight).chain(&history.held).filter(|p| !is_known(p));
    found.extend(strange.map(|&(task, index)| {
        Difference::of_run("instances", format!("one of task number {task} [{index}]"), "no such task in the version")
    }));
    if !found.is_empty() {
        return found; // the other checks would index out of range
    }
    found.extend(history.twice.iter().map(|&place| Difference::of(place, "places", "two", "one")));
    if run.state == RunState::Queued {
        if *run != Run::new(plan) {
            found.push(Difference::of_run("ledger", "decisions", "none before the run begins"));
        }
        return found;
    }
    for (task, planned) in (0..).zip(&plan.tasks) {
        match planned.map.filter(|_| run.len(planned).is_some_and(|len| len > 0)) {
            Some(map) => of_elements(history, task, planned, map.slot, &mut found),
            None => of_whole(history, task, &mut found),
        }
    }
    // A list may be stored although its length is unknown: the run was ended while the task that returned the list was
    // running.
    for (&task, &len) in &history.list_lens {
        if let Some(&slot) = plan.list_slots.get(&task)
            && ![len, UNKNOWN].contains(&run.counters[slot])
        {
            found.push(Difference::of((task, -1), "counter list length", run.counters[slot], len));
        }
    }
    of_run(plan, history, &mut found);
    found
}

/// Checks a task without elements, whose state is stored in the ledger.
fn of_whole(history: &History, task: TaskIdx, found: &mut Vec<Difference>) {
    let stored = history.run.ledger[usize::from(task)];
    let row = history.over.get(&(task, -1)).map(|over| over.state);
    let open = if history.in_flight.contains(&(task, -1)) { TaskState::Queued } else { TaskState::None };
    let agrees = match (TaskState::from_code(stored), row) {
        (Some(state), Some(row)) => state == row,
        (Some(state), None) if open == TaskState::Queued => state == TaskState::Queued,
        (Some(state), None) => matches!(state, TaskState::None | TaskState::Scheduled),
        (None, _) => false,
    };
    let rows = row.unwrap_or(open);
    if !agrees {
        found.push(Difference::of((task, -1), "state", format!("row {rows}"), format!("ledger {}", word(stored))));
    }
    let elements = (task, 0)..=(task, i32::MAX);
    let stray = history.over.range(elements.clone()).map(|(place, _)| place);
    let stray = stray.chain(history.in_flight.range(elements.clone())).chain(history.held.range(elements));
    found.extend(stray.map(|&place| Difference::of(place, "instance", "there", "the task has no elements")));
}

fn of_elements(history: &History, task: TaskIdx, planned: &PlanTask, slot: usize, found: &mut Vec<Difference>) {
    let counters = &history.run.counters[slot..];
    let len = counters[LEN];
    let elements = || (task, 0)..=(task, i32::MAX);
    let count = |state: TaskState| history.over.range(elements()).filter(|(_, over)| over.state == state).count();
    let counted = [
        ("success", SUCCESS, count(TaskState::Success)),
        ("failed", FAILED, count(TaskState::Failed)),
        ("skipped", SKIPPED, count(TaskState::Skipped)),
        ("upstream_failed", UPSTREAM_FAILED, count(TaskState::UpstreamFailed)),
        ("removed", REMOVED, count(TaskState::Removed)),
        ("in flight", FLIGHT, history.in_flight.range(elements()).count()),
        ("held", HELD, history.held.range(elements()).count()),
    ];
    for (name, at, rows) in counted {
        if counters[at] != rows as i32 {
            found.push(Difference::of((task, -1), &format!("counter {name}"), counters[at], rows));
        }
    }
    let over = history.over.range(elements()).count() as i32;
    let stored = history.run.ledger[usize::from(task)];
    let state = if over == len { worst(counters) } else { TaskState::Queued };
    if stored != state.code() {
        found.push(Difference::of((task, -1), "state", format!("ledger {}", word(stored)), format!("rows {state}")));
    }
    let whole = (task, -1);
    if history.over.contains_key(&whole) || history.in_flight.contains(&whole) {
        found.push(Difference::of(whole, "instance", "there", "the task has elements"));
    }
    let beyond = history.over.range((task, len)..=(task, i32::MAX)).next().is_some()
        || history.in_flight.range((task, len)..=(task, i32::MAX)).next().is_some();
    if beyond {
        found.push(Difference::of((task, len), "instance", "there", format!("the task has {len} elements")));
    }
    let leads = !planned.up.iter().chain(&planned.setups).chain(&planned.scope).any(|edge| edge.same);
    // The elements of a task that was expanded after another task do not start in order: its `NEXT` equals its length.
    let in_order = leads || counters[NEXT] < len;
    if in_order && !history.cleared && !history.run.state.is_finished() {
        // Elements start in order: all elements before `NEXT` have started, and none of the others is in flight.
        let next = history.in_flight.range(elements()).chain(history.held.range(elements())).map(|p| p.1 + 1).max();
        let begun = |index: &i32| {
            let place = (task, *index);
            history.over.contains_key(&place) || history.in_flight.contains(&place) || history.held.contains(&place)
        };
        let waiting = (0..counters[NEXT].min(len)).find(|index| !begun(index));
        if next.is_some_and(|next| next > counters[NEXT]) || waiting.is_some() {
            let follows = waiting.or(next).unwrap_or_default();
            found.push(Difference::of((task, -1), "counter next", counters[NEXT], follows));
        }
    }
}

fn of_run(plan: &Plan, history: &History, found: &mut Vec<Difference>) {
    let run = &history.run;
    let open = (0..plan.tasks.len() as TaskIdx).filter(|&task| !run.task(task).is_finished()).count() as i32;
    let in_flight = history.in_flight.len() as i32;
    for (what, stored, follows) in
        [("counter open", run.counters[RUN_OPEN], open), ("counter in flight", run.counters[RUN_FLIGHT], in_flight)]
    {
        if stored != follows {
            found.push(Difference::of_run(what, stored, follows));
        }
    }
    if run.state.is_finished() {
        let left = history.in_flight.iter().chain(&history.held);
        found.extend(left.map(|&place| Difference::of(place, "instance", "in flight", "the run is over")));
    } else if open == 0 {
        found.push(Difference::of_run("state", run.state, "over: all its tasks are"));
    } else if in_flight == 0 {
        found.push(Difference::of_run("state", run.state, "over: nothing of it is in flight"));
    }
}

fn word(code: i16) -> String {
    TaskState::from_code(code).map_or_else(|| format!("code {code}"), |state| state.to_string())
}
