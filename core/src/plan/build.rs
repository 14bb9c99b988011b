//! Builds a plan from a DAG spec: edges, maps, offsets of counters, priorities.

use super::edges::{indirect_setups, leaves, teardown_scope};
use super::{Domain, Edge, Length, Lengths, MAX_MAP_ELEMENTS, Plan, PlanError, PlanTask, TaskIdx, TaskMap};
use crate::gates::Gates;
use crate::run::{RUN_COUNTERS, TASK_COUNTERS};
use orch_spec::check::MAX_TASKS;
use orch_spec::{DagSpec, MapSpec, Role, Source, TriggerRule, WeightRule};
use serde_json::Value;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

pub(super) fn plan(spec: Arc<DagSpec>) -> Result<Plan, PlanError> {
    let dag = || spec.dag_id.clone();
    if spec.tasks.len() > MAX_TASKS {
        return Err(PlanError::TooLarge { dag: dag(), tasks: spec.tasks.len() });
    }
    let by_id: HashMap<String, TaskIdx> =
        spec.tasks.iter().enumerate().map(|(i, t)| (t.task_id.clone(), i as TaskIdx)).collect();
    let mut ups = named_upstreams(&spec, &by_id)?;
    let (mut domains, domain_of) = domains(&spec, &by_id)?;
    wait_for_the_list(&domains, &domain_of, &mut ups);

    let edge = |from: TaskIdx, to: TaskIdx| {
        let (a, b) = (domain_of[usize::from(from)], domain_of[usize::from(to)]);
        Edge { task: to, same: a.is_some() && a == b }
    };
    let setups = indirect_setups(&spec, &ups);
    let scopes = teardown_scope(&spec, &ups);
    let leaf = leaves(&spec, &ups);
    let weights = weights(&spec, &ups);

    let mut list_slots = HashMap::new();
    let mut counters = RUN_COUNTERS;
    for length in domains.iter().flat_map(|d| d.lengths.all()) {
        if let Length::List(task) = length {
            list_slots.entry(task).or_insert_with(|| {
                counters += 1;
                counters - 1
            });
        }
    }

    let mut tasks: Vec<PlanTask> = Vec::with_capacity(spec.tasks.len());
    for (i, t) in spec.tasks.iter().enumerate() {
        let me = i as TaskIdx;
        let edges = |to: &BTreeSet<TaskIdx>| to.iter().map(|&to| edge(me, to)).collect::<Vec<_>>();
        let (up, setups, scope) = (edges(&ups[i]), edges(&setups[i]), edges(&scopes[i]));
        let map = domain_of[i].map(|domain| {
            let slot = counters;
            counters += TASK_COUNTERS;
            let same = up.iter().chain(&setups).chain(&scope).filter(|e| e.same).count();
            domains[domain].joins |= same > 1;
            TaskMap { domain, slot }
        });
        let o = &t.options;
        let teardown = t.role == Role::Teardown;
        let usual = if teardown { TriggerRule::AllDoneSetupSuccess } else { TriggerRule::AllSuccess };
        tasks.push(PlanTask {
            rule: o.trigger_rule.unwrap_or(usual),
            is_setup: t.role == Role::Setup,
            is_teardown: teardown,
            up,
            setups,
            scope,
            down: Vec::new(),
            leaf: leaf[i],
            map,
            retries: o.retries.unwrap_or(0),
            gates: Gates::of(&spec.dag_id, t, spec.params_schema.as_ref()),
            max_active: o.max_active.map(|n| n.min(i32::MAX as u32) as i32),
            priority: weights[i],
            queue: o.queue.clone().unwrap_or_else(|| "default".into()),
            isolation: o.isolation.unwrap_or_default(),
            on_lost: o.on_lost.unwrap_or_default(),
            asks: Vec::new(),
            asked_by: Vec::new(),
        });
    }
    turn_round(&mut tasks);
    for (i, t) in spec.tasks.iter().enumerate() {
        for condition in &t.when {
            if let Source::Output(id) = &condition.source {
                let (me, asked) = (i as TaskIdx, by_id[id]);
                if !tasks[i].asks.iter().any(|e| e.task == asked) {
                    tasks[i].asks.push(edge(me, asked));
                    tasks[usize::from(asked)].asked_by.push(me);
                }
            }
        }
    }
    Ok(Plan { spec, tasks, domains, list_slots, counters, max_map_elements: MAX_MAP_ELEMENTS, by_id })
}

fn named_upstreams(spec: &DagSpec, by_id: &HashMap<String, TaskIdx>) -> Result<Vec<BTreeSet<TaskIdx>>, PlanError> {
    let mut ups = Vec::with_capacity(spec.tasks.len());
    for (i, task) in spec.tasks.iter().enumerate() {
        let mut found = BTreeSet::new();
        for id in task.upstreams() {
            let (dag, task, upstream) = (spec.dag_id.clone(), task.task_id.clone(), id.to_string());
            match by_id.get(id) {
                None => return Err(PlanError::UnknownUpstream { dag, task, upstream }),
                Some(&up) if usize::from(up) >= i => return Err(PlanError::Order { dag, task, upstream }),
                Some(&up) => found.insert(up),
            };
        }
        ups.push(found);
    }
    Ok(ups)
}

/// Groups the mapped tasks into domains (tasks mapped together): the tasks of a mapped group, or a mapped task with the
/// tasks that are mapped over its elements.
fn domains(spec: &DagSpec, by_id: &HashMap<String, TaskIdx>) -> Result<(Vec<Domain>, Vec<Option<usize>>), PlanError> {
    let mut domains: Vec<Domain> = Vec::new();
    let mut of_group: HashMap<&str, usize> = HashMap::new();
    let mut domain_of: Vec<Option<usize>> = vec![None; spec.tasks.len()];
    for (i, task) in spec.tasks.iter().enumerate() {
        let wrong = |why| PlanError::Map { dag: spec.dag_id.clone(), task: task.task_id.clone(), why };
        let group = spec.mapped_group(task.group_id.as_deref());
        let map = match (&task.map, group) {
            (Some(_), Some(_)) => return Err(wrong("it stands in a mapped group already")),
            (Some(map), None) => map,
            (None, Some(group)) => {
                if let Some(&domain) = of_group.get(group.group_id.as_str()) {
                    domain_of[i] = Some(domain);
                    domains[domain].members.push(i as TaskIdx);
                    continue;
                }
                group.map.as_ref().ok_or_else(|| wrong("its group has no map"))?
            }
            (None, None) => continue,
        };
        let index =
            |id: &String| by_id.get(id).copied().ok_or_else(|| wrong("what it is mapped over is not in the dag"));
        let shared = match map {
            MapSpec::Each(Source::Outputs(id)) => domain_of[usize::from(index(id)?)],
            _ => None,
        };
        let domain = match shared {
            Some(domain) => domain,
            None => {
                let lengths = lengths(map, &index, &domain_of, &wrong)?;
                domains.push(Domain { lengths, members: Vec::new(), joins: false });
                domains.len() - 1
            }
        };
        domain_of[i] = Some(domain);
        domains[domain].members.push(i as TaskIdx);
        if let (None, Some(group)) = (&task.map, group) {
            of_group.insert(&group.group_id, domain);
        }
    }
    Ok((domains, domain_of))
}

fn lengths(
    map: &MapSpec,
    index: &impl Fn(&String) -> Result<TaskIdx, PlanError>,
    domain_of: &[Option<usize>],
    wrong: &impl Fn(&'static str) -> PlanError,
) -> Result<Lengths, PlanError> {
    let one = |source: &Source| {
        Ok(match source {
            Source::Value(Value::Array(list)) => Length::Known(list.len() as i32),
            Source::List(list) => Length::Known(list.len() as i32),
            Source::Output(id) => {
                let task = index(id)?;
                match domain_of[usize::from(task)] {
                    Some(_) => return Err(wrong("it is mapped over one element of a mapped task")),
                    None => Length::List(task),
                }
            }
            Source::Outputs(id) | Source::Collected(id) => Length::Elements(index(id)?),
            _ => return Err(wrong("what it is mapped over is not a list")),
        })
    };
    Ok(match map {
        MapSpec::Each(source) => Lengths::One(one(source)?),
        MapSpec::Zip(sources) => Lengths::Zip(sources.iter().map(one).collect::<Result<_, _>>()?),
        MapSpec::Cross(sources) => Lengths::Cross(sources.iter().map(one).collect::<Result<_, _>>()?),
    })
}

/// Adds the tasks that produce the list of a mapped group as upstreams of the first tasks of the group.
fn wait_for_the_list(domains: &[Domain], domain_of: &[Option<usize>], ups: &mut [BTreeSet<TaskIdx>]) {
    for (d, domain) in domains.iter().enumerate() {
        let sources: Vec<TaskIdx> = domain.lengths.all().filter_map(Length::task).collect();
        for &member in &domain.members {
            let follows = ups[usize::from(member)].iter().any(|&up| domain_of[usize::from(up)] == Some(d));
            if !follows {
                ups[usize::from(member)].extend(&sources);
            }
        }
    }
}

/// Returns Airflow's priority weights: the task's own weight plus the weights of its ancestors or descendants, as its
/// weight rule requires. Tasks with larger weights start first.
fn weights(spec: &DagSpec, ups: &[BTreeSet<TaskIdx>]) -> Vec<i32> {
    let own: Vec<i64> = spec.tasks.iter().map(|t| i64::from(t.options.priority.unwrap_or(1))).collect();
    let rules: Vec<WeightRule> = spec.tasks.iter().map(|t| t.options.weight_rule.unwrap_or_default()).collect();
    let n = own.len();
    let mut downs: Vec<Vec<TaskIdx>> = vec![Vec::new(); n];
    for (i, up) in ups.iter().enumerate() {
        up.iter().for_each(|&u| downs[usize::from(u)].push(i as TaskIdx));
    }
    let relatives = |start: usize, next: &dyn Fn(usize) -> Vec<TaskIdx>| {
        let (mut seen, mut todo, mut sum) = (vec![false; n], vec![start], 0);
        while let Some(i) = todo.pop() {
            for j in next(i).into_iter().map(usize::from) {
                if !std::mem::replace(&mut seen[j], true) {
                    sum += own[j];
                    todo.push(j);
                }
            }
        }
        sum
    };
    // The exact sum takes quadratic time for a wide DAG. In a large DAG, most tasks have about the same ancestors and
    // descendants, so only the task's own weight is used.
    let exact = n <= 2_000;
    (0..n)
        .map(|i| {
            let sum = own[i]
                + match rules[i] {
                    WeightRule::Absolute => 0,
                    _ if !exact => 0,
                    WeightRule::Downstream => relatives(i, &|i| downs[i].clone()),
                    WeightRule::Upstream => relatives(i, &|i| ups[i].iter().copied().collect()),
                };
            sum.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
        })
        .collect()
}

fn turn_round(tasks: &mut [PlanTask]) {
    for i in 0..tasks.len() {
        let t = &tasks[i];
        let edges: Vec<Edge> = t.up.iter().chain(&t.setups).chain(&t.scope).copied().collect();
        for edge in edges {
            let down = &mut tasks[usize::from(edge.task)].down;
            let back = Edge { task: i as TaskIdx, same: edge.same };
            if down.last() != Some(&back) {
                down.push(back);
            }
        }
    }
}

impl Lengths {
    pub(crate) fn all(&self) -> impl Iterator<Item = Length> + '_ {
        match self {
            Lengths::One(length) => std::slice::from_ref(length),
            Lengths::Zip(lengths) | Lengths::Cross(lengths) => lengths.as_slice(),
        }
        .iter()
        .copied()
    }
}

impl Length {
    pub(crate) fn task(self) -> Option<TaskIdx> {
        match self {
            Length::Known(_) => None,
            Length::List(task) | Length::Elements(task) => Some(task),
        }
    }
}
