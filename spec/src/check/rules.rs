//! Checks params, trigger rules against inputs, conditions that can be met, setups and teardowns.

use super::Checked;
use crate::params::{BadConf, check_conf, unjudged};
use crate::{InputSpec, MapSpec, Role, Schedule, Source, TaskSpec, TriggerRule};
use serde_json::json;

pub(super) fn check(dag: &mut Checked<'_>) {
    let spec = dag.spec;
    let params_type = spec.params_schema.as_ref().and_then(|schema| schema.get("type"));
    if params_type.is_some_and(|given| given != "object") {
        dag.about_dag("its params are no object with names", "use a struct: each field is one param");
    }
    for (what, hint) in spec.params_schema.iter().flat_map(unjudged) {
        dag.about_dag(format!("its params: {what}"), &hint);
    }
    if dag.problems.is_empty() {
        scheduled_params(dag);
    }
    for task in &spec.tasks {
        for input in &task.inputs {
            if !may_be_missing(dag, task, input) {
                continue;
            }
            dag.about_task(task, format!("it may run although `{}` has no value", input.name), optional_hint(input));
        }
        let asks = |source: &Source| match source {
            Source::Output(_) | Source::Element { .. } => true,
            // The builder has already rejected it.
            Source::List(nothing) => nothing.is_empty(),
            Source::Value(_) | Source::Params | Source::Outputs(_) | Source::Collected(_) => false,
        };
        if !task.when.iter().all(|condition| asks(&condition.source)) {
            let message = "its condition asks neither the output of one task nor an element";
            dag.about_task(task, message, "let a task look at the value and give the answer");
        }
        if task.when.iter().any(|condition| condition.equals.is_empty()) {
            dag.about_task(task, "it can never run: its condition lists no value", "list the values it runs for");
        }
        setup_and_teardown(dag, task);
    }
}

/// Checks that the defaults fit the schema, because scheduled runs have no conf.
fn scheduled_params(dag: &mut Checked<'_>) {
    let spec = dag.spec;
    let Some(schema) = spec.params_schema.as_ref().filter(|_| spec.schedule != Schedule::Manual) else { return };
    let Err(BadConf::Params(wrong)) = check_conf(Some(schema), &json!({})) else { return };
    for violation in wrong {
        let problem = match (violation.what.as_str(), violation.path.as_str()) {
            ("is missing", param) => {
                format!("the param `{param}` has no default, but the dag has a schedule, whose runs get no params")
            }
            _ => format!("the defaults of its params do not fit their schema: {violation}"),
        };
        dag.about_dag(problem, "give the param a default that fits, or remove the schedule");
    }
}

/// Returns true if the trigger rule lets the task run without a value for this input, and the function requires a
/// value.
fn may_be_missing(dag: &Checked<'_>, task: &TaskSpec, input: &InputSpec) -> bool {
    let rule = task.options.trigger_rule.unwrap_or(match task.role {
        Role::Teardown => TriggerRule::AllDoneSetupSuccess,
        Role::Work | Role::Setup => TriggerRule::AllSuccess,
    });
    // An optional list may be missing as a whole, but its elements are passed unchanged.
    let optional = input.optional && !(matches!(input.source, Source::Collected(_)) && is_option(&input.type_name));
    rule != TriggerRule::AllSuccess && !optional && from_upstream(dag, task, &input.source, rule)
}

fn is_option(type_name: &str) -> bool {
    type_name.starts_with("Option<")
}

/// Returns true if this source can lack a value when `rule` lets the task run.
fn from_upstream(dag: &Checked<'_>, task: &TaskSpec, source: &Source, rule: TriggerRule) -> bool {
    match source {
        Source::Output(id) | Source::Outputs(id) | Source::Collected(id) => {
            let setup = dag.task_of(id).is_some_and(|upstream| upstream.role == Role::Setup);
            !(setup && rule == TriggerRule::AllDoneSetupSuccess)
        }
        Source::List(sources) => sources.iter().any(|source| from_upstream(dag, task, source, rule)),
        Source::Element { part, .. } => {
            // For a map over a mapped upstream, element i is the output of the upstream's element i, which may have
            // been skipped.
            let map = dag.spec.map_of(task);
            let list = map.and_then(|map| map.sources().get(part.unwrap_or(0)));
            let whole = part.is_none() && !matches!(map, Some(MapSpec::Each(_)));
            !whole && matches!(list, Some(Source::Outputs(_) | Source::Collected(_)))
        }
        Source::Value(_) | Source::Params => false,
    }
}

/// Returns `T` of the type `outer<T>`. `None` if the type has another name.
fn argument_of<'a>(outer: &str, type_name: &'a str) -> Option<&'a str> {
    type_name.strip_prefix(outer)?.strip_prefix('<')?.strip_suffix('>')
}

fn optional_hint(input: &InputSpec) -> String {
    let InputSpec { name, type_name, source, .. } = input;
    if type_name.is_empty() {
        return format!("mark the input `{name}` as optional, or use the trigger rule all_success");
    }
    if let (Source::Collected(_), Some(list)) = (source, argument_of("Option", type_name)) {
        let element = argument_of("Vec", list).unwrap_or(list);
        let element = argument_of("Option", element).unwrap_or(element);
        return format!("give the `Mapped` itself and make the parameter `{name}: Vec<Option<{element}>>`");
    }
    match (source, type_name.strip_prefix("Vec<")) {
        (Source::Collected(_), Some(element)) => {
            format!("give the `Mapped` itself and make the parameter `{name}: Vec<Option<{element}>`")
        }
        (Source::Outputs(_) | Source::List(_), Some(element)) => {
            format!("make the parameter `{name}: Vec<Option<{element}>`")
        }
        _ => format!("make the parameter `{name}: Option<{type_name}>`"),
    }
}

fn setup_and_teardown(dag: &mut Checked<'_>, task: &TaskSpec) {
    let rule = task.options.trigger_rule;
    match task.role {
        Role::Teardown => {
            if rule.is_some_and(|rule| rule != TriggerRule::AllDoneSetupSuccess) {
                dag.about_task(
                    task,
                    "a teardown has a trigger rule of its own, all_done_setup_success",
                    "remove `.trigger_rule(…)`",
                );
            }
        }
        Role::Work | Role::Setup => {
            if task.options.on_failure_fail_run.is_some() {
                dag.about_task(
                    task,
                    "on_failure_fail_run is set, but it is no teardown",
                    "remove it: the failure of a leaf fails the run anyway",
                );
            }
            // Airflow has the same rule: a task that runs although its setup failed would run without the resources of
            // the setup.
            let lenient = rule.is_some_and(|rule| rule != TriggerRule::AllSuccess);
            let setup = task.upstreams().into_iter().filter_map(|id| dag.task_of(id)).find(|up| up.role == Role::Setup);
            if let (true, Some(setup)) = (lenient, setup) {
                let message = format!("it follows the setup `{}` but may run although that failed", setup.task_id);
                dag.about_task(task, message, "put a task with the rule all_success between the two");
            }
        }
    }
}
