//! Selects the instances that a clear or a mark applies to: tasks by name, optionally the tasks upstream and downstream
//! of them, and their setups and teardowns. The rules are Airflow's (`find_relevant_relatives` and `partial_subset`).

use crate::plan::{Plan, TaskIdx};
use crate::transition::Selected;
use std::collections::BTreeSet;

/// Instances to clear, as requested by `orch tasks clear` or the API.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Selected tasks with all their elements, or single elements of mapped tasks.
    pub tasks: Vec<Selected>,
    pub upstream: bool,
    pub downstream: bool,
}

impl Selection {
    /// Returns the selected instances in any state. A task is selected with its setups and with the teardowns of these
    /// setups, and a setup with its teardowns. A teardown is selected without its setups.
    ///
    /// If both `upstream` and `downstream` are set, tasks downstream of the upstream tasks are selected too, as in
    /// Airflow.
    pub fn resolve(&self, plan: &Plan) -> Vec<Selected> {
        let mut all: BTreeSet<Selected> = self.tasks.iter().copied().collect();
        for direction in [Direction::Up, Direction::Down] {
            if (direction == Direction::Up && self.upstream) || (direction == Direction::Down && self.downstream) {
                let related = related(plan, &all, direction);
                all.extend(related);
            }
        }
        let tasks: BTreeSet<TaskIdx> = all.iter().map(|s| s.task).collect();
        all.extend(companions(plan, &tasks, None).difference(&tasks).map(|&task| whole(task)));
        let wholes: BTreeSet<TaskIdx> = all.iter().filter(|s| s.index.is_none()).map(|s| s.task).collect();
        all.retain(|s| s.index.is_none() || !wholes.contains(&s.task));
        all.into_iter().collect()
    }
}

/// Returns the tasks of a partial run (a run of only some tasks): the named tasks with their setups and teardowns. The
/// setups of a named teardown are included, because no teardown succeeds before its setups. A clear does not include
/// them.
pub fn part(plan: &Plan, named: &[TaskIdx], upstream: bool) -> BTreeSet<TaskIdx> {
    let setups = |task: TaskIdx| {
        let t = plan.task(task);
        t.up.iter().map(|e| e.task).filter(move |&up| t.is_teardown && plan.task(up).is_setup)
    };
    let tasks = named.iter().flat_map(|&task| setups(task).chain([task])).map(whole).collect();
    let selection = Selection { tasks, upstream, downstream: false };
    selection.resolve(plan).into_iter().map(|s| s.task).collect()
}

/// Returns the tasks upstream and downstream of `tasks`. A task in `tasks` is included only if it is upstream or
/// downstream of another one.
pub fn relatives(plan: &Plan, tasks: &[TaskIdx], upstream: bool, downstream: bool) -> BTreeSet<TaskIdx> {
    let mut related = BTreeSet::new();
    if upstream {
        related.extend(reach(plan, tasks.iter().copied(), Direction::Up));
    }
    if downstream {
        related.extend(reach(plan, tasks.iter().copied(), Direction::Down));
    }
    related
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// Returns the instances upstream or downstream of the selected ones. For tasks that are mapped together, an element is
/// related only to the elements with the same index.
fn related(plan: &Plan, seeds: &BTreeSet<Selected>, direction: Direction) -> BTreeSet<Selected> {
    let domain = |task: TaskIdx| plan.task(task).map.map(|map| map.domain);
    let (elements, tasks): (Vec<Selected>, Vec<Selected>) =
        seeds.iter().partition(|s| s.index.is_some() && domain(s.task).is_some());
    let mut related = BTreeSet::new();
    let mut outside: BTreeSet<TaskIdx> = BTreeSet::new();
    for element in elements {
        for relative in reach(plan, [element.task], direction) {
            if domain(relative) == domain(element.task) {
                related.insert(Selected { task: relative, ..element });
            } else {
                outside.insert(relative);
            }
        }
    }
    related.extend(outside.iter().map(|&task| whole(task)));
    let tasks: BTreeSet<TaskIdx> = tasks.into_iter().map(|s| s.task).collect();
    for seeds in [outside, tasks] {
        related.extend(companions(plan, &seeds, Some(direction)).into_iter().map(whole));
    }
    related
}

/// Returns the tasks that Airflow's `partial_subset` adds to `tasks`: the tasks upstream or downstream, and the setups
/// and teardowns that belong to them.
fn companions(plan: &Plan, tasks: &BTreeSet<TaskIdx>, direction: Option<Direction>) -> BTreeSet<TaskIdx> {
    let mut found = direction.map(|to| reach(plan, tasks.iter().copied(), to)).unwrap_or_default();
    let mut served: BTreeSet<TaskIdx> = BTreeSet::new();
    match direction {
        Some(Direction::Up) => {
            let setups = found.iter().chain(tasks).filter(|&&t| plan.task(t).is_setup);
            let teardowns: Vec<TaskIdx> = setups.flat_map(|&setup| teardowns(plan, setup)).collect();
            found.extend(teardowns);
        }
        Some(Direction::Down) => served.extend(found.iter().chain(tasks)),
        None => {
            let setups = tasks.iter().filter(|&&t| plan.task(t).is_setup);
            found.extend(setups.flat_map(|&setup| teardowns(plan, setup)));
            served.extend(tasks);
        }
    }
    found.extend(setups_around(plan, &served));
    found
}

/// Returns the setups that serve one of these tasks, together with their teardowns. A setup serves the tasks between
/// itself and its teardowns.
fn setups_around(plan: &Plan, tasks: &BTreeSet<TaskIdx>) -> BTreeSet<TaskIdx> {
    let mut found = BTreeSet::new();
    for setup in (0..).zip(&plan.tasks).filter(|(_, t)| t.is_setup).map(|(task, _)| task) {
        let teardowns = teardowns(plan, setup);
        let (after, before) =
            (reach(plan, [setup], Direction::Down), reach(plan, teardowns.iter().copied(), Direction::Up));
        let is_between = |task: &TaskIdx| {
            let t = plan.task(*task);
            !t.is_setup && !t.is_teardown && after.contains(task) && (teardowns.is_empty() || before.contains(task))
        };
        if tasks.iter().any(is_between) {
            found.insert(setup);
            found.extend(teardowns);
        }
    }
    found
}

fn teardowns(plan: &Plan, setup: TaskIdx) -> Vec<TaskIdx> {
    below(plan, setup).filter(|&task| plan.task(task).is_teardown).collect()
}

fn whole(task: TaskIdx) -> Selected {
    Selected { task, index: None }
}

/// Returns the tasks directly downstream of this one.
fn below(plan: &Plan, task: TaskIdx) -> impl Iterator<Item = TaskIdx> + '_ {
    let named = move |t: &TaskIdx| plan.task(*t).up.iter().any(|e| e.task == task);
    plan.task(task).down.iter().map(|e| e.task).filter(named)
}

fn reach(plan: &Plan, from: impl IntoIterator<Item = TaskIdx>, direction: Direction) -> BTreeSet<TaskIdx> {
    let (mut seen, mut todo) = (BTreeSet::new(), Vec::from_iter(from));
    while let Some(task) = todo.pop() {
        match direction {
            Direction::Up => todo.extend(plan.task(task).up.iter().map(|e| e.task).filter(|&t| seen.insert(t))),
            Direction::Down => todo.extend(below(plan, task).filter(|&t| seen.insert(t))),
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    /// Returns a plan with a mapped group (setup, work, teardown), followed by a mapped task and a plain task.
    fn plan() -> Plan {
        let task = |id: &str, after: &[&str]| json!({ "task_id": id, "kind": "rust", "after": after });
        let in_group = |id: &str, role: &str, after: &[&str]| json!({ "task_id": id, "kind": "rust", "after": after, "group_id": "g", "role": role });
        let each = json!({ "each": { "value": [1, 2, 3] } });
        let mapped: Value = json!({ "task_id": "m", "kind": "rust", "after": ["g.b"], "map": each });
        let spec = json!({ "dag_id": "d", "groups": [{ "group_id": "g", "map": each }], "tasks": [
            task("first", &[]),
            in_group("g.a", "work", &["first"]),
            in_group("g.s", "setup", &[]),
            in_group("g.b", "work", &["g.a", "g.s"]),
            in_group("g.t", "teardown", &["g.s", "g.b"]),
            mapped,
            task("last", &["m"]),
        ] });
        Plan::new(Arc::new(serde_json::from_value(spec).expect("a spec"))).expect("a plan")
    }

    fn selected(named: &[(&str, Option<i32>)], upstream: bool, downstream: bool) -> String {
        let plan = plan();
        let tasks =
            named.iter().map(|(id, index)| Selected { task: plan.index_of(id).expect("a task"), index: *index });
        let selection = Selection { tasks: tasks.collect(), upstream, downstream };
        let word = |s: Selected| match s.index {
            Some(index) => format!("{}[{index}]", plan.task_id(s.task)),
            None => plan.task_id(s.task).to_string(),
        };
        selection.resolve(&plan).into_iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_element_with_downstream_selects_the_same_element_of_its_group_and_all_that_follows_the_group() {
        assert_eq!(selected(&[("g.a", Some(1))], false, true), "g.a[1] g.s g.b[1] g.t[1] m last");
        assert_eq!(selected(&[("g.a", None)], false, true), "g.a g.s g.b g.t m last");
        assert_eq!(selected(&[("g.a", Some(0)), ("g.a", Some(2))], false, true).matches("g.b").count(), 2);
    }

    #[test]
    fn an_element_with_upstream_selects_the_same_element_of_its_group_and_all_that_the_group_follows() {
        assert_eq!(selected(&[("g.b", Some(2))], true, false), "first g.a[2] g.s[2] g.b[2] g.t");
    }

    #[test]
    fn elements_of_a_mapped_task_have_whole_relatives() {
        assert_eq!(selected(&[("m", Some(1))], false, true), "m[1] last");
        assert_eq!(selected(&[("m", Some(1))], true, false), "first g.a g.s g.b g.t m[1]");
    }

    #[test]
    fn setups_and_teardowns_of_elements_are_selected_as_wholes() {
        assert_eq!(selected(&[("g.b", Some(1))], false, false), "g.s g.b[1] g.t");
        assert_eq!(selected(&[("g.s", Some(1))], false, false), "g.s[1] g.t");
        assert_eq!(selected(&[("g.t", Some(1))], false, false), "g.t[1]");
    }
}
