//! Runs recorded from Airflow's code in `tests/oracle/`: parsed, replayed in the pure model, and written as DAG files.

use orch_core::branch;
use orch_core::model::Model;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::transition::Outcome;
use orch_spec::TriggerRule;
use orch_spec::state::TaskState;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) fn table<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = here.ancestors().map(|folder| folder.join("tests/oracle").join(name)).find(|path| path.exists());
    let text = std::fs::read_to_string(path.expect("the table is in the repository")).expect("it can be read");
    serde_json::from_str(&text).expect("the table is what its README says")
}

#[derive(Deserialize)]
pub(crate) struct Cases {
    pub(crate) cases: Vec<RecordedCase>,
}

#[derive(Deserialize)]
pub(crate) struct RecordedCase {
    pub(crate) id: String,
    pub(crate) tasks: Vec<Task>,
    pub(crate) groups: Vec<Group>,
    pub(crate) outcomes: BTreeMap<String, Value>,
    pub(crate) order: Vec<usize>,
    #[serde(flatten)]
    pub(crate) result: Played,
    pub(crate) otherwise: Option<Value>,
    #[serde(default)]
    pub(crate) quirks: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize, PartialEq)]
pub(crate) struct Played {
    pub(crate) executed: Vec<String>,
    #[serde(rename = "final")]
    pub(crate) states: BTreeMap<String, String>,
    pub(crate) run: String,
}

#[derive(Deserialize)]
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) rule: TriggerRule,
    pub(crate) upstream: Vec<String>,
    pub(crate) group: Option<String>,
    pub(crate) map: Option<Over>,
    pub(crate) list_len: Option<i32>,
    pub(crate) role: Option<String>,
    pub(crate) on_failure_fail_run: Option<bool>,
    pub(crate) kind: Option<String>,
    pub(crate) ignore_downstream_trigger_rules: Option<bool>,
}

#[derive(Deserialize)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) map: Option<Over>,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Over {
    Literal(usize),
    Over(String),
}

pub(crate) fn is_mapped(case: &RecordedCase, id: &str) -> bool {
    let task = case.tasks.iter().find(|t| t.id == id).expect("a task of the case");
    let inside =
        |g: &&Group| task.group.as_ref().is_some_and(|of| *of == g.id || of.starts_with(&format!("{}.", g.id)));
    task.map.is_some() || case.groups.iter().filter(inside).any(|g| g.map.is_some())
}

/// Replays a recorded case until the run ends, as the README in `tests/oracle/` describes. `order` selects the next
/// ready instance. Also returns whether a branch skipped a task that was already decided or scheduled: Airflow skips
/// such tasks, orch keeps the first decision.
pub(crate) fn play(case: &RecordedCase, plan: &Arc<Plan>, order: impl Iterator<Item = usize>) -> (Played, bool) {
    play_on(&mut Model::start(plan.clone()), case, order)
}

/// Replays a started run to its end, like `play`.
pub(crate) fn play_on(
    model: &mut Model,
    case: &RecordedCase,
    mut order: impl Iterator<Item = usize>,
) -> (Played, bool) {
    let plan = model.plan.clone();
    let mut executed = Vec::new();
    let mut too_late = false;
    while !model.run.state.is_finished() {
        let mut ready: Vec<(&str, i32, TaskIdx)> =
            model.ready.iter().map(|&(task, index)| (plan.task_id(task), index, task)).collect();
        ready.sort_unstable();
        let Some(pick) = order.next() else { break };
        let Some(&(id, index, task)) = ready.get(pick % ready.len().max(1)) else { break };
        let name = format!("{id}[{index}]");
        executed.push(name.clone());
        let outcome = outcome(case, model, task, index, case.outcomes.get(&name));
        if let Outcome::Success { skip, .. } = &outcome {
            too_late |= skip.iter().any(|s| model.run.task(s.task) != TaskState::None);
        }
        model.finish(task, index, outcome);
    }
    let states = model
        .states
        .iter()
        .map(|(&(task, index), state)| (format!("{}[{index}]", plan.task_id(task)), state.to_string()));
    (Played { executed, states: states.collect(), run: model.run.state.to_string() }, too_late)
}

fn outcome(case: &RecordedCase, model: &Model, task: TaskIdx, index: i32, scripted: Option<&Value>) -> Outcome {
    let id = model.plan.task_id(task);
    let described = case.tasks.iter().find(|t| t.id == id).expect("a task of the case");
    let success = |skip| Outcome::Success { list_len: described.list_len, skip };
    match scripted {
        Some(Value::String(state)) if state == "failed" => Outcome::Failed,
        Some(Value::String(state)) if state == "skipped" => Outcome::Skipped { skip: vec![] },
        Some(Value::Object(choice)) => {
            if let Some(Value::Array(ids)) = choice.get("branch") {
                let ids = ids.iter().filter_map(Value::as_str).filter_map(|id| model.plan.index_of(id));
                let followed: Vec<TaskIdx> = ids.collect();
                return success(branch::not_followed(&model.plan, task, index, &followed));
            }
            if choice.get("short_circuit") == Some(&Value::Bool(false)) {
                return success(if described.ignore_downstream_trigger_rules == Some(false) {
                    branch::directly_below(&model.plan, task, index)
                } else {
                    branch::everything_below(&model.plan, task, index)
                });
            }
            success(vec![])
        }
        _ => success(vec![]),
    }
}

/// Returns true if a task is mapped over a mapped task with elements that did not succeed. In Airflow the map has one
/// element per success; orch keeps the indexes (docs/airflow-parity.md).
pub(crate) fn maps_over_elements_that_gave_nothing(case: &RecordedCase) -> bool {
    case.tasks.iter().filter_map(|t| t.map.as_ref()).chain(case.groups.iter().filter_map(|g| g.map.as_ref())).any(
        |over| {
            matches!(over, Over::Over(id) if is_mapped(case, id) && case.result.states.iter().any(|(name, state)| {
                name.split('[').next() == Some(id) && state != "success"
            }))
        },
    )
}

/// Returns a DAG file of the case. Its tasks are programs with scripted exit codes and different short delays; some
/// succeed only on the second attempt.
pub(crate) fn file(case: &RecordedCase) -> Value {
    let mut dag = json!({ "dag_id": case.id, "tasks": {} });
    for group in &case.groups {
        let mut node = Map::from_iter([("tasks".to_string(), json!({}))]);
        if let Some(over) = &group.map {
            node.insert("map".into(), map(over));
        }
        *place(&mut dag, &group.id) = Value::Object(node);
    }
    for (number, task) in case.tasks.iter().enumerate() {
        let mut node = work(case, task, number);
        node.insert("after".into(), json!(task.upstream));
        match task.role.as_deref() {
            Some("setup") => drop(node.insert("setup".into(), json!(true))),
            Some("teardown") => {
                let is_setup =
                    |id: &&String| case.tasks.iter().any(|t| t.id == **id && t.role.as_deref() == Some("setup"));
                let setups: Vec<&String> = task.upstream.iter().filter(is_setup).collect();
                node.insert("teardown".into(), if setups.is_empty() { json!(true) } else { json!(setups) });
            }
            _ => {}
        }
        if task.role.as_deref() != Some("teardown") {
            node.insert("trigger_rule".into(), json!(task.rule));
        }
        if let Some(fails) = task.on_failure_fail_run {
            node.insert("on_failure_fail_run".into(), json!(fails));
        }
        if let Some(over) = &task.map {
            node.insert("map".into(), map(over));
        }
        *place(&mut dag, &task.id) = Value::Object(node);
    }
    dag
}

/// Returns the JSON object of a task or group inside the objects of its groups.
fn place<'a>(dag: &'a mut Value, id: &str) -> &'a mut Value {
    id.split('.').fold(dag, |node, name| &mut node["tasks"][name])
}

fn map(over: &Over) -> Value {
    match over {
        Over::Literal(n) => json!(vec![0; *n]),
        Over::Over(id) => json!(format!("{{{{ upstream.{id}.output }}}}")),
    }
}

/// Returns the fields of a task that define its script and its retries.
fn work(case: &RecordedCase, task: &Task, number: usize) -> Map<String, Value> {
    let mapped = is_mapped(case, &task.id);
    let mut script = format!("sleep 0.0{}\n", number * 7 % 5);
    let again = task.kind.is_none() && number % 3 == 1;
    if again {
        script += "if [ \"$1\" = 1 ]; then exit 1; fi\n";
    }
    script += "case \"$2\" in\n";
    let mut said = match task.kind.as_deref() {
        // A branch without a recorded outcome follows every task.
        Some("branch") => {
            let after = case.tasks.iter().filter(|t| t.upstream.contains(&task.id));
            json!(after.map(|t| &t.id).collect::<Vec<_>>())
        }
        Some(_) => json!(true),
        None => task.list_len.map_or(json!(0), |len| json!(vec![0; len.max(0) as usize])),
    }
    .to_string();
    for (name, outcome) in &case.outcomes {
        let Some(index) = name.strip_prefix(task.id.as_str()).and_then(|rest| rest.strip_prefix('[')) else { continue };
        let index = index.trim_end_matches(']');
        match outcome {
            Value::String(state) if state == "failed" => script.push_str(&[index, ") exit 1;;\n"].concat()),
            Value::String(state) if state == "skipped" => script.push_str(&[index, ") exit 99;;\n"].concat()),
            Value::Object(choice) => said = choice.values().next().map(Value::to_string).unwrap_or_default(),
            _ => {}
        }
    }
    script.push_str(&["esac\necho '", &said, "'\n"].concat());
    let index = if mapped { "{{ map_index }}" } else { "-1" };
    let bash = json!({ "command": script, "args": ["{{ task.try_number }}", index] });
    let mut node = match task.kind.as_deref() {
        Some(kind) => {
            let mut choice = json!({ "bash": bash });
            if task.ignore_downstream_trigger_rules == Some(false) {
                choice["ignore_downstream_trigger_rules"] = json!(false);
            }
            Map::from_iter([(kind.to_string(), choice)])
        }
        None => Map::from_iter([("bash".to_string(), bash)]),
    };
    if again {
        node.extend([("retries".to_string(), json!(1)), ("retry_delay".to_string(), json!(0))]);
    }
    node
}

/// Returns an endless sequence of pseudo-random numbers, which depends only on the seed.
pub(crate) fn random(seed: u64) -> impl Iterator<Item = usize> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize
    })
}

/// Returns true if orch deliberately differs from Airflow: see `docs/airflow-parity.md`.
pub(crate) fn is_otherwise_on_purpose(case: &RecordedCase) -> bool {
    maps_over_elements_that_gave_nothing(case)
        || ["choice_ignored", "decided_as_a_whole", "expanded_without_list"]
            .iter()
            .any(|quirk| case.quirks.contains_key(*quirk))
}
