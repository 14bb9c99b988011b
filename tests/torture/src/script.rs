//! Predicts the end of runs: runs each DAG on the pure model, with the outcomes that the names of its tasks determine.

use crate::dags::ELEMENTS;
use orch_core::branch;
use orch_core::model::Model;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::transition::Outcome;
use orch_spec::state::TaskState;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Observed states of instances in the database.
pub type Observed = BTreeMap<(TaskIdx, i32), TaskState>;

/// Returns the expected end of a run. Only the loss of a worker under a fragile task is taken from the observed states.
pub fn ended(plan: &Arc<Plan>, seen: &Observed) -> Model {
    let mut model = Model::start(plan.clone());
    while let Some(&(task, index)) = model.ready.first() {
        let outcome = outcome(plan, task, index, seen.get(&(task, index)).copied());
        model.finish(task, index, outcome);
    }
    model
}

fn outcome(plan: &Plan, task: TaskIdx, index: i32, seen: Option<TaskState>) -> Outcome {
    let name = name(plan, task);
    let success = |list_len, skip| Outcome::Success { list_len, skip };
    match name {
        _ if name.starts_with("fail") || name.starts_with("never") => Outcome::Failed,
        _ if name.starts_with("skip") => Outcome::Skipped { skip: Vec::new() },
        _ if name.starts_with("list") => success(Some(ELEMENTS as i32), Vec::new()),
        "choose" => {
            let taken = plan.index_of("taken").expect("a branch has somewhere to go");
            success(None, branch::not_followed(plan, task, index, &[taken]))
        }
        "closed" => success(None, branch::everything_below(plan, task, index)),
        "fragile" if seen == Some(TaskState::Failed) => Outcome::Failed,
        _ => success(None, Vec::new()),
    }
}

/// Returns the number of the last attempt of a task.
pub fn tries(plan: &Plan, task: TaskIdx) -> i16 {
    let name = name(plan, task);
    if name == "hangs_once" {
        return 2;
    }
    let failures = name.strip_prefix("flaky").map_or(0, |rest| {
        let digits = rest.trim_start_matches('_').split('_').next().unwrap_or_default();
        digits.parse().unwrap_or(1)
    });
    failures + 1
}

/// Returns the expected output of a task if it is predictable. `origin` is the output of the task of that name.
pub fn output(plan: &Plan, task: TaskIdx, index: i32, origin: Option<&str>) -> Option<String> {
    let name = name(plan, task);
    let elements = || 0..ELEMENTS;
    match plan.spec.dag_id.as_str() {
        "chain" => Some(name.strip_prefix("step_")?.to_owned()),
        "mapped" if name == "double" => Some((index * 2).to_string()),
        "mapped" if name == "total" => Some(elements().map(|n| n * 2).sum::<u64>().to_string()),
        "mapped_group" if name == "both" => Some((index * 2 + 1).to_string()),
        "mapped_group" if name == "total" => Some(elements().map(|n| n * 2 + 1).sum::<u64>().to_string()),
        "echo" | "handover" if name.starts_with("echo") => origin.map(str::to_owned),
        _ => None,
    }
}

/// Returns the id of a task without its groups.
fn name(plan: &Plan, task: TaskIdx) -> &str {
    let id = plan.task_id(task);
    id.rsplit('.').next().unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dags;
    use orch_spec::state::RunState;

    fn end(dag_id: &str, version: u32) -> (Arc<Plan>, Model) {
        let dag = dags::all(version).into_iter().find(|d| d.spec().dag_id == dag_id).expect("the dag exists");
        let dag = dag.into_bundle_dag().expect("the dag is right");
        let plan = Arc::new(Plan::new(dag.spec).expect("it can be planned"));
        let model = ended(&plan, &Observed::new());
        (plan, model)
    }

    #[test]
    fn every_script_comes_to_an_end() {
        for version in [1, 2] {
            for dag in dags::all(version) {
                let dag_id = dag.spec().dag_id.clone();
                assert_eq!(dag.check().map_err(|p| format!("{p:?}")), Ok(()), "{dag_id}");
                let (_, model) = end(&dag_id, version);
                assert!(model.run.state.is_finished(), "{dag_id}");
            }
        }
    }

    #[test]
    fn the_versions_differ() {
        let hashes = |version| dags::all(version).iter().map(|d| d.spec().version()).collect::<Vec<_>>();
        let same = hashes(1).iter().zip(&hashes(2)).filter(|(a, b)| a == b).count();
        assert_eq!(same, 1, "only `fragile` stays as it is");
    }

    #[test]
    fn names_say_how_often_a_task_is_tried() {
        let (plan, _) = end("retries", 2);
        let tries = |id| tries(&plan, plan.index_of(id).expect("it exists"));
        assert_eq!(["flaky_1", "flaky_2", "flaky_3", "flaky_1_more", "join"].map(tries), [2, 3, 4, 2, 1]);
    }

    #[test]
    fn a_diamond_of_every_rule_fails_where_it_should() {
        let (plan, model) = end("diamond", 1);
        let state = |id| model.states[&(plan.index_of(id).expect("it exists"), -1)];
        assert_eq!(state("all_success"), TaskState::UpstreamFailed);
        assert_eq!(state("one_failed"), TaskState::Success);
        assert_eq!(state("none_skipped"), TaskState::Skipped);
        assert_eq!(model.run.state, RunState::Failed);
    }
}
