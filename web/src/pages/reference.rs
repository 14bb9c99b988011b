//! `/docs`: the API reference, rendered from the document that `/openapi.json` serves. It is a single page, so that
//! the browser's search finds everything.

use super::{Shell, html};
use crate::openapi::{Shape, description};
use crate::parts;
use crate::refusal::Refusal;
use crate::routes::{Rule, described};
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;
use std::sync::OnceLock;

#[derive(Template)]
#[template(path = "pages/reference.html")]
struct ReferencePage {
    shell: Shell,
    groups: &'static [Group],
}

struct Group {
    id: String,
    name: &'static str,
    operations: Vec<Operation>,
}

struct Operation {
    id: String,
    method: String,
    path: &'static str,
    line: String,
    who: String,
    /// Location, name, type, description.
    params: Vec<[String; 4]>,
    body: Vec<[String; 3]>,
    /// Fields of the response.
    answer: Vec<[String; 3]>,
    statuses: Vec<[String; 2]>,
    curl: String,
}

/// Rendered once, because it depends only on the code.
static GROUPS_DRAWN: OnceLock<Vec<Group>> = OnceLock::new();

pub(crate) async fn show(shell: Shell) -> Result<Response, Refusal> {
    let groups = GROUPS_DRAWN.get_or_init(|| drawn(&description()));
    html(StatusCode::OK, &ReferencePage { shell, groups })
}

fn drawn(document: &Value) -> Vec<Group> {
    let routes = described();
    let groups = routes.chunk_by(|(_, one), (_, next)| one.group == next.group);
    let groups = groups.map(|routes| Group {
        id: id_of(routes[0].1.group),
        name: routes[0].1.group,
        operations: routes.iter().filter_map(|route| operation(document, route)).collect(),
    });
    groups.filter(|group| !group.operations.is_empty()).collect()
}

fn operation(document: &Value, (Rule { method, path, .. }, Shape { line, .. }): &(Rule, Shape)) -> Option<Operation> {
    let (method, path) = (method.to_string(), *path);
    let found = document["paths"].get(path)?.get(method.to_lowercase())?;
    let text = |value: &Value| value.as_str().unwrap_or_default().replace('`', "");
    let params = found["parameters"].as_array().into_iter().flatten();
    let body = &found["requestBody"]["content"]["application/json"]["schema"];
    // The schema of an optional body is a union of the body and null.
    let body = body["anyOf"].get(0).unwrap_or(body);
    let answers = &found["responses"];
    let done = ["200", "201"].map(|status| &answers[status]["content"]["application/json"]["schema"]);
    Some(Operation {
        id: id_of(&format!("{method} {path}")),
        path,
        line: line.to_string(),
        who: found["description"].as_str().unwrap_or("Everybody, also without logging in.").into(),
        params: params
            .map(|p| [text(&p["in"]), text(&p["name"]), kind(document, &p["schema"]), text(&p["description"])])
            .collect(),
        body: fields(document, body),
        answer: done.into_iter().find(|schema| !schema.is_null()).map(|s| fields(document, s)).unwrap_or_default(),
        statuses: answers
            .as_object()
            .into_iter()
            .flatten()
            .map(|(status, answer)| [status.clone(), text(&answer["description"])])
            .collect(),
        curl: curl(&method, path, body.is_object()),
        method,
    })
}

/// Returns the name, type and description of each field.
fn fields(document: &Value, schema: &Value) -> Vec<[String; 3]> {
    let schema = resolved(document, schema);
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, field)| {
            let about = field["description"].as_str().unwrap_or_default().replace('`', "");
            let must = if required.contains(&name.as_str()) { "Required. " } else { "" };
            [name.clone(), kind(document, field), format!("{must}{about}")]
        })
        .collect()
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let place = schema["$ref"].as_str().and_then(|place| place.strip_prefix('#'));
    place.and_then(|place| document.pointer(place)).unwrap_or(schema)
}

/// Returns the type of a schema as short text.
fn kind(document: &Value, schema: &Value) -> String {
    let schema = resolved(document, schema);
    if let Some(words) = schema["enum"].as_array() {
        let words = words.iter().filter(|word| !word.is_null());
        let words = words.map(|word| word.as_str().map_or_else(|| word.to_string(), into));
        return words.filter(|word| !word.starts_with('-')).collect::<Vec<_>>().join(", ");
    }
    if let Some(choices) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        let kinds: Vec<String> = choices.iter().map(|choice| kind(document, choice)).collect();
        return kinds
            .into_iter()
            .filter(|kind| !["", "null"].contains(&kind.as_str()))
            .collect::<Vec<_>>()
            .join(" or ");
    }
    let known: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return "any JSON".into(),
    };
    let word = |kind: &str| match kind {
        "array" => format!("list of {}", kind_of_items(document, schema)),
        "string" if schema["format"] == "date-time" => "date and time".into(),
        "string" => "text".into(),
        "boolean" => "true or false".into(),
        "integer" => "whole number".into(),
        other => other.to_string(),
    };
    // Null is omitted: an optional field can be null too.
    let named = known.iter().filter(|kind| **kind != "null" || known.len() == 1);
    named.map(|kind| word(kind)).collect::<Vec<_>>().join(" or ")
}

fn kind_of_items(document: &Value, schema: &Value) -> String {
    if schema["items"].is_null() { "any JSON".into() } else { kind(document, &schema["items"]) }
}

fn into(word: &str) -> String {
    word.into()
}

/// Returns a command to copy. Names in braces must be replaced.
fn curl(method: &str, path: &str, has_body: bool) -> String {
    let verb = if method == "GET" { String::new() } else { format!(" -X {method}") };
    let token = if path.starts_with("/auth/") { "" } else { " -H \"Authorization: Bearer $TOKEN\"" };
    let body = example(method, path).unwrap_or("{}");
    let body = if has_body { format!(" -H 'Content-Type: application/json' -d '{body}'") } else { String::new() };
    format!("curl{verb} \"$ORCH{path}\"{token}{body}")
}

/// Returns the most common body of a request.
fn example(method: &str, path: &str) -> Option<&'static str> {
    let end = path.rsplit('/').next().unwrap_or_default();
    Some(match (method, end) {
        ("POST", "token" | "cli") => r#"{"username": "admin", "password": "…"}"#,
        ("POST", "dagRuns") => r#"{"logical_date": null, "conf": {"table": "orders"}}"#,
        ("POST", "trigger") => r#"{"conf": {"table": "orders"}}"#,
        ("POST", "clear") => r#"{"dry_run": false}"#,
        ("POST", "clearDagRuns") => r#"{"dry_run": false, "dag_runs": [{"dag_run_id": "…"}]}"#,
        ("POST", "clearTaskInstances") => r#"{"dry_run": false, "dag_run_id": "…", "task_ids": ["load"]}"#,
        ("POST", "list") => r#"{"page_limit": 10}"#,
        ("POST", "xcomEntries") => r#"{"key": "rows", "value": 7}"#,
        ("PATCH", "{xcom_key}") => r#"{"value": 8}"#,
        ("PATCH", "dags" | "{dag_id}") => r#"{"is_paused": true}"#,
        ("PATCH", "dagRuns") => {
            r#"{"actions": [{"action": "update", "entities": [{"dag_run_id": "…", "state": "failed"}]}]}"#
        }
        ("PATCH", "taskInstances") => {
            r#"{"actions": [{"action": "update", "entities": [{"task_id": "load", "new_state": "success"}]}]}"#
        }
        ("PATCH", "{dag_run_id}") => r#"{"state": "failed", "note": "stopped by hand"}"#,
        ("PATCH", _) => r#"{"new_state": "success"}"#,
        _ => return None,
    })
}

/// Returns an element id such as `get-api-v2-dags-dag_id`.
fn id_of(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}
