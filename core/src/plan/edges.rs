//! Edges that follow from setups and teardowns: the setups that a task needs, the tasks that a teardown waits for, and
//! the leaves. The rules are Airflow's (`get_upstreams_only_setups`, `_evaluate_teardown_scope`,
//! `_tis_for_dagrun_state`).

use super::TaskIdx;
use orch_spec::{DagSpec, Role};
use std::collections::BTreeSet;

type Ids = BTreeSet<TaskIdx>;

/// Returns, for each task, the upstream setups that it needs although it does not name them.
pub(super) fn indirect_setups(spec: &DagSpec, ups: &[Ids]) -> Vec<Ids> {
    let n = ups.len();
    if spec.tasks.iter().all(|t| t.role == Role::Work) {
        return vec![Ids::new(); n];
    }
    let role = |i: TaskIdx| spec.tasks[usize::from(i)].role;
    let downs = downs(ups);
    let mut found = Vec::with_capacity(n);
    for i in 0..n {
        if spec.tasks[i].role == Role::Teardown {
            found.push(Ids::new());
            continue;
        }
        let below = closure(i, &downs);
        let relevant = closure(i, ups).into_iter().filter(|&s| {
            let mut teardowns = downs[usize::from(s)].iter().filter(|&&t| role(t) == Role::Teardown).peekable();
            role(s) == Role::Setup && (teardowns.peek().is_none() || teardowns.any(|t| below.contains(t)))
        });
        found.push(relevant.filter(|s| !ups[i].contains(s)).collect());
    }
    found
}

/// Returns, for each teardown, the tasks between its setups and itself that are not its direct upstreams.
pub(super) fn teardown_scope(spec: &DagSpec, ups: &[Ids]) -> Vec<Ids> {
    let downs = downs(ups);
    (0..ups.len())
        .map(|i| {
            if spec.tasks[i].role != Role::Teardown {
                return Ids::new();
            }
            let setups = ups[i].iter().filter(|&&s| spec.tasks[usize::from(s)].role == Role::Setup);
            let between: Ids = setups.flat_map(|&s| closure(usize::from(s), &downs)).collect();
            closure(i, ups).into_iter().filter(|t| !ups[i].contains(t) && between.contains(t)).collect()
        })
        .collect()
}

/// Returns, for each task, whether it is a leaf: its state decides the outcome of the run.
pub(super) fn leaves(spec: &DagSpec, ups: &[Ids]) -> Vec<bool> {
    let downs = downs(ups);
    let ignored = |i: usize| {
        let t = &spec.tasks[i];
        t.role == Role::Teardown && !t.options.on_failure_fail_run.unwrap_or(false)
    };
    let effective: Vec<bool> =
        (0..ups.len()).map(|i| !ignored(i) && downs[i].iter().all(|&d| ignored(usize::from(d)))).collect();
    if effective.contains(&true) { effective } else { downs.iter().map(Ids::is_empty).collect() }
}

fn downs(ups: &[Ids]) -> Vec<Ids> {
    let mut downs = vec![Ids::new(); ups.len()];
    for (i, up) in ups.iter().enumerate() {
        up.iter().for_each(|&u| {
            downs[usize::from(u)].insert(i as TaskIdx);
        });
    }
    downs
}

fn closure(start: usize, next: &[Ids]) -> Ids {
    let (mut seen, mut todo) = (Ids::new(), vec![start]);
    while let Some(i) = todo.pop() {
        todo.extend(next[i].iter().filter(|&&j| seen.insert(j)).map(|&j| usize::from(j)));
    }
    seen
}
