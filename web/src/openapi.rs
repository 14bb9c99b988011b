//! `/openapi.json`: generated from the list of routes and the types of their queries, bodies and responses.

pub(crate) mod kept;
pub(crate) mod kinds;
pub(crate) mod queries;

use crate::extract::path_numbers;
use crate::routes::{Access, Rule, described};
use axum::http::Method;
use kinds::Param;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

pub(crate) type Make = fn(&mut SchemaGenerator) -> Schema;

/// The description of a route: its summary, parameters, body and response.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    pub(crate) group: &'static str,
    /// One-line summary.
    pub(crate) line: Cow<'static, str>,
    pub(crate) query: Vec<Param>,
    /// True if the guard does not check the query parameters.
    pub(crate) reads_anything: bool,
    pub(crate) body: Option<Make>,
    /// True if the route accepts the header `Idempotency-Key`.
    pub(crate) has_key: bool,
    pub(crate) answer: ResponseShape,
    /// An additional content type of the response.
    pub(crate) also: Option<&'static str>,
    /// True if the response may have the status 202.
    pub(crate) may_be_late: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) enum ResponseShape {
    /// JSON without a schema.
    #[default]
    Any,
    Json(Make),
    Created(Make),
    /// A stream of server-sent events.
    Events,
    /// Status 204.
    Nothing,
    /// Status 307.
    Elsewhere,
}

impl Shape {
    pub(crate) fn of(group: &'static str) -> Shape {
        Shape { group, ..Shape::default() }
    }
}

pub(crate) fn description() -> Value {
    document(&described())
}

/// Builds the document. Pages are not part of it.
fn document(routes: &[(Rule, Shape)]) -> Value {
    let settings = || SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut bodies = settings().for_deserialize().into_generator();
    let mut answers = settings().for_serialize().into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for (rule, shape) in routes.iter().filter(|(rule, _)| is_api(rule.path)) {
        let operation = operation(rule, shape, &mut bodies, &mut answers);
        let path = paths.entry(rule.path).or_insert_with(|| json!({}));
        if let Value::Object(path) = path {
            path.insert(rule.method.as_str().to_lowercase(), operation);
        }
    }
    let mut schemas = answers.take_definitions(true);
    let mut of_bodies = bodies.take_definitions(true);
    of_bodies.values_mut().for_each(close);
    schemas.extend(of_bodies);
    schemas.extend(refusals().map(|(name, schema)| (name.to_string(), schema)));
    json!({
        "openapi": "3.1.0",
        "info": { "title": "orch", "version": env!("CARGO_PKG_VERSION"),
            "description": "Airflow's REST API at /api/v2, with orch's own at /api/orch/v1." },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
        },
    })
}

/// Disallows additional properties in bodies, and limits numbers to the range of their format.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("properties") && map.contains_key("type") {
                map.entry("additionalProperties").or_insert(json!(false));
            }
            if map.get("format").is_some_and(|format| format == "int32") {
                map.entry("minimum").or_insert(json!(i32::MIN));
                map.entry("maximum").or_insert(json!(i32::MAX));
            }
            map.values_mut().for_each(close);
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        _ => {}
    }
}

/// Returns whether a route belongs to the documented API. Pages and APIs that are described elsewhere
/// (docs/ARCHITECTURE.md) do not.
pub(crate) fn is_api(path: &str) -> bool {
    ["/api/", "/auth/token", "/healthz", "/readyz", "/openapi.json"].iter().any(|start| path.starts_with(start))
}

const DONE: &str = "Done";

/// Error responses of all routes, of routes with a body, and of routes that require a login.
const ALWAYS: [(&str, &str); 7] = [
    ("400", "The request is malformed"),
    ("404", "It is not there"),
    ("414", "The query is too long"),
    ("421", "This server does not answer to that host name"),
    ("422", "Some fields are wrong"),
    ("429", "Too many requests: `Retry-After` says when to come back"),
    ("503", "The database cannot be used at the moment: `Retry-After` says when to come back"),
];
const WITH_BODY: [(&str, &str); 2] = [("408", "The body took too long to arrive"), ("413", "The body is too large")];
const LOGGED_IN: [(&str, &str); 2] = [("401", "Not logged in"), ("403", "The role of this user is too low")];

fn operation(rule: &Rule, shape: &Shape, bodies: &mut SchemaGenerator, answers: &mut SchemaGenerator) -> Value {
    let changes = rule.method != Method::GET;
    let mut operation = Map::new();
    operation.insert("operationId".into(), json!(operation_id(rule)));
    if !shape.line.is_empty() {
        operation.insert("tags".into(), json!([shape.group]));
        operation.insert("summary".into(), json!(shape.line));
    }
    let mut responses = answers_of(shape, answers);
    let mut refuse = |refusals: &[(&str, &str)]| {
        for (status, text) in refusals {
            responses.entry(*status).or_insert_with(|| refused(status, text));
        }
    };
    refuse(&ALWAYS);
    if changes {
        refuse(&[("409", "It contradicts what is there")]);
    }
    if shape.also.is_some() {
        refuse(&[("406", "It cannot be had in that form")]);
    }
    if let Some(make) = shape.body {
        refuse(&WITH_BODY);
        let schema = make(bodies).to_value();
        let may_be_null = |kinds: &Vec<Value>| kinds.iter().any(|kind| kind["type"] == "null");
        let required = !schema["anyOf"].as_array().is_some_and(may_be_null);
        let body = json!({ "required": required, "content": { "application/json": { "schema": schema } } });
        operation.insert("requestBody".into(), body);
    }
    if let Access::Login(role) = rule.access {
        refuse(&LOGGED_IN);
        operation.insert("security".into(), json!([{ "bearer": [] }]));
        operation.insert("description".into(), json!(format!("For the role {role} and those above it.")));
    } else if changes {
        refuse(&LOGGED_IN[..1]);
    }
    operation.insert("parameters".into(), Value::Array(parameters(rule.path, shape)));
    operation.insert("responses".into(), Value::Object(responses));
    Value::Object(operation)
}

fn answers_of(shape: &Shape, answers: &mut SchemaGenerator) -> Map<String, Value> {
    let mut made = |make: &Make| make(answers).to_value();
    let place = json!({ "Location": { "required": true, "schema": { "type": "string" } } });
    let done = |schema: Value| {
        let mut content = Map::from_iter([("application/json".to_string(), json!({ "schema": schema }))]);
        content.extend(shape.also.map(|also| (also.to_string(), json!({ "schema": also_schema(also) }))));
        json!({ "description": DONE, "content": content })
    };
    let mut responses = Map::new();
    let (status, answer) = match &shape.answer {
        ResponseShape::Any => ("200", done(json!({}))),
        ResponseShape::Json(make) => ("200", done(made(make))),
        ResponseShape::Created(make) => ("201", done(made(make))),
        ResponseShape::Events => {
            let events = json!({ "text/event-stream": { "schema": { "type": "string" } } });
            ("200", json!({ "description": DONE, "content": events }))
        }
        ResponseShape::Nothing => ("204", json!({ "description": DONE })),
        ResponseShape::Elsewhere => ("307", json!({ "description": "Go there", "headers": place })),
    };
    if shape.may_be_late {
        let mut late = answer.clone();
        late["description"] = json!("It is still running: ask for the run at `Location`");
        late["headers"] = place;
        responses.insert("202".into(), late);
    }
    responses.insert(status.into(), answer);
    responses
}

fn also_schema(kind: &str) -> Value {
    if kind == "text/plain" { json!({ "type": "string" }) } else { json!({}) }
}

fn refused(status: &str, text: &str) -> Value {
    let schema = match status {
        "422" => "HTTPValidationError",
        "404" => "NotFound",
        _ => "HTTPExceptionResponse",
    };
    let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
    let mut answer = json!({ "description": text, "content": { "application/json": { "schema": schema } } });
    match status {
        "429" | "503" => {
            answer["headers"] = json!({ "Retry-After": { "required": true, "schema": { "type": "integer" } } });
        }
        "401" => answer["headers"] = json!({ "WWW-Authenticate": { "schema": { "type": "string" } } }),
        _ => {}
    }
    answer
}

fn parameters(path: &str, shape: &Shape) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = names.map(|name| {
        let text = || (about_text(name), json!({ "type": "string", "minLength": 1 }));
        let (about, schema) = path_numbers::described(name).unwrap_or_else(text);
        json!({ "name": name, "in": "path", "required": true, "description": about, "schema": schema })
    });
    let mut all: Vec<Value> = in_path.collect();
    all.extend(shape.query.iter().map(Param::described));
    if shape.has_key {
        let about = "The same key with the same body gives the same run, however often it is sent";
        all.push(json!({ "name": "Idempotency-Key", "in": "header", "required": false, "description": about,
            "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" } }));
    }
    if matches!(shape.answer, ResponseShape::Events) {
        let about = "The id of the last event that the client received: the changes since that event are sent first";
        all.push(json!({ "name": "Last-Event-ID", "in": "header", "required": false, "description": about,
            "schema": { "type": "string" } }));
    }
    all
}

/// Returns the description of a text parameter in a path.
fn about_text(name: &str) -> &'static str {
    match name {
        "dag_id" => "A DAG's id, or another name of it",
        "dag_run_id" => "A run's id",
        "task_id" => "A task's id, with those of its groups",
        "group_id" => "A task group's id",
        "xcom_key" => "The name of an output",
        "preset_name" => "A preset's name",
        "stream_name" => "A stream's name",
        _ => "",
    }
}

/// Returns an id such as `get_api_v2_dags_dag_id`. It is unique, because the combination of method and path is.
fn operation_id(rule: &Rule) -> String {
    let path: String = rule.path.chars().filter(|c| !['{', '}'].contains(c)).collect();
    let words = path.split(['/', '.']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_");
    let method = if rule.method == Method::GET { "get".into() } else { rule.method.as_str().to_lowercase() };
    format!("{method}_{words}")
}

fn refusals() -> [(&'static str, Value); 4] {
    let detail = json!({ "anyOf": [{ "type": "string" }, { "type": "object" }] });
    let exception = json!({ "type": "object", "required": ["detail"],
        "properties": { "detail": detail, "request_id": { "type": "string" } } });
    let problem = json!({ "type": "object", "required": ["loc", "msg", "type"], "properties": {
        "loc": { "type": "array", "items": { "anyOf": [{ "type": "string" }, { "type": "integer" }] } },
        "msg": { "type": "string" }, "type": { "type": "string" }, "input": {}, "ctx": { "type": "object" } } });
    let problems = json!({ "type": "array", "items": { "$ref": "#/components/schemas/ValidationError" } });
    let validation = json!({ "type": "object", "required": ["detail"],
        "properties": { "detail": { "anyOf": [problems, { "type": "string" }] } } });
    let no_route = json!({ "type": "object", "required": ["error"], "properties": { "error": { "type": "string" } } });
    let not_found = json!({ "anyOf": [{ "$ref": "#/components/schemas/HTTPExceptionResponse" }, no_route] });
    [
        ("HTTPExceptionResponse", exception),
        ("ValidationError", problem),
        ("HTTPValidationError", validation),
        ("NotFound", not_found),
    ]
}
