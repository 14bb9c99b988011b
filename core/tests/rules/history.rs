//! Asserts that an audit agrees with the transition for every DAG, every outcome and every order, after every step.

use crate::shapes::{outcome, shapes, spec};
use orch_core::branch;
use orch_core::history::{History, Over, TaskElement, judge};
use orch_core::model::Model;
use orch_core::plan::{Edge, Plan, PlanTask};
use orch_core::transition::Outcome;
use orch_spec::state::TaskState;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Builds a history. `ended` contains the instances that ran, with the revisions in their rows.
fn history(model: &Model, ended: &BTreeMap<TaskElement, i32>) -> History {
    let over = |(&place, &state): (&TaskElement, &TaskState)| {
        let rev_end = ended.get(&place).copied();
        (place, Over { state, ran: rev_end.is_some(), rev_end, ended_at_us: 0 })
    };
    History {
        rev: ended.values().copied().max().unwrap_or(0) + 1,
        run: model.run.clone(),
        cleared: false,
        changed: false,
        over: model.states.iter().map(over).collect(),
        in_flight: model.ready.clone(),
        held: model.held.clone(),
        twice: BTreeSet::new(),
        list_lens: HashMap::new(),
        outputs: HashMap::new(),
    }
}

/// Describes a model for failure messages.
fn told(model: &Model) -> String {
    let edges = |edges: &[Edge]| {
        edges.iter().map(|e| format!("{}{}", e.task, if e.same { "=" } else { "" })).collect::<Vec<_>>()
    };
    let task = |(at, t): (usize, &PlanTask)| {
        let (up, setups, scope) = (edges(&t.up), edges(&t.setups), edges(&t.scope));
        format!(
            "{at}: {:?} map {:?} up {up:?} setups {setups:?} scope {scope:?} most {:?}",
            t.rule, t.map, t.max_active
        )
    };
    let tasks: Vec<String> = model.plan.tasks.iter().enumerate().map(task).collect();
    let Model { run, states, ready, held, .. } = model;
    format!("{}\n{run:?}\nover {states:?}\nready {ready:?}\nheld {held:?}", tasks.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_the_transition_did_is_what_follows(
        shape in shapes(),
        picks in prop::collection::vec(any::<u8>(), 200),
        together in 1usize..4,
        late in 0i32..3,
    ) {
        let plan = Arc::new(Plan::new(Arc::new(spec(&shape))).expect("a random spec is plannable"));
        let mut model = Model::start(plan.clone());
        let mut picks = picks.into_iter().cycle();
        let mut pick = || picks.next().expect("endless");
        let mut ended = BTreeMap::new();
        for rev in 1..200 {
            let judged = judge(&plan, &history(&model, &ended));
            prop_assert!(judged.replayed && judged.differences.is_empty(), "{judged:?}\n{}\n{ended:?}", told(&model));
            if model.run.state.is_finished() {
                break;
            }
            let mut batch: Vec<(u16, i32, Outcome)> = Vec::new();
            for _ in 0..together.min(model.ready.len()) {
                let free = |r: &&TaskElement| !batch.iter().any(|(t, i, _)| (*t, *i) == **r);
                let left: Vec<_> = model.ready.iter().filter(free).copied().collect();
                let (task, index) = left[usize::from(pick()) % left.len()];
                batch.push((task, index, outcome(pick())));
                // Some outcomes lost a race: their rows have an older revision than the one at which they were applied.
                ended.insert((task, index), (rev - i32::from(pick()) % (late + 1)).max(1));
            }
            model.finish_all(&batch);
        }
        prop_assert!(branch::everything_below(&plan, 0, -1).len() < plan.tasks.len());
    }
}

#[test]
fn a_mistake_before_a_wide_map_is_told_in_few_words() {
    let spec = serde_json::json!({ "dag_id": "d", "tasks": [
        { "task_id": "list", "kind": "rust" },
        { "task_id": "each", "kind": "rust", "map": { "each": { "output": "list" } } },
    ] });
    let spec = serde_json::from_value(spec).expect("a spec");
    let plan = Arc::new(Plan::new(Arc::new(spec)).expect("a plan"));
    let mut model = Model::start(plan.clone());
    let mut ended = BTreeMap::new();
    while let Some(&(task, index)) = model.ready.iter().next() {
        let list_len = (task == 0).then_some(3_000);
        model.finish(task, index, Outcome::Success { list_len, skip: Vec::new() });
        ended.insert((task, index), ended.len() as i32 + 1);
    }
    let mut history = history(&model, &ended);
    assert!(judge(&plan, &history).differences.is_empty());
    history.over.get_mut(&(0, -1)).expect("it ran").state = TaskState::Failed;
    history.run.ledger[0] = TaskState::Failed.code();
    let found = judge(&plan, &history).differences;
    assert_eq!(found.len(), 101);
    assert_eq!((found[0].task, found[0].stored.as_str(), found[0].follows.as_str()), (None, "success", "failed"));
    assert_eq!((found[100].what.as_str(), found[100].stored.as_str()), ("more differences", "2903"));
}
