//! Random DAGs: every trigger rule, maps over lists and outputs, mapped groups, setups and teardowns, short circuits,
//! sensors, retries and limits. In some worlds also pools and limits across all runs.

use crate::rng::Rng;
use orch_spec::{DagSpec, GroupSpec, Limit, MapSpec, OnLost, Options, Role, Source, TaskSpec, TriggerRule};
use serde_json::{Map, json};

#[derive(Debug, Clone, Copy, PartialEq)]
enum RandomTaskKind {
    Plain,
    Literal(usize),
    OverOutput,
    OverElements,
    InGroup,
}

/// Returns a random DAG that can be planned.
pub(crate) fn random_dag(dag_id: &str, gated: bool, rng: &mut Rng) -> DagSpec {
    let mut dag: DagSpec = serde_json::from_value(json!({ "dag_id": dag_id, "tasks": [] })).expect("a spec");
    // Some DAGs are wide, so that they fill the slots and several workers work on the same run.
    let wide = rng.chance(150);
    let many = if wide { rng.between(8, 20) } else { rng.between(1, 10) } as usize;
    dag.max_active_tasks = rng.chance(250).then(|| rng.between(1, 4) as u32);
    dag.max_active_runs = rng.chance(300).then(|| rng.between(1, 2) as u32);
    let mut kinds: Vec<RandomTaskKind> = Vec::new();
    for i in 0..many {
        let named = upstreams(i, wide, rng);
        let kind = kind(i, &named, &kinds, rng);
        let mut task: TaskSpec = serde_json::from_value(json!({ "task_id": "x", "kind": "rust" })).expect("a task");
        let id = |n: usize| if kinds[n] == RandomTaskKind::InGroup { format!("g.t{n}") } else { format!("t{n}") };
        let first = |wanted: &dyn Fn(RandomTaskKind) -> bool| {
            let found = named.iter().find(|&&n| wanted(kinds[n]));
            id(*found.expect("`kind` has looked for it"))
        };
        task.map = match kind {
            RandomTaskKind::Literal(n) => Some(MapSpec::Each(Source::Value(json!(vec![0; n])))),
            RandomTaskKind::OverOutput => Some(MapSpec::Each(Source::Output(first(&|k| k == RandomTaskKind::Plain)))),
            RandomTaskKind::OverElements => {
                Some(MapSpec::Each(Source::Outputs(first(&|k| k != RandomTaskKind::Plain))))
            }
            RandomTaskKind::Plain | RandomTaskKind::InGroup => None,
        };
        task.task_id = if kind == RandomTaskKind::InGroup { format!("g.t{i}") } else { format!("t{i}") };
        task.group_id = (kind == RandomTaskKind::InGroup).then(|| "g".into());
        task.after = named.iter().map(|&n| id(n)).collect();
        task.role = match rng.below(12) {
            0 => Role::Setup,
            1 => Role::Teardown,
            _ => Role::Work,
        };
        task.options = options(task.role, gated, rng);
        if task.role == Role::Work {
            task.kind =
                ["rust", "rust", "rust", "rust", "rust", "rust", "sensor", "short_circuit"][rng.below(8)].into();
        }
        kinds.push(kind);
        dag.tasks.push(task);
    }
    if kinds.contains(&RandomTaskKind::InGroup) {
        let over = if kinds[0] == RandomTaskKind::Plain && dag.tasks[0].kind == "rust" && rng.chance(500) {
            Source::Output("t0".into())
        } else {
            Source::Value(json!([1, 2, 3]))
        };
        let mut group: GroupSpec = serde_json::from_value(json!({ "group_id": "g" })).expect("a group");
        group.map = Some(MapSpec::Each(over));
        dag.groups.push(group);
    }
    dag
}

/// Returns another version of the DAG, with one more task at a random index.
pub(crate) fn with_one_more(dag: &DagSpec, gated: bool, rng: &mut Rng) -> DagSpec {
    let mut dag = dag.clone();
    let mut task: TaskSpec = serde_json::from_value(json!({ "task_id": "more", "kind": "rust" })).expect("a task");
    let place = rng.below(dag.tasks.len() + 1);
    if place > 0 && rng.chance(500) {
        task.after = vec![dag.tasks[rng.below(place)].task_id.clone()];
    }
    task.options = options(Role::Work, gated, rng);
    dag.tasks.insert(place, task);
    for later in dag.tasks.iter_mut().skip(place + 1) {
        if rng.chance(300) {
            later.after.push("more".into());
        }
    }
    dag
}

fn upstreams(i: usize, wide: bool, rng: &mut Rng) -> Vec<usize> {
    if i == 0 {
        return Vec::new();
    }
    if wide {
        return if rng.chance(150) { (0..i).collect() } else { vec![0] };
    }
    let mut named: Vec<usize> = (0..rng.below(4)).map(|_| rng.below(i)).collect();
    named.sort_unstable();
    named.dedup();
    named
}

fn kind(i: usize, named: &[usize], kinds: &[RandomTaskKind], rng: &mut Rng) -> RandomTaskKind {
    let wish = match rng.below(11) {
        0..=4 => RandomTaskKind::Plain,
        5 => RandomTaskKind::Literal(rng.below(5)),
        6 => RandomTaskKind::OverOutput,
        7 => RandomTaskKind::OverElements,
        _ => RandomTaskKind::InGroup,
    };
    match wish {
        RandomTaskKind::InGroup if i == 0 => RandomTaskKind::Plain,
        RandomTaskKind::OverOutput if !named.iter().any(|&n| kinds[n] == RandomTaskKind::Plain) => {
            RandomTaskKind::Plain
        }
        RandomTaskKind::OverElements if !named.iter().any(|&n| kinds[n] != RandomTaskKind::Plain) => {
            RandomTaskKind::Literal(2)
        }
        wish => wish,
    }
}

/// Maximum of the limit that tasks of all DAGs share.
const LIMIT: u32 = 2;

/// Names of the pools, with the maximum number of slots that a task takes.
pub(crate) const POOLS: [(&str, u32); 2] = [("wide", 2), ("narrow", 1)];

fn options(role: Role, gated: bool, rng: &mut Rng) -> Options {
    let pool = (gated && rng.chance(600)).then(|| rng.pick(&POOLS));
    let limit = || Limit { name: "shared".into(), most: LIMIT, key: None, per_ms: None, extra: Map::new() };
    let rule = if rng.chance(400) { TriggerRule::AllSuccess } else { rng.pick(&TriggerRule::ALL) };
    Options {
        trigger_rule: (role != Role::Teardown).then_some(rule),
        max_active: rng.chance(200).then(|| rng.between(1, 2) as u32),
        retries: Some(rng.below(3) as u32),
        retry_delay_ms: Some(rng.pick(&[0, 0, 1, 200, 700])),
        poll_every_ms: Some(rng.between(0, 300)),
        timeout_ms: rng.chance(100).then_some(400),
        priority: rng.chance(300).then(|| rng.between(1, 9) as i32),
        on_lost: if rng.chance(100) {
            Some(rng.pick(&[OnLost::Fail, OnLost::Retry(1)]))
        } else {
            Some(OnLost::Retry(500))
        },
        pool: pool.map(|(name, _)| name.into()),
        pool_slots: pool.map(|(_, most)| rng.between(1, u64::from(most)) as u32),
        limits: (gated && rng.chance(200)).then(|| vec![limit()]),
        max_active_over_runs: (gated && rng.chance(200)).then(|| rng.between(1, 2) as u32),
        ..Options::default()
    }
}

/// Describes the DAG for readers of a trace.
pub(crate) fn lines(dag: &DagSpec) -> Vec<String> {
    let limit = dag.max_active_tasks.map_or(String::new(), |n| format!(", {n} tasks at a time"));
    let groups = dag.groups.iter().map(|g| format!("{} group {} over {:?}", dag.dag_id, g.group_id, g.map));
    let tasks = dag.tasks.iter().enumerate().map(|(i, t)| {
        let o = &t.options;
        let (rule, lost) = (o.trigger_rule, o.on_lost);
        let after = t.after.join(" ");
        format!(
            "{} {i}: {} {:?} {} {rule:?} after [{after}] over {:?}, {lost:?}",
            dag.dag_id, t.task_id, t.role, t.kind, t.map
        )
    });
    std::iter::once(format!("{}{limit}", dag.dag_id)).chain(groups).chain(tasks).collect()
}
