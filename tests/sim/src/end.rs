//! Checks at the end of a simulation: nothing is left over, outcomes match the script, and final states equal those
//! of an undisturbed run where they do not depend on the order of events.

use crate::database::State;
use crate::database::tables::{Key, RunRow, Tables};
use crate::rng::Rng;
use orch_core::model::Model;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::transition::Outcome;
use orch_spec::TriggerRule;
use orch_spec::state::TaskState;
use orch_spec::text::clean_value;
use orch_store::step::UNRECORDABLE;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Number of undisturbed runs, in random orders, that must agree before the simulated run is compared with them.
const ORDERS: u64 = 4;

type States = BTreeMap<(TaskIdx, i32), TaskState>;

/// Returns a readable list of the unfinished work.
pub(crate) fn left(tables: &Tables) -> String {
    let open = tables.runs.iter().filter(|(_, r)| !r.run.state.is_finished());
    let runs: Vec<String> = open.map(|(_, r)| format!("run {} {} rev {}", r.number, r.run.state, r.rev)).collect();
    let place = |key: &Key| format!("{} [{}, {}]", key.0.as_u128() & 0xffff, key.1, key.2);
    let running = tables.instances.iter().filter(|(_, i)| i.state == TaskState::Running);
    format!(
        "{runs:?}, ready {:?}, held {}, waiting {:?}, unfolded {:?}, running {:?}",
        tables.ready.values().map(|(_, t)| place(&t.key)).collect::<Vec<_>>(),
        tables.held.len(),
        tables.waiting.keys().map(place).collect::<Vec<_>>(),
        tables.unfolded.iter().map(|u| place(&u.key)).collect::<Vec<_>>(),
        running.map(|(key, i)| format!("{} at {:?}", place(key), i.worker)).collect::<Vec<_>>(),
    )
}

/// Returns what is left over although every run has finished; `None` if nothing is.
pub(crate) fn left_at_home(tables: &Tables) -> Option<String> {
    let empty = tables.ready.is_empty() && tables.waiting.is_empty() && tables.unfolded.is_empty();
    let running = tables.instances.values().any(|i| i.state == TaskState::Running);
    let alive = tables.workers.keys().filter(|w| tables.is_alive(**w)).count();
    let held = tables.runs.keys().any(|run| tables.held.keys().any(|key| key.0 == *run));
    (!empty || running || alive > 0 || held).then(|| format!("{alive} workers alive; {}", left(tables)))
}

/// Returns the number of runs that could be compared with undisturbed ones.
pub(crate) fn compare(state: &State) -> Result<usize, String> {
    let mut compared = 0;
    for (id, row) in &state.tables.runs {
        if !row.run.state.is_finished() {
            continue;
        }
        as_scripted(state, *id, row)?;
        let undisturbed = undisturbed(state, *id, row);
        if let Some(wanted) = undisturbed {
            let rows = state.tables.instances_of(*id).map(|(key, i)| ((key.1, key.2), i.state));
            let found = as_one(rows.collect());
            if found != as_one(wanted.clone()) {
                return Err(format!("run {} ended as {found:?}, undisturbed as {wanted:?}", row.number));
            }
            compared += 1;
        }
    }
    Ok(compared)
}

/// Replaces the indices of tasks whose elements are all `UpstreamFailed` by -1. Whether such a task was expanded
/// before it was certain that no element can run depends on the order of events.
fn as_one(states: States) -> States {
    let runs: BTreeSet<TaskIdx> =
        states.iter().filter(|(_, s)| **s != TaskState::UpstreamFailed).map(|(at, _)| at.0).collect();
    states.into_iter().map(|((task, index), s)| ((task, if runs.contains(&task) { index } else { -1 }), s)).collect()
}

/// Checks that each instance ended as its script says and stored the scripted output, unless its worker was lost too
/// often or a timeout cut it short.
fn as_scripted(state: &State, id: Uuid, row: &RunRow) -> Result<(), String> {
    let tables = &state.tables;
    for (key, instance) in tables.instances_of(id).filter(|(_, i)| i.try_no > 0) {
        if state.books.was_set(key) {
            continue;
        }
        if instance.state == TaskState::Failed && !tables.failures.contains_key(&(instance.attempt, instance.lease_no))
        {
            return Err(format!("{key:?} failed and nobody knows why"));
        }
        let kind = tables.failures.get(&(instance.attempt, instance.lease_no));
        if instance.state == TaskState::Failed && kind.is_some_and(|kind| *kind == UNRECORDABLE) {
            return Err(format!("the end of {key:?} could not be written"));
        }
        if state.books.bodies.was_disturbed(key) {
            continue;
        }
        // Cleared instances continue their try numbers.
        let plan = &row.version.plan;
        let first = instance.max_tries as u32 + 1 - plan.task(key.1).retries;
        let (wanted, mut value) = state.script().end(plan, row.number, key.1, key.2, first);
        if instance.state != wanted {
            return Err(format!("{key:?} ended as {}, its script as {wanted}", instance.state));
        }
        let output = tables.outputs.get(key).map_or("null", String::as_str);
        clean_value(&mut value);
        let given = value.to_string();
        if given != output {
            return Err(format!("{key:?} gave {given}, found is {output}"));
        }
    }
    Ok(())
}

/// Returns the final states of undisturbed runs with the same outcomes; `None` if they depend on the order of events.
fn undisturbed(state: &State, id: Uuid, row: &RunRow) -> Option<States> {
    let plan = &row.version.plan;
    if state.books.is_touched(id) {
        return None;
    }
    // An eager mapped task may start before its list exists, and a skip may arrive before or after the skipped task
    // starts. Both depend on the order of events.
    let told = |(key, outcome): (&Key, &Outcome)| match outcome {
        Outcome::Success { skip, .. } | Outcome::Skipped { skip } => key.0 == id && !skip.is_empty(),
        Outcome::Failed => false,
    };
    if plan.tasks.iter().any(|t| t.map.is_some() && is_eager(t.rule)) || state.books.outcomes().any(told) {
        return None;
    }
    let outcome = |task: TaskIdx, index: i32| {
        let recorded = state.books.outcome(&(id, task, index)).cloned();
        recorded.unwrap_or_else(|| outcome_of(state, plan, row.number, task, index))
    };
    let mut agreed: Option<States> = None;
    for order in 0..ORDERS {
        let mut rng = Rng::new(order);
        let mut model = Model::start(plan.clone());
        while !model.run.state.is_finished() {
            let ready: Vec<_> = model.ready.iter().copied().collect();
            let (task, index) = rng.pick(&ready);
            model.finish(task, index, outcome(task, index));
        }
        // A task may be skipped only because a skip arrived first.
        if model.states.values().any(|s| *s == TaskState::Skipped) {
            return None;
        }
        if agreed.as_ref().is_some_and(|states| *states != model.states) {
            return None;
        }
        agreed = Some(model.states);
    }
    agreed
}

fn outcome_of(state: &State, plan: &Plan, run: u64, task: TaskIdx, index: i32) -> Outcome {
    match state.script().end(plan, run, task, index, 1) {
        (TaskState::Success, value) => {
            let list = plan.list_slots.contains_key(&task).then(|| value.as_array().map_or(0, Vec::len) as i32);
            Outcome::Success { list_len: list, skip: Vec::new() }
        }
        (TaskState::Skipped, _) => Outcome::Skipped { skip: Vec::new() },
        _ => Outcome::Failed,
    }
}

fn is_eager(rule: TriggerRule) -> bool {
    use TriggerRule as R;
    matches!(rule, R::OneSuccess | R::OneFailed | R::OneDone | R::Always)
}
