//! Converts the work of a task to the config of its operator. Templates stay unchanged: the worker renders them
//! (`template::render`) and passes the result to the operator.

use super::check::{text_of, time_ms};
use super::keys::{SENSOR, SENSORS, Shape, TaskKind};
use super::node::{Node, NodeKind};
use orch_spec::{DagSpec, TaskSpec};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Key in `TaskSpec::extra` that marks tasks whose config has templates.
pub const FILE_TASK: &str = "dag_file";

/// Returns whether the task came from a DAG file.
pub fn is_of_file(task: &TaskSpec) -> bool {
    task.extra.get(FILE_TASK).is_some_and(|mark| *mark == true)
}

pub fn is_dag_of_file(dag: &DagSpec) -> bool {
    dag.extra.get(FILE_TASK).is_some_and(|mark| *mark == true)
}

/// Returns the kind and config of a task. `folder` is the folder of the file.
pub(super) fn work(node: &Node, kind: &TaskKind, folder: &str) -> (String, Value) {
    match kind.name {
        "sensor" => sensor(node),
        "value" => (kind.kind.into(), json!({ "value": node.json() })),
        "branch" | "short_circuit" => (kind.kind.into(), decision(node, folder)),
        _ => (kind.kind.into(), operator(node, kind, folder)),
    }
}

fn operator(node: &Node, kind: &TaskKind, folder: &str) -> Value {
    let mut config = match (&node.kind, config(node, &kind.shape)) {
        (NodeKind::Map(_), config) => config,
        (_, short) => json!({ kind.short: short }),
    };
    if let Some(fields) = config.as_object_mut() {
        if kind.name == "bash" {
            fields.entry("shell").or_insert_with(|| json!("bash"));
        }
        if let Some(Value::String(file)) = fields.get_mut("file")
            && !folder.is_empty()
            && !Path::new(&file).is_absolute()
        {
            *file = Path::new(folder).join(&file).to_string_lossy().into_owned();
        }
    }
    config
}

/// Returns the config of a branch or short circuit, which decides by a template or by the last line of a script.
fn decision(node: &Node, folder: &str) -> Value {
    if !matches!(node.kind, NodeKind::Map(_)) {
        return json!({ "on": node.json() });
    }
    let mut decision = Map::new();
    for (key, value) in node.entries() {
        match key.text.as_str() {
            "on" => drop(decision.insert("on".into(), value.json())),
            script @ ("bash" | "python") => {
                if let Some(kind) = super::keys::KINDS.iter().find(|kind| kind.name == script) {
                    let by = json!({ "kind": kind.kind, "config": operator(value, kind, folder) });
                    decision.insert("by".into(), by);
                }
            }
            "ignore_downstream_trigger_rules" if value.scalar() == Some(&Value::Bool(false)) => {
                decision.insert("respect_trigger_rules".into(), json!(true));
            }
            // The caller resolves the names of tasks.
            _ => {}
        }
    }
    Value::Object(decision)
}

/// Returns the field of an operator's config for a key.
pub(super) fn field(name: &str, shape: &Shape) -> String {
    match (name, shape) {
        ("patience" | "statement_timeout", _) => "timeout_ms".into(),
        (name, Shape::Time) => format!("{name}_ms"),
        (name, _) => name.into(),
    }
}

fn config(node: &Node, shape: &Shape) -> Value {
    match (shape, &node.kind) {
        (Shape::Either(shapes), _) => match shapes.iter().find(|shape| shape.could_be(node)) {
            Some(shape) => config(node, shape),
            None => Value::Null, // already rejected
        },
        (Shape::Object(table), NodeKind::Map(entries)) => {
            let known = |name: &str| table.iter().find(|known| known.name == name);
            let fields = entries.iter().filter_map(|(key, value)| {
                let known = known(&key.text)?;
                Some((field(known.name, known.shape), config(value, known.shape)))
            });
            Value::Object(fields.collect())
        }
        (Shape::Table(inner), NodeKind::Map(entries)) => {
            Value::Object(entries.iter().map(|(key, value)| (key.text.clone(), config(value, inner))).collect())
        }
        (Shape::List(inner), NodeKind::List(items)) => items.iter().map(|item| config(item, inner)).collect(),
        (
            Shape::Text | Shape::Program | Shape::Template | Shape::Argument | Shape::Word(_),
            NodeKind::Scalar(value),
        ) => Value::String(text_of(value)),
        (Shape::Time, NodeKind::Scalar(value)) => time_ms(value).map_or(Value::Null, Value::from),
        _ => node.json(),
    }
}

fn sensor(node: &Node) -> (String, Value) {
    let mut around = config(node, &Shape::Object(SENSOR));
    if let Some(dag) = node.get("dag") {
        return ("wait_for_dag".into(), other_dag(dag, around));
    }
    around["until"] = awaited(node);
    ("wait".into(), around)
}

/// Returns a condition in the form of `orch_sdk::wait`.
fn awaited(node: &Node) -> Value {
    let Some((kind, value)) = SENSORS.iter().find_map(|key| Some((key, node.get(key.name)?))) else {
        return Value::Null; // already rejected
    };
    let config = match (kind.name, &value.kind) {
        ("any" | "all", _) => json!({ "of": value.items().iter().map(awaited).collect::<Vec<_>>() }),
        ("time", _) => time(value),
        ("file", NodeKind::Scalar(path)) => json!({ "path": text_of(path) }),
        ("http", NodeKind::Scalar(url)) => json!({ "url": text_of(url) }),
        _ => config(value, kind.shape),
    };
    json!({ "kind": kind.name, "config": config })
}

fn time(node: &Node) -> Value {
    let text = |key: &str| node.get(key).and_then(Node::scalar).map(text_of);
    if let Some(ms) = node.get("after").and_then(Node::scalar).and_then(time_ms) {
        return json!({ "after_ms": ms });
    }
    match text("time_of_day") {
        Some(time) => json!({ "time_of_day": {
            "time": time, "zone": text("timezone").unwrap_or_else(|| "UTC".into()) } }),
        None => json!({ "at": text("at") }),
    }
}

fn other_dag(node: &Node, mut around: Value) -> Value {
    if let Some(dag_id) = node.scalar() {
        around["dag_id"] = json!(text_of(dag_id));
        return around;
    }
    let ms = |key: &str| node.get(key).and_then(Node::scalar).and_then(time_ms);
    let texts = |node: &Node| node.items().iter().filter_map(Node::scalar).map(text_of).collect::<Vec<_>>();
    for key in ["dag_id", "task_id"] {
        if let Some(value) = node.get(key).and_then(Node::scalar) {
            around[key] = json!(text_of(value));
        }
    }
    for key in ["allowed", "failed", "skipped"] {
        if let Some(states) = node.get(key) {
            around[key] = json!(texts(states));
        }
    }
    if let Some(earlier) = ms("earlier") {
        around["which"] = json!({ "same_date": { "earlier_ms": earlier } });
    } else if let Some(within) = ms("within") {
        around["which"] = json!({ "within_ms": within });
    } else if let Some(run_id) = node.get("run_id").and_then(Node::scalar) {
        around["which"] = json!({ "run_id": text_of(run_id) });
    }
    around
}
