//! Writes a task as an entry of a file.

use super::write::{Out, time};
use super::{Fields, Writer, asset_ref, callbacks, options};
use crate::file::SCRIPT_HASH;
use crate::file::is_of_file;
use crate::file::keys::{KINDS, SENSORS, Shape};
use crate::file::task::field;
use orch_spec::{Role, Source, TaskSpec};
use serde_json::{Map, Value, json};

impl Writer<'_> {
    pub(super) fn task(&mut self, task: &TaskSpec) -> Out {
        let mut fields = Fields(Vec::new());
        fields.value("doc", Some(task.doc.clone()).filter(|doc| !doc.is_empty()));
        match work(task) {
            Some((name, work)) => fields.say(name, Some(work)),
            None => self.cannot(format!("task `{}` is a function of Rust (kind `{}`)", task.task_id, task.kind)),
        }
        if !is_of_file(task) && (!task.inputs.is_empty() || task.config.to_string().contains("{{")) {
            self.cannot(format!("task `{}` takes inputs, or has braces that are no template", task.task_id));
        }
        let is_setup = |id: &&String| self.spec.task(id).is_some_and(|upstream| upstream.role == Role::Setup);
        let (setups, others): (Vec<&String>, Vec<&String>) = match task.role {
            Role::Teardown => task.after.iter().partition(is_setup),
            Role::Work | Role::Setup => (Vec::new(), task.after.iter().collect()),
        };
        let alone = task.role == Role::Teardown && setups.is_empty();
        let names = |ids: Vec<&String>| ids.into_iter().cloned().collect::<Vec<_>>();
        fields.list("after", &names(others));
        fields.flag("setup", task.role == Role::Setup);
        fields.flag("teardown", alone);
        fields.list("teardown", &names(setups));
        let when = self.when(task);
        fields.say("when", when);
        let map = task.map.as_ref().map(|map| self.map(map, &task.task_id));
        fields.say("map", map);
        fields.list("inlets", &task.inlets.iter().map(asset_ref).collect::<Vec<_>>());
        fields.list("outlets", &task.outlets.iter().map(asset_ref).collect::<Vec<_>>());
        let mut own = task.options.clone();
        if task.role == Role::Teardown {
            own.trigger_rule = None;
        }
        options(&mut fields, &own);
        callbacks(&mut fields, &task.callbacks);
        Out::Map(fields.0)
    }

    fn when(&mut self, task: &TaskSpec) -> Option<Out> {
        let mut said = Vec::new();
        for condition in &task.when {
            let name = match &condition.source {
                Source::Output(id) | Source::Outputs(id) => id.clone(),
                Source::Element { part: None, .. } => "element".into(),
                _ => {
                    self.cannot(format!("task `{}` has a condition that only Rust knows", task.task_id));
                    continue;
                }
            };
            said.push((name, Out::List(condition.equals.iter().cloned().map(Out::Value).collect())));
        }
        (!said.is_empty()).then_some(Out::Map(said))
    }
}

/// Returns the key of the work of a task, and its value. `None` if files do not support this kind.
fn work(task: &TaskSpec) -> Option<(&'static str, Out)> {
    let kind = |kind: &str| KINDS.iter().find(|known| known.kind == kind);
    Some(match task.kind.as_str() {
        "wait" => ("sensor", Out::Value(sensor(&task.config)?)),
        "wait_for_dag" => ("sensor", Out::Value(other_dag(&task.config)?)),
        "value" => ("value", Out::Value(task.config.get("value")?.clone())),
        name @ ("branch" | "short_circuit") if is_of_file(task) => {
            (kind(name)?.name, Out::Value(decision(&task.config)?))
        }
        "branch" | "short_circuit" => return None,
        other => {
            let kind = kind(other)?;
            (kind.name, Out::Value(operator(kind.name, &task.config)?))
        }
    })
}

fn operator(name: &str, config: &Value) -> Option<Value> {
    let kind = KINDS.iter().find(|kind| kind.name == name)?;
    let mut config = config.clone();
    config.as_object_mut().into_iter().for_each(|fields| drop(fields.remove(SCRIPT_HASH)));
    if name == "bash" {
        let fields = config.as_object_mut()?;
        match fields.get("shell").and_then(Value::as_str) {
            Some("bash") => drop(fields.remove("shell")),
            Some(_) => {}
            None => drop(fields.insert("shell".into(), json!("sh"))),
        }
    }
    let written = back(&config, &kind.shape);
    let fields = written.as_object()?;
    // A single value needs no key.
    Some(match fields.get(kind.short) {
        Some(only) if fields.len() == 1 => only.clone(),
        _ => written,
    })
}

fn decision(config: &Value) -> Option<Value> {
    let mut written = Map::new();
    for key in ["on", "cases", "otherwise"] {
        written.extend(config.get(key).map(|value| (key.to_string(), value.clone())));
    }
    if let Some(by) = config.get("by") {
        let kind = KINDS.iter().find(|kind| by["kind"] == kind.kind)?;
        written.insert(kind.name.into(), operator(kind.name, &by["config"])?);
    }
    if config.get("respect_trigger_rules").is_some() {
        written.insert("ignore_downstream_trigger_rules".into(), json!(false));
    }
    Some(Value::Object(written))
}

fn sensor(config: &Value) -> Option<Value> {
    let mut written = awaited(config.get("until")?)?;
    around(config, &mut written);
    Some(written)
}

fn around(config: &Value, written: &mut Value) {
    for (field, key) in [("timeout_ms", "timeout"), ("poke_ms", "poke")] {
        if let Some(ms) = config.get(field).and_then(Value::as_u64) {
            written[key] = json!(time(ms));
        }
    }
    if let Some(what) = config.get("on_timeout").filter(|what| **what != "fail") {
        written["on_timeout"] = what.clone();
    }
}

fn awaited(until: &Value) -> Option<Value> {
    let (kind, config) = (until.get("kind")?.as_str()?, until.get("config")?);
    let known = SENSORS.iter().find(|known| known.name == kind)?;
    let config = match kind {
        "any" | "all" => config.get("of")?.as_array()?.iter().map(awaited).collect::<Option<Value>>()?,
        "time" => match (config.get("after_ms").and_then(Value::as_u64), config.get("time_of_day")) {
            (Some(ms), _) => json!({ "after": time(ms) }),
            (None, Some(day)) => json!({ "time_of_day": day["time"], "timezone": day["zone"] }),
            (None, None) => json!({ "at": config.get("at")? }),
        },
        _ => back(config, known.shape),
    };
    Some(json!({ kind: config }))
}

fn other_dag(config: &Value) -> Option<Value> {
    let mut dag = json!({ "dag_id": config.get("dag_id")? });
    if let Some(task_id) = config.get("task_id") {
        dag["task_id"] = task_id.clone();
    }
    for key in ["allowed", "failed", "skipped"] {
        let states = config.get(key).filter(|states| states.as_array().is_some_and(|states| !states.is_empty()));
        if let Some(states) = states {
            dag[key] = states.clone();
        }
    }
    let which = config.get("which");
    if let Some(ms) = which.and_then(|which| which["same_date"]["earlier_ms"].as_u64()).filter(|ms| *ms > 0) {
        dag["earlier"] = json!(time(ms));
    }
    if let Some(ms) = which.and_then(|which| which["within_ms"].as_u64()) {
        dag["within"] = json!(time(ms));
    }
    if let Some(run_id) = which.and_then(|which| which.get("run_id")) {
        dag["run_id"] = run_id.clone();
    }
    let mut written = json!({ "dag": dag });
    around(config, &mut written);
    Some(written)
}

/// Returns a config with the keys of a file in place of the fields of an operator.
fn back(config: &Value, shape: &Shape) -> Value {
    match (shape, config) {
        (Shape::Either(shapes), Value::Object(_)) => {
            let inner = shapes.iter().find(|shape| matches!(shape, Shape::Object(_) | Shape::Table(_)));
            inner.map_or_else(|| config.clone(), |inner| back(config, inner))
        }
        (Shape::Object(table), Value::Object(fields)) => {
            let known = |name: &str| table.iter().find(|key| field(key.name, key.shape) == name);
            let written = fields.iter().map(|(name, value)| match known(name) {
                Some(key) => (key.name.to_string(), back(value, key.shape)),
                None => (name.clone(), value.clone()),
            });
            Value::Object(written.collect())
        }
        (Shape::List(inner), Value::Array(items)) => items.iter().map(|item| back(item, inner)).collect(),
        (Shape::Time, Value::Number(ms)) => json!(time(ms.as_u64().unwrap_or(0))),
        _ => config.clone(),
    }
}
