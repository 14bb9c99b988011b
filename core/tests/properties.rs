//! What must hold for every DAG, every outcome and every order: a run ends, nothing is decided twice, counters are the
//! sums of the rows, limits hold, and events that arrive together or one by one end alike.

use orch_core::branch;
use orch_core::model::Model;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::spec::{DagSpec, GroupSpec, InputSpec, MapSpec, Options, Role, Source, TaskSpec, TriggerRule};
use orch_core::state::{RunState, TaskState};
use orch_core::transition::{Outcome, Selected};
use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;

const RULES: [TriggerRule; 13] = [
    TriggerRule::AllSuccess,
    TriggerRule::AllFailed,
    TriggerRule::AllDone,
    TriggerRule::AllDoneMinOneSuccess,
    TriggerRule::AllDoneSetupSuccess,
    TriggerRule::OneSuccess,
    TriggerRule::OneFailed,
    TriggerRule::OneDone,
    TriggerRule::NoneFailed,
    TriggerRule::NoneSkipped,
    TriggerRule::Always,
    TriggerRule::NoneFailedMinOneSuccess,
    TriggerRule::AllSkipped,
];

#[derive(Debug, Clone)]
struct Shape {
    tasks: Vec<TaskShape>,
    group_over: Option<usize>,
    max_active_tasks: Option<u32>,
}

#[derive(Debug, Clone)]
struct TaskShape {
    ups: Vec<prop::sample::Index>,
    rule: usize,
    map: Kind,
    role: u8,
    max_active: Option<u32>,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Plain,
    Literal(usize),
    OverOutput,
    OverElements,
    InGroup,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let kind = prop_oneof![
        5 => Just(Kind::Plain),
        1 => (0usize..4).prop_map(Kind::Literal),
        1 => Just(Kind::OverOutput),
        1 => Just(Kind::OverElements),
        3 => Just(Kind::InGroup),
    ];
    let rule = prop_oneof![2 => Just(0usize), 3 => 0usize..13];
    let task = (
        prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        rule,
        kind,
        0u8..12,
        prop::option::weighted(0.2, 1u32..3),
    )
        .prop_map(|(ups, rule, map, role, max_active)| TaskShape { ups, rule, map, role, max_active });
    (prop::collection::vec(task, 1..12), any::<bool>(), prop::option::weighted(0.3, 1u32..4))
        .prop_map(|(tasks, over, max_active_tasks)| Shape { tasks, group_over: over.then_some(0), max_active_tasks })
}

fn spec(shape: &Shape) -> DagSpec {
    let mut dag: DagSpec = serde_json::from_value(json!({ "dag_id": "random", "tasks": [] })).expect("a spec");
    dag.max_active_tasks = shape.max_active_tasks;
    let mut kinds: Vec<Kind> = Vec::new();
    let grouped = shape.tasks.iter().enumerate().any(|(i, t)| i > 0 && t.map == Kind::InGroup);
    for (i, t) in shape.tasks.iter().enumerate() {
        let id = |n: usize, kinds: &[Kind]| if kinds[n] == Kind::InGroup { format!("g.t{n}") } else { format!("t{n}") };
        let mut task: TaskSpec = serde_json::from_value(json!({ "task_id": "x", "kind": "rust" })).expect("a task");
        let mut kind = if i == 0 && !matches!(t.map, Kind::Literal(_)) { Kind::Plain } else { t.map.clone() };
        let named: Vec<usize> = if i == 0 { vec![] } else { t.ups.iter().map(|u| u.index(i)).collect() };
        if kind == Kind::OverOutput && !named.iter().any(|&n| kinds[n] == Kind::Plain) {
            kind = Kind::Plain;
        }
        if kind == Kind::OverElements && !named.iter().any(|&n| !matches!(kinds[n], Kind::Plain)) {
            kind = Kind::Literal(2);
        }
        task.map = match kind {
            Kind::Literal(n) => Some(MapSpec::Each(Source::Value(json!(vec![0; n])))),
            Kind::OverOutput => {
                let list = named.iter().find(|&&n| kinds[n] == Kind::Plain).expect("looked for above");
                Some(MapSpec::Each(Source::Output(id(*list, &kinds))))
            }
            Kind::OverElements => {
                let list = named.iter().find(|&&n| kinds[n] != Kind::Plain).expect("looked for above");
                Some(MapSpec::Each(Source::Outputs(id(*list, &kinds))))
            }
            Kind::Plain | Kind::InGroup => None,
        };
        kinds.push(kind);
        task.task_id = id(i, &kinds);
        task.group_id = (kinds[i] == Kind::InGroup).then(|| "g".into());
        task.after = named.iter().map(|&n| id(n, &kinds)).collect();
        task.role = match t.role {
            0 => Role::Setup,
            1 => Role::Teardown,
            _ => Role::Work,
        };
        task.options = Options { trigger_rule: Some(RULES[t.rule]), max_active: t.max_active, ..Options::default() };
        if task.role == Role::Teardown {
            task.options.trigger_rule = None;
        }
        task.inputs = Vec::<InputSpec>::new();
        dag.tasks.push(task);
    }
    if grouped {
        let over = match shape.group_over {
            Some(_) if kinds[0] == Kind::Plain => Source::Output("t0".into()),
            _ => Source::Value(json!([1, 2, 3])),
        };
        let group = json!({ "group_id": "g" });
        let mut group: GroupSpec = serde_json::from_value(group).expect("a group");
        group.map = Some(MapSpec::Each(over));
        dag.groups.push(group);
    }
    dag
}

fn outcome(plan: &Plan, (task, index): (TaskIdx, i32), pick: u8) -> Outcome {
    match pick % 10 {
        // Says no to everything below it, decided or not, mapped like itself or otherwise.
        0 if pick.is_multiple_of(30) => {
            Outcome::Success { list_len: Some(1), skip: branch::everything_below(plan, task, index) }
        }
        0..=5 => Outcome::Success { list_len: Some(i32::from(pick / 10 % 4)), skip: vec![] },
        6 | 7 => Outcome::Failed,
        _ => Outcome::Skipped { skip: vec![] },
    }
}

/// Everything that must hold between two steps.
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
            batch.push((task, index, outcome(&model.plan, (task, index), picks.next().expect("endless"))));
        }
        model.finish_all(&batch);
    }
    Err(TestCaseError::fail(format!("no end: {:?}", model.run)))
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
        // Cleared from some task on, it ends again; cleared element by element too.
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
}
