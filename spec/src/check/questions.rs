//! Checks the questions that tasks ask users: valid questions, and options that lead to tasks directly downstream.

use super::Checked;
use super::graph::sources_of;
use crate::approval::Question;
use crate::names::closest;
use crate::{Role, TaskSpec};

pub(super) fn check(dag: &mut Checked<'_>) {
    let spec = dag.spec;
    for task in &spec.tasks {
        // The operator that reads the config reports an invalid question.
        let Ok(question) = serde_json::from_value::<Question>(task.config.clone()) else { continue };
        let question = match task.kind.as_str() {
            "approval" => question.approved_or_rejected(),
            "input" => question.sent(),
            _ => continue,
        };
        if let Some((option, followed)) = unknown_option(&question) {
            let near = closest(option, question.options.iter().map(String::as_str));
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("its options are {}", question.options.join(", ")),
            };
            dag.about_task(task, format!("it follows `{followed}` for `{option}`, which is no option"), hint);
        } else if let Err(problem) = question.check() {
            dag.about_task(task, format!("it cannot ask this: {problem}"), "change the question");
        }
        if question.follow.is_some() {
            for option in &question.options {
                leads_to_a_task(dag, task, &question, option);
            }
        }
    }
}

fn unknown_option(question: &Question) -> Option<(&str, &str)> {
    let follow = question.follow.iter().flatten();
    let unknown = follow.into_iter().find(|(option, _)| !question.options.contains(option));
    unknown.map(|(option, task)| (option.as_str(), task.as_str()))
}

/// Checks that the task for an option exists directly downstream. Otherwise the task would fail after a user has
/// answered.
fn leads_to_a_task(dag: &mut Checked<'_>, task: &TaskSpec, question: &Question, option: &str) {
    let named = question.follow.as_ref().and_then(|follow| follow.get(option));
    let id = named.map_or(option, String::as_str);
    // A task of the same group may be named without the group's prefix, as when the question is answered.
    let inside = task.group_id.as_ref().map(|group| format!("{group}.{id}"));
    let found = dag.task_of(id).or_else(|| dag.task_of(inside.as_deref()?));
    let Some(found) = found else {
        let hint = match (closest(id, dag.index.keys().copied()), named) {
            (Some(near), Some(_)) => format!("did you mean `{near}`?"),
            (None, Some(_)) => format!("add that task right after `{}`", task.task_id),
            (_, None) => format!("say with `.follow(…)` which task follows `{option}`"),
        };
        return dag.about_task(task, format!("for `{option}` it follows `{id}`, which does not exist"), hint);
    };
    let around = dag.mapped_group(found).and_then(|group| group.map.as_ref());
    let mut waits_for = found.upstreams().into_iter().chain(sources_of(around));
    if found.role == Role::Teardown || !waits_for.any(|id| id == task.task_id) {
        let message = format!("for `{option}` it follows `{}`, which is not right after it", found.task_id);
        let hint = format!("let `{}` wait for `{}`", found.task_id, task.task_id);
        dag.about_task(task, message, hint);
    }
}
