//! What becomes of a task whose upstreams are all done: the final decisions of the 13 trigger rules, and what branches
//! leave out.

use super::rule_of;
use orch_core::spec::{DagSpec, Role, TaskSpec, TriggerRule};
use orch_core::state::TaskState;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

pub(super) enum Verdict {
    Run,
    End(TaskState),
}

/// `upstreams`: state of each upstream instance, and whether it is a setup.
pub(super) fn decide(task: &TaskSpec, upstreams: &[(TaskState, bool)]) -> Verdict {
    use TaskState::{Skipped, Success, UpstreamFailed};
    let count = |wanted: &[TaskState]| upstreams.iter().filter(|(state, _)| wanted.contains(state)).count();
    let (success, skipped) = (count(&[Success]), count(&[Skipped]));
    let failed = count(&[TaskState::Failed, UpstreamFailed]);
    let own_failed = count(&[TaskState::Failed]);
    let setups: Vec<TaskState> = upstreams.iter().filter(|(_, setup)| *setup).map(|(state, _)| *state).collect();
    let all_skipped = skipped == upstreams.len();
    if upstreams.is_empty() {
        return Verdict::Run;
    }
    let end = match rule_of(task) {
        TriggerRule::AllSuccess if failed > 0 => Some(UpstreamFailed),
        TriggerRule::AllSuccess if skipped > 0 => Some(Skipped),
        TriggerRule::AllFailed if success + skipped > 0 => Some(Skipped),
        TriggerRule::AllSkipped if success + failed > 0 => Some(Skipped),
        TriggerRule::AllDoneMinOneSuccess if skipped > 0 => Some(Skipped),
        TriggerRule::AllDoneMinOneSuccess if success == 0 => Some(UpstreamFailed),
        TriggerRule::AllDoneSetupSuccess if setups.is_empty() || setups.contains(&Success) => None,
        TriggerRule::AllDoneSetupSuccess if setups.iter().all(|state| *state == Skipped) => Some(Skipped),
        TriggerRule::AllDoneSetupSuccess => Some(UpstreamFailed),
        TriggerRule::OneSuccess if success == 0 => Some(if all_skipped { Skipped } else { UpstreamFailed }),
        TriggerRule::OneFailed if failed == 0 => Some(Skipped),
        TriggerRule::OneDone if success + own_failed == 0 => Some(Skipped),
        TriggerRule::NoneFailed | TriggerRule::NoneFailedMinOneSuccess if failed > 0 => Some(UpstreamFailed),
        TriggerRule::NoneFailedMinOneSuccess if all_skipped => Some(Skipped),
        TriggerRule::NoneSkipped if skipped > 0 => Some(Skipped),
        _ => None,
    };
    end.map_or(Verdict::Run, Verdict::End)
}

/// The tasks that do not run because this one, a branch or a short circuit, gave `output`.
pub(super) fn left_out(spec: &DagSpec, task: &TaskSpec, output: &Value) -> HashSet<String> {
    let direct = || -> HashSet<String> {
        let follows = |t: &&TaskSpec| t.role != Role::Teardown && t.upstreams().contains(&task.task_id.as_str());
        spec.tasks.iter().filter(follows).map(|t| t.task_id.clone()).collect()
    };
    match (task.kind.as_str(), output) {
        ("branch", output) => {
            let mut followed: HashSet<String> = match output {
                Value::String(id) => HashSet::from([id.clone()]),
                other => other.as_array().into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect(),
            };
            if let Some(group) = &task.group_id {
                let inside: Vec<String> = followed.iter().map(|id| format!("{group}.{id}")).collect();
                followed.extend(inside);
            }
            for id in followed.clone() {
                followed.extend(downstream(spec, &id));
            }
            direct().into_iter().filter(|id| !followed.contains(id)).collect()
        }
        ("short_circuit", Value::Bool(false)) if task.config["respect_trigger_rules"] == true => direct(),
        ("short_circuit", Value::Bool(false)) => {
            let mut all = downstream(spec, &task.task_id);
            all.retain(|id| spec.task(id).is_some_and(|t| t.role != Role::Teardown));
            all
        }
        _ => HashSet::new(),
    }
}

/// Everything that waits for this task, directly or not.
fn downstream(spec: &DagSpec, task_id: &str) -> HashSet<String> {
    let mut direct: HashMap<&str, Vec<&str>> = HashMap::new();
    for task in &spec.tasks {
        for upstream in task.upstreams() {
            direct.entry(upstream).or_default().push(&task.task_id);
        }
    }
    let (mut found, mut open) = (HashSet::new(), vec![task_id]);
    while let Some(id) = open.pop() {
        for next in direct.get(id).into_iter().flatten() {
            if found.insert((*next).to_string()) {
                open.push(next);
            }
        }
    }
    found
}
