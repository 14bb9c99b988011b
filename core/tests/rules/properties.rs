//! Invariants for every DAG, every outcome and every order: a run ends, nothing is decided twice, counters are the sums
//! of the rows, limits hold, and applying events together or one by one has the same result.

use crate::shapes::{outcome, shapes, spec};
use orch_core::branch;
use orch_core::model::Model;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::transition::{Outcome, Selected};
use orch_spec::state::{RunState, TaskState};
use proptest::prelude::*;
use std::sync::Arc;

/// Asserts the invariants that must hold between two steps of a run.
fn check(model: &Model) {
    let Model { plan, run, states, ready, held } = model;
    assert_eq!(run.in_flight() as usize, ready.len(), "in flight");
    if let Some(limit) = plan.spec.max_active_tasks {
        assert!(ready.len() <= limit as usize, "limit of the run");
    }
    for (i, task) in plan.tasks.iter().enumerate() {
        let me = i as u16;
        let mine = |s: TaskState| states.iter().filter(|((t, x), v)| *t == me && *x >= 0 && **v == s).count() as i32;
        if let Some(counts) = run.element_counts(task).filter(|_| run.len(task) != Some(0)) {
            for (state, many) in counts {
                if state.is_finished() {
                    assert_eq!(many, mine(state), "{} {state}", plan.task_id(me));
                }
            }
            let active = ready.iter().filter(|(t, _)| *t == me).count();
            assert_eq!(counts[5].1 as usize, active);
            assert!(task.max_active.is_none_or(|limit| active as i32 <= limit), "limit of a task");
        } else {
            let row = states.get(&(me, -1)).copied();
            assert_eq!(run.task(me).is_finished(), row.is_some(), "{}", plan.task_id(me));
            assert!(row.is_none_or(|row| row == run.task(me)));
        }
    }
    assert!(held.iter().all(|h| !ready.contains(h) && !states.contains_key(h)));
}

fn to_the_end(model: &mut Model, picks: &mut impl Iterator<Item = u8>, together: usize) -> Result<(), TestCaseError> {
    for _ in 0..200 {
        check(model);
        if model.run.state.is_finished() {
            return Ok(());
        }
        prop_assert!(!model.ready.is_empty(), "stuck: {:?}", model.run);
        let mut batch = Vec::new();
        for _ in 0..together.min(model.ready.len()) {
            let left: Vec<_> =
                model.ready.iter().filter(|r| !batch.iter().any(|(t, i, _)| (*t, *i) == **r)).copied().collect();
            let (task, index) = left[usize::from(picks.next().expect("endless")) % left.len()];
            let pick = picks.next().expect("endless");
            // Sometimes a task skips all tasks downstream of it, decided or undecided, in the same domain or another.
            let no = Outcome::Success { list_len: Some(1), skip: branch::everything_below(&model.plan, task, index) };
            batch.push((task, index, if pick.is_multiple_of(30) { no } else { outcome(pick) }));
        }
        model.finish_all(&batch);
    }
    Err(TestCaseError::fail(format!("no end: {:?}", model.run)))
}

/// Returns the instance that `pick` selects, in any state, mapped or not.
fn somebody(model: &Model, pick: u8) -> (TaskIdx, i32) {
    let tasks = 0..model.plan.tasks.len() as TaskIdx;
    let len = |t: TaskIdx| model.run.len(model.plan.task(t)).filter(|&len| len > 0);
    let all: Vec<_> =
        tasks.flat_map(|t| len(t).map_or(vec![(t, -1)], |len| (0..len).map(|i| (t, i)).collect())).collect();
    all[usize::from(pick) % all.len()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_run_ends_and_its_books_balance(
        shape in shapes(),
        picks in prop::collection::vec(any::<u8>(), 200),
        together in 1usize..4,
    ) {
        let plan = Arc::new(Plan::new(Arc::new(spec(&shape))).expect("a random spec is plannable"));
        let mut model = Model::start(plan);
        let mut picks = picks.into_iter().cycle();
        to_the_end(&mut model, &mut picks, together)?;
        // The run must end again after a user clears a task with its downstream tasks, and after a user clears a single
        // element.
        let task = u16::from(picks.next().expect("endless")) % model.plan.tasks.len() as u16;
        let selected = model.with_downstream(task);
        model.clear(&selected);
        to_the_end(&mut model, &mut picks, together)?;
        if let Some(len) = model.run.len(model.plan.task(task)).filter(|len| *len > 0) {
            let index = i32::from(picks.next().expect("endless")) % len;
            let mut selected = model.with_downstream(task);
            selected.retain(|s| s.task != task);
            selected.push(Selected { task, index: Some(index) });
            model.clear(&selected);
            to_the_end(&mut model, &mut picks, together)?;
        }
        if model.run.state == RunState::Success {
            prop_assert!(model.ready.is_empty() && model.held.is_empty());
        }
    }

    #[test]
    fn whoever_is_marked_at_whatever_time_is_over_once_and_the_run_ends(
        shape in shapes(),
        picks in prop::collection::vec(any::<u8>(), 200),
    ) {
        let plan = Arc::new(Plan::new(Arc::new(spec(&shape))).expect("a random spec is plannable"));
        let mut model = Model::start(plan);
        let mut picks = picks.into_iter().cycle();
        let mut pick = move || picks.next().expect("endless");
        for _ in 0..200 {
            check(&model);
            if model.run.state.is_finished() {
                break;
            }
            if pick().is_multiple_of(3) {
                let (task, index) = somebody(&model, pick());
                let state = [TaskState::Success, TaskState::Failed, TaskState::Skipped][usize::from(pick() % 3)];
                model.mark(task, index, state);
                continue;
            }
            prop_assert!(!model.ready.is_empty(), "stuck: {:?}", model.run);
            let (task, index) = *model.ready.iter().nth(usize::from(pick()) % model.ready.len()).expect("less than all");
            model.finish(task, index, outcome(pick()));
        }
        prop_assert!(model.run.state.is_finished(), "no end: {:?}", model.run);
    }
}
