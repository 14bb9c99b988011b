//! Random DAGs and outcomes, for property tests of the core and of the store.

use orch_core::transition::Outcome;
use orch_spec::{DagSpec, GroupSpec, InputSpec, MapSpec, Options, Role, Source, TaskSpec, TriggerRule};
use proptest::prelude::*;
use serde_json::json;

#[derive(Debug, Clone)]
pub(crate) struct Shape {
    tasks: Vec<TaskShape>,
    group_over: Option<usize>,
    max_active_tasks: Option<u32>,
}

#[derive(Debug, Clone)]
struct TaskShape {
    ups: Vec<prop::sample::Index>,
    rule: usize,
    map: MappingShape,
    role: u8,
    max_active: Option<u32>,
}

#[derive(Debug, Clone, PartialEq)]
enum MappingShape {
    Plain,
    Literal(usize),
    OverOutput,
    OverElements,
    InGroup,
}

pub(crate) fn shapes() -> impl Strategy<Value = Shape> {
    let kind = prop_oneof![
        5 => Just(MappingShape::Plain),
        1 => (0usize..4).prop_map(MappingShape::Literal),
        1 => Just(MappingShape::OverOutput),
        1 => Just(MappingShape::OverElements),
        3 => Just(MappingShape::InGroup),
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

pub(crate) fn spec(shape: &Shape) -> DagSpec {
    let mut dag: DagSpec = serde_json::from_value(json!({ "dag_id": "random", "tasks": [] })).expect("a spec");
    dag.max_active_tasks = shape.max_active_tasks;
    let mut kinds: Vec<MappingShape> = Vec::new();
    let grouped = shape.tasks.iter().enumerate().any(|(i, t)| i > 0 && t.map == MappingShape::InGroup);
    for (i, t) in shape.tasks.iter().enumerate() {
        let id = |n: usize, kinds: &[MappingShape]| {
            if kinds[n] == MappingShape::InGroup { format!("g.t{n}") } else { format!("t{n}") }
        };
        let mut task: TaskSpec = serde_json::from_value(json!({ "task_id": "x", "kind": "rust" })).expect("a task");
        let mut kind =
            if i == 0 && !matches!(t.map, MappingShape::Literal(_)) { MappingShape::Plain } else { t.map.clone() };
        let named: Vec<usize> = if i == 0 { vec![] } else { t.ups.iter().map(|u| u.index(i)).collect() };
        if kind == MappingShape::OverOutput && !named.iter().any(|&n| kinds[n] == MappingShape::Plain) {
            kind = MappingShape::Plain;
        }
        if kind == MappingShape::OverElements && !named.iter().any(|&n| !matches!(kinds[n], MappingShape::Plain)) {
            kind = MappingShape::Literal(2);
        }
        task.map = match kind {
            MappingShape::Literal(n) => Some(MapSpec::Each(Source::Value(json!(vec![0; n])))),
            MappingShape::OverOutput => {
                let list = named.iter().find(|&&n| kinds[n] == MappingShape::Plain).expect("looked for above");
                Some(MapSpec::Each(Source::Output(id(*list, &kinds))))
            }
            MappingShape::OverElements => {
                let list = named.iter().find(|&&n| kinds[n] != MappingShape::Plain).expect("looked for above");
                Some(MapSpec::Each(Source::Outputs(id(*list, &kinds))))
            }
            MappingShape::Plain | MappingShape::InGroup => None,
        };
        kinds.push(kind);
        task.task_id = id(i, &kinds);
        task.group_id = (kinds[i] == MappingShape::InGroup).then(|| "g".into());
        task.after = named.iter().map(|&n| id(n, &kinds)).collect();
        task.role = match t.role {
            0 => Role::Setup,
            1 => Role::Teardown,
            _ => Role::Work,
        };
        task.options =
            Options { trigger_rule: Some(TriggerRule::ALL[t.rule]), max_active: t.max_active, ..Options::default() };
        if task.role == Role::Teardown {
            task.options.trigger_rule = None;
        }
        task.inputs = Vec::<InputSpec>::new();
        dag.tasks.push(task);
    }
    if grouped {
        let over = match shape.group_over {
            Some(_) if kinds[0] == MappingShape::Plain => Source::Output("t0".into()),
            _ => Source::Value(json!([1, 2, 3])),
        };
        let group = json!({ "group_id": "g" });
        let mut group: GroupSpec = serde_json::from_value(group).expect("a group");
        group.map = Some(MapSpec::Each(over));
        dag.groups.push(group);
    }
    dag
}

pub(crate) fn outcome(pick: u8) -> Outcome {
    match pick % 10 {
        0..=5 => Outcome::Success { list_len: Some(i32::from(pick / 10 % 4)), skip: vec![] },
        6 | 7 => Outcome::Failed,
        _ => Outcome::Skipped { skip: vec![] },
    }
}
