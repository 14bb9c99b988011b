//! Which instances somebody means: tasks by name, what stands above and below them, setups and teardowns that belong.

use crate::plan::{Plan, TaskIdx};
use crate::transition::Selected;
use orch_spec::Role;
use std::collections::BTreeSet;

/// A wish to clear or mark, as `orch tasks clear` and the API give it.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Tasks and, of mapped ones, single elements.
    pub tasks: Vec<Selected>,
    pub upstream: bool,
    pub downstream: bool,
}

impl Selection {
    /// The tasks meant, without regard to states. With a task come the setups and teardowns around it, or it could not
    /// run again (Airflow's rule).
    pub fn resolve(&self, plan: &Plan) -> Vec<Selected> {
        let mut all: BTreeSet<Selected> = self.tasks.iter().copied().collect();
        let named: Vec<TaskIdx> = self.tasks.iter().map(|s| s.task).collect();
        for task in relatives(plan, &named, self.upstream, self.downstream) {
            all.insert(Selected { task, index: None });
        }
        let tasks: BTreeSet<TaskIdx> = all.iter().map(|s| s.task).collect();
        for &task in &tasks {
            let setups = plan
                .task(task)
                .setups
                .iter()
                .map(|e| e.task)
                .chain(above(plan, task).into_iter().filter(|&up| role(plan, up) == Role::Setup));
            for setup in setups {
                let teardowns = below(plan, setup).into_iter().filter(|&t| role(plan, t) == Role::Teardown);
                for extra in std::iter::once(setup).chain(teardowns).filter(|t| !tasks.contains(t)) {
                    all.insert(Selected { task: extra, index: None });
                }
            }
        }
        all.into_iter().collect()
    }
}

/// The tasks of a run of which only these are to run, with what they belong to.
pub fn part(plan: &Plan, named: &[TaskIdx], upstream: bool) -> BTreeSet<TaskIdx> {
    let tasks = named.iter().map(|&task| Selected { task, index: None }).collect();
    let selection = Selection { tasks, upstream, downstream: false };
    selection.resolve(plan).into_iter().map(|s| s.task).collect()
}

/// What stands above and below tasks, as far as it is asked for; without them, unless they stand above each other.
pub fn relatives(plan: &Plan, tasks: &[TaskIdx], upstream: bool, downstream: bool) -> BTreeSet<TaskIdx> {
    let mut related = BTreeSet::new();
    for &task in tasks {
        if upstream {
            related.extend(reach(plan, task, &above));
        }
        if downstream {
            related.extend(reach(plan, task, &below));
        }
    }
    related
}

fn role(plan: &Plan, task: TaskIdx) -> Role {
    plan.spec.tasks[usize::from(task)].role
}

fn above(plan: &Plan, task: TaskIdx) -> Vec<TaskIdx> {
    plan.task(task).up.iter().map(|e| e.task).collect()
}

fn below(plan: &Plan, task: TaskIdx) -> Vec<TaskIdx> {
    let named = |t: &TaskIdx| plan.task(*t).up.iter().any(|e| e.task == task);
    plan.task(task).down.iter().map(|e| e.task).filter(named).collect()
}

fn reach(plan: &Plan, task: TaskIdx, next: &dyn Fn(&Plan, TaskIdx) -> Vec<TaskIdx>) -> BTreeSet<TaskIdx> {
    let (mut seen, mut todo) = (BTreeSet::new(), vec![task]);
    while let Some(t) = todo.pop() {
        todo.extend(next(plan, t).into_iter().filter(|&n| seen.insert(n)));
    }
    seen
}
