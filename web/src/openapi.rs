//! `/openapi.json`: the routes of the list, with the types that handlers answer with. Nothing of it is written twice but
//! the fields of bodies, which handlers read one by one: `api/bodies.rs`.

use crate::routes::{Access, Rule};
use axum::http::Method;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

type Make = fn(&mut SchemaGenerator) -> Schema;

/// What a route takes and gives, beside its rule.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    body: Option<Make>,
    answer: Answer,
    /// A list: with a limit, an offset and orders.
    paged: bool,
}

#[derive(Debug, Clone, Default)]
enum Answer {
    /// JSON of a shape that is not said.
    #[default]
    Any,
    Json(Make),
    Created(Make),
    /// 204.
    Nothing,
}

impl Shape {
    pub(crate) fn takes<T: JsonSchema>(&mut self) {
        self.body = Some(SchemaGenerator::subschema_for::<T>);
    }

    pub(crate) fn gives<T: JsonSchema>(&mut self) {
        self.answer = Answer::Json(SchemaGenerator::subschema_for::<T>);
    }

    pub(crate) fn creates<T: JsonSchema>(&mut self) {
        self.answer = Answer::Created(SchemaGenerator::subschema_for::<T>);
    }

    pub(crate) fn gives_nothing(&mut self) {
        self.answer = Answer::Nothing;
    }

    pub(crate) fn is_paged(&mut self) {
        self.paged = true;
    }
}

/// The whole document. Pages for browsers are not in it.
pub(crate) fn document(routes: &[(Rule, Shape)]) -> Value {
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
    schemas.extend(bodies.take_definitions(true));
    schemas.insert("Refusal".into(), refusal());
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

/// For programs, not for people at a browser.
pub(crate) fn is_api(path: &str) -> bool {
    ["/api/", "/auth/token", "/healthz", "/readyz", "/openapi.json"].iter().any(|start| path.starts_with(start))
}

fn operation(rule: &Rule, shape: &Shape, bodies: &mut SchemaGenerator, answers: &mut SchemaGenerator) -> Value {
    let refused = |text: &str| {
        json!({ "description": text, "content": { "application/json": {
            "schema": { "$ref": "#/components/schemas/Refusal" } } } })
    };
    let done =
        |schema: Value| json!({ "description": "Done", "content": { "application/json": { "schema": schema } } });
    let mut responses = Map::new();
    match shape.answer {
        Answer::Any => responses.insert("200".into(), done(json!({}))),
        Answer::Json(make) => responses.insert("200".into(), done(make(answers).to_value())),
        Answer::Created(make) => responses.insert("201".into(), done(make(answers).to_value())),
        Answer::Nothing => responses.insert("204".into(), json!({ "description": "Done" })),
    };
    for (status, text) in [
        ("400", "It makes no sense"),
        ("404", "It is not there"),
        ("409", "It contradicts what is there"),
        ("422", "Some fields are wrong"),
        ("503", "The database cannot be used at the moment"),
    ] {
        responses.insert(status.into(), refused(text));
    }
    let mut operation = Map::new();
    operation.insert("operationId".into(), json!(operation_id(rule)));
    if let Access::Login(role) = rule.access {
        responses.insert("401".into(), refused("Nobody is logged in"));
        responses.insert("403".into(), refused("Whoever is logged in may not do that"));
        operation.insert("security".into(), json!([{ "bearer": [] }]));
        operation.insert("description".into(), json!(format!("For the role {role} and those above it.")));
    }
    operation.insert("parameters".into(), Value::Array(parameters(rule.path, shape.paged)));
    if let Some(make) = shape.body {
        let schema = make(bodies).to_value();
        let body = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
        operation.insert("requestBody".into(), body);
    }
    operation.insert("responses".into(), Value::Object(responses));
    Value::Object(operation)
}

fn parameters(path: &str, paged: bool) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let number = ["map_index", "version_number", "try_number", "task_try_number", "event_log_id", "import_error_id"];
    let kind = |name: &str| if number.contains(&name) { "integer" } else { "string" };
    let in_path =
        names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": kind(name) } }));
    let mut all: Vec<Value> = in_path.collect();
    if paged {
        for (name, usual) in [("limit", 50), ("offset", 0)] {
            let schema = json!({ "type": "integer", "minimum": 0, "default": usual });
            all.push(json!({ "name": name, "in": "query", "required": false, "schema": schema }));
        }
        let schema = json!({ "type": "array", "items": { "type": "string" } });
        all.push(json!({ "name": "order_by", "in": "query", "required": false, "schema": schema }));
    }
    all
}

/// `get_api_v2_dags_dag_id`: unique, because method and path are.
fn operation_id(rule: &Rule) -> String {
    let path: String = rule.path.chars().filter(|c| !['{', '}'].contains(c)).collect();
    let words = path.split(['/', '.']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_");
    let method = if rule.method == Method::GET { "get".into() } else { rule.method.as_str().to_lowercase() };
    format!("{method}_{words}")
}

/// A text, a list of wrong fields, or an object.
fn refusal() -> Value {
    json!({ "type": "object", "properties": { "detail": { "anyOf": [
        { "type": "string" }, { "type": "array", "items": { "type": "object" } }, { "type": "object" } ] } } })
}
