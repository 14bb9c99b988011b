//! Dependencies: every upstream task exists, and there are no cycles.

use super::Checked;
use crate::names::closest;
use crate::{MapSpec, Source, TaskSpec};
use std::collections::{HashMap, HashSet};

/// Maximum number of reported cycles. Each costs a pass over the DAG.
const MAX_CYCLES: usize = 10;

pub(super) fn check(dag: &mut Checked<'_>) {
    unknown_upstreams(dag);
    let edges = edges(dag);
    let cycles = cycles(&edges);
    for cycle in &cycles {
        let spec = dag.spec;
        let path: Vec<String> = cycle.iter().map(|&place| format!("`{}`", spec.tasks[place].task_id)).collect();
        let (first, last) = (&path[0], &path[path.len() - 1]);
        let message = format!("it is in a cycle of dependencies: {} → {first}", path.join(" → "));
        let hint = format!("remove one of these dependencies, for example that of {first} on {last}");
        dag.about_task(&spec.tasks[cycle[0]], message, hint);
    }
    if cycles.is_empty() {
        for (place, upstreams) in edges.iter().enumerate() {
            if let Some(&later) = upstreams.iter().find(|&&upstream| upstream > place) {
                let (task, waits_for) = (&dag.spec.tasks[place], &dag.spec.tasks[later].task_id);
                dag.about_task(
                    task,
                    format!("it stands before `{waits_for}`, which it waits for"),
                    "list upstreams first",
                );
            }
        }
    }
}

fn unknown_upstreams(dag: &mut Checked<'_>) {
    let spec = dag.spec;
    let hint = |dag: &Checked<'_>, id: &str| match closest(id, dag.index.keys().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "add that task, or remove the edge".into(),
    };
    for task in &spec.tasks {
        for id in task.upstreams() {
            if !dag.index.contains_key(id) {
                let hint = hint(dag, id);
                dag.about_task(task, format!("it waits for `{id}`, which does not exist"), hint);
            }
        }
    }
    for group in &spec.groups {
        for id in sources_of(group.map.as_ref()) {
            if !dag.index.contains_key(id) {
                let hint = hint(dag, id);
                dag.about_group(
                    group,
                    format!("group `{}` maps over `{id}`, which does not exist", group.group_id),
                    hint,
                );
            }
        }
    }
}

pub(super) fn sources_of(map: Option<&MapSpec>) -> Vec<&str> {
    let mut found = Vec::new();
    map.map_or(&[] as &[Source], MapSpec::sources).iter().for_each(|s| s.collect(&mut found));
    found
}

/// Returns the indexes of each task's upstreams, including the sources of the list that its mapped group runs over.
fn edges(dag: &Checked<'_>) -> Vec<Vec<usize>> {
    let upstreams = |task: &TaskSpec| {
        let around = dag.mapped_group(task).and_then(|group| group.map.as_ref());
        let ids = task.upstreams().into_iter().chain(sources_of(around));
        let places: HashSet<usize> = ids.filter_map(|id| dag.index.get(id).copied()).collect();
        let mut places = Vec::from_iter(places);
        places.sort_unstable();
        places
    };
    dag.spec.tasks.iter().map(upstreams).collect()
}

/// Returns cycles that share no task, each in execution order.
fn cycles(upstreams: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut downstreams = vec![Vec::new(); upstreams.len()];
    for (place, up) in upstreams.iter().enumerate() {
        for &upstream in up {
            downstreams[upstream].push(place);
        }
    }
    let (mut found, mut cut) = (Vec::new(), HashSet::new());
    while found.len() < MAX_CYCLES {
        let stuck = stuck(upstreams, &downstreams, &cut);
        // The smallest index makes the message deterministic.
        let Some(&start) = stuck.iter().min() else { break };
        let cycle = cycle_behind(start, upstreams, &stuck);
        cut.extend(cycle.iter().copied());
        found.push(cycle);
    }
    found
}

/// Returns the tasks that can never run: those in cycles and those that wait for them.
fn stuck(upstreams: &[Vec<usize>], downstreams: &[Vec<usize>], cut: &HashSet<usize>) -> HashSet<usize> {
    let mut missing: Vec<usize> = upstreams.iter().map(|up| up.iter().filter(|u| !cut.contains(u)).count()).collect();
    let mut ready: Vec<usize> = (0..upstreams.len()).filter(|p| missing[*p] == 0 && !cut.contains(p)).collect();
    let mut left: HashSet<usize> = (0..upstreams.len()).filter(|p| !cut.contains(p)).collect();
    while let Some(place) = ready.pop() {
        left.remove(&place);
        for &down in &downstreams[place] {
            missing[down] -= 1;
            if missing[down] == 0 && !cut.contains(&down) {
                ready.push(down);
            }
        }
    }
    left
}

/// Walks upstream from a stuck task until a task repeats. Every stuck task has a stuck upstream.
fn cycle_behind(start: usize, upstreams: &[Vec<usize>], stuck: &HashSet<usize>) -> Vec<usize> {
    let (mut path, mut seen, mut place) = (Vec::new(), HashMap::new(), start);
    loop {
        if let Some(&first) = seen.get(&place) {
            let mut cycle: Vec<usize> = path.split_off(first);
            cycle.reverse();
            let smallest = (0..cycle.len()).min_by_key(|&i| cycle[i]).unwrap_or(0);
            cycle.rotate_left(smallest);
            return cycle;
        }
        seen.insert(place, path.len());
        path.push(place);
        let next = upstreams[place].iter().find(|upstream| stuck.contains(upstream));
        place = *next.expect("a stuck task waits for a stuck task");
    }
}
