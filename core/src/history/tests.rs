//! Tests of the audit on histories of model runs, unchanged and with deliberate errors.

use super::*;
use crate::model::Model;
use crate::transition::Outcome;
use orch_spec::state::RunState;
use serde_json::json;
use std::sync::Arc;

fn plan() -> Arc<Plan> {
    let spec = json!({ "dag_id": "d", "tasks": [
        { "task_id": "list", "kind": "rust" },
        { "task_id": "each", "kind": "rust", "map": { "each": { "output": "list" } }, "max_active": 2 },
        { "task_id": "side", "kind": "rust", "after": ["list"] },
        { "task_id": "end", "kind": "rust", "after": ["each", "side"] },
        { "task_id": "last", "kind": "rust", "after": ["end"], "trigger_rule": "all_done" },
    ] });
    Arc::new(Plan::new(Arc::new(serde_json::from_value(spec).expect("a spec"))).expect("a plan"))
}

/// Returns the history that a database would store.
fn history(model: &Model, ran: &[TaskElement]) -> History {
    let over = |(&place, &state): (&TaskElement, &TaskState)| {
        let rev_end = ran.iter().position(|r| *r == place).map(|at| at as i32 + 1);
        (place, Over { state, ran: rev_end.is_some(), rev_end, ended_at_us: 0 })
    };
    History {
        rev: ran.len() as i32,
        run: model.run.clone(),
        cleared: false,
        changed: false,
        over: model.states.iter().map(over).collect(),
        in_flight: model.ready.clone(),
        held: model.held.clone(),
        twice: BTreeSet::new(),
        list_lens: HashMap::from([(0, 5)]),
        outputs: HashMap::new(),
    }
}

fn success(list_len: Option<i32>) -> Outcome {
    Outcome::Success { list_len, skip: Vec::new() }
}

/// Returns a run in which `side` fails after two of five elements have finished.
fn halfway() -> (Model, Vec<TaskElement>) {
    let mut model = Model::start(plan());
    model.finish(0, -1, success(Some(5)));
    model.finish(1, 1, success(None));
    model.finish(1, 0, success(None));
    model.finish(2, -1, Outcome::Failed);
    (model, vec![(0, -1), (1, 1), (1, 0), (2, -1)])
}

fn finished() -> (Model, Vec<TaskElement>) {
    let (mut model, mut ran) = halfway();
    while let Some(&(task, index)) = model.ready.iter().next() {
        model.finish(task, index, success(None));
        ran.push((task, index));
    }
    (model, ran)
}

fn describe_differences(history: &History) -> Vec<String> {
    let plan = plan();
    let line = |d: Difference| {
        let task = d.task.map_or("run", |task| plan.task_id(task)).to_owned();
        format!("{task} [{}] {}: {}, not {}", d.index, d.what, d.stored, d.follows)
    };
    judge(&plan, history).differences.into_iter().map(line).collect()
}

#[test]
fn a_run_that_is_what_follows_from_its_outcomes_is_clean_at_any_moment() {
    let (model, ran) = halfway();
    assert_eq!(describe_differences(&history(&model, &ran)), Vec::<String>::new());
    let (model, ran) = finished();
    let judged = judge(&plan(), &history(&model, &ran));
    assert_eq!(judged, Judgement { differences: Vec::new(), replayed: true });
}

#[test]
fn an_outcome_that_was_folded_late_is_no_difference() {
    let (model, ran) = finished();
    let mut history = history(&model, &ran);
    // The row of `each[0]` has an earlier revision than the row of the task that returned the list.
    history.over.get_mut(&(1, 0)).expect("it ran").rev_end = Some(0);
    history.over.get_mut(&(1, 4)).expect("it ran").rev_end = None;
    assert_eq!(describe_differences(&history), Vec::<String>::new());
}

#[test]
fn a_row_that_says_something_else_than_the_ledger_is_named() {
    let (model, ran) = finished();
    let mut history = history(&model, &ran);
    history.over.get_mut(&(4, -1)).expect("it ran").state = TaskState::Failed;
    assert_eq!(describe_differences(&history), ["last [-1] state: row failed, not ledger success"]);
}

#[test]
fn a_counter_that_is_off_is_named() {
    let (model, ran) = halfway();
    let mut broken = history(&model, &ran);
    let slot = plan().task(1).map.expect("it is mapped").slot;
    broken.run.counters[slot + crate::run::SUCCESS] += 1;
    assert_eq!(describe_differences(&broken), ["each [-1] counter success: 3, not 2"]);
    let mut broken = history(&model, &ran);
    broken.run.counters[crate::run::RUN_FLIGHT] -= 1;
    assert_eq!(describe_differences(&broken), ["run [-1] counter in flight: 2, not 3"]);
    let mut broken = history(&model, &ran);
    broken.run.counters[plan().list_slots[&0]] = 6;
    assert_eq!(describe_differences(&broken), ["list [-1] counter list length: 6, not 5"]);
}

#[test]
fn a_state_that_no_outcome_leads_to_is_named_although_row_and_ledger_agree() {
    let (model, ran) = finished();
    let mut broken = history(&model, &ran);
    broken.over.get_mut(&(3, -1)).expect("it was decided").state = TaskState::Skipped;
    broken.run.ledger[3] = TaskState::Skipped.code();
    assert_eq!(describe_differences(&broken), ["end [-1] state: skipped, not upstream_failed"]);
    let mut broken = history(&model, &ran);
    broken.run.state = RunState::Failed;
    assert_eq!(describe_differences(&broken), ["run [-1] state: failed, not success"]);
}

#[test]
fn a_run_that_was_ended_is_explained_by_its_end() {
    use crate::transition::{RunEnd, end_run};
    let (model, ran) = halfway();
    let running = [(1, 2)];
    for (end, word) in [(RunEnd::Failed, TaskState::Failed), (RunEnd::Success, TaskState::Success)] {
        let mut ended = history(&model, &ran);
        ended.run = end_run(&plan(), &model.run, &running, end);
        ended.rev += 1;
        ended.over.insert((1, 2), Over { state: word, ran: true, rev_end: Some(ended.rev), ended_at_us: 9 });
        for place in [(1, 3), (1, 4), (4, -1)] {
            let over = Over { state: TaskState::Skipped, ran: false, rev_end: None, ended_at_us: 9 };
            ended.over.entry(place).or_insert(over);
        }
        (ended.in_flight, ended.held) = (BTreeSet::new(), BTreeSet::new());
        assert_eq!(describe_differences(&ended), Vec::<String>::new(), "{end:?}");
    }
}

#[test]
fn what_somebody_changed_is_counted_but_not_replayed() {
    let (model, ran) = finished();
    let mut changed = history(&model, &ran);
    changed.run.state = RunState::Failed;
    changed.changed = true;
    assert_eq!(judge(&plan(), &changed), Judgement { differences: Vec::new(), replayed: false });
}

#[test]
fn rows_of_no_task_are_no_panic() {
    let (model, ran) = finished();
    let mut broken = history(&model, &ran);
    broken.held.insert((99, 1));
    assert_eq!(
        describe_differences(&broken),
        ["run [-1] instances: one of task number 99 [1], not no such task in the version"]
    );
    broken.run.ledger.pop();
    assert_eq!(describe_differences(&broken)[0], "run [-1] ledger length: 4, not 5");
}

#[test]
fn a_run_of_some_of_its_tasks_is_replayed_as_such() {
    let mut model = Model::start_some(plan(), &BTreeSet::from([0, 2]));
    model.finish(0, -1, success(Some(5)));
    model.finish(2, -1, Outcome::Failed);
    let right = history(&model, &[(0, -1), (2, -1)]);
    assert_eq!(judge(&plan(), &right), Judgement { differences: Vec::new(), replayed: true });
}
