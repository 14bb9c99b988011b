//! Compares `/openapi.json` with the routes, the responses and the bodies that handlers accept.

use crate::fixture::{JsonReply, Web};
use axum::http::Method;
use orch_web::rules;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(place) => document.pointer(&place[1..]).unwrap_or_else(|| panic!("{place} leads nowhere")),
        None => schema,
    }
}

/// Validates a value against the subset of JSON Schema that the document uses.
fn fits(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let schema = resolve(document, schema);
    if let Some(choices) = schema["anyOf"].as_array() {
        let found: Vec<_> = choices.iter().map(|choice| fits(document, choice, value)).collect();
        return if found.iter().any(Result::is_ok) { Ok(()) } else { Err(format!("{value}: {found:?}")) };
    }
    let is = |kind: &str| match kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("`{other}` is no type"),
    };
    let allowed = match &schema["type"] {
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().any(|kind| is(kind.as_str().unwrap())),
        _ => true,
    };
    if !allowed {
        return Err(format!("{value} is not of type {}", schema["type"]));
    }
    if let (Value::Object(value), Some(properties)) = (value, schema["properties"].as_object()) {
        for name in schema["required"].as_array().into_iter().flatten() {
            value.get(name.as_str().unwrap()).ok_or_else(|| format!("{name} is missing"))?;
        }
        for (name, field) in value {
            let property = properties.get(name).ok_or_else(|| format!("`{name}` is not described"))?;
            fits(document, property, field).map_err(|why| format!("{name}: {why}"))?;
        }
    }
    if let (Value::Array(list), true) = (value, schema["items"].is_object()) {
        list.iter().try_for_each(|entry| fits(document, &schema["items"], entry))?;
    }
    Ok(())
}

fn all_refs(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).map(String::from));
            map.values().for_each(|value| all_refs(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| all_refs(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_route_of_the_api_is_described_once() {
    let web = Web::new().await;
    let document = web.get("/openapi.json").await.body;
    let mut ids = BTreeSet::new();
    for rule in rules().iter().filter(|rule| rule.path.starts_with("/api/")) {
        let operation = &document["paths"][rule.path][rule.method.as_str().to_lowercase()];
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{} {}", rule.method, rule.path));
        assert!(ids.insert(id.to_string()), "{id} is there twice");
        let names = rule.path.matches('{').count();
        let described = operation["parameters"].as_array().unwrap().iter().filter(|p| p["in"] == "path").count();
        assert_eq!(names, described, "{}", rule.path);
        let says_all = ["favorite", "/pause", "/unpause", "/cancel", "/move", "/retry", "/resume", "/restart"]
            .iter()
            .any(|end| rule.path.ends_with(end));
        let has_body = [Method::POST, Method::PATCH, Method::PUT].contains(&rule.method) && !says_all;
        assert_eq!(operation["requestBody"].is_object(), has_body, "{} {}", rule.method, rule.path);
    }
    let mut refs = BTreeSet::new();
    all_refs(&document, &mut refs);
    refs.iter().for_each(|place| {
        resolve(&document, &json!({ "$ref": place }));
    });
    assert!(refs.len() > 25, "{refs:?}");
}

#[tokio::test]
async fn a_parameter_that_a_route_does_not_read_is_refused_with_those_that_it_reads() {
    let web = Web::new().await;
    let document = web.get("/openapi.json").await.body;
    for rule in rules().iter().filter(|rule| rule.path.starts_with("/api/") && rule.path != "/api/orch/v1/events") {
        let parts = rule.path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
        let path = format!("{}?odd_name=1", parts.collect::<Vec<_>>().join("/"));
        let answer = web.change(rule.method.clone(), &path, &Value::Null).await;
        let problem = &answer.body["detail"][0];
        assert_eq!(
            (answer.status.as_u16(), &problem["loc"]),
            (422, &json!(["query", "odd_name"])),
            "{} {path}",
            rule.method
        );
        let operation = &document["paths"][rule.path][rule.method.as_str().to_lowercase()];
        for parameter in operation["parameters"].as_array().unwrap().iter().filter(|one| one["in"] == "query") {
            let (words, name) = (problem["msg"].as_str().unwrap(), parameter["name"].as_str().unwrap());
            assert!(words.contains(name), "{} {path} does not name {name}: {words}", rule.method);
        }
    }
    assert_eq!(web.get("/healthz?odd_name=1").await.status.as_u16(), 200, "probes may add what they like");
}

#[tokio::test]
async fn the_reference_shows_every_operation_with_who_may_and_a_call() {
    let web = Web::new().await;
    let document = web.get("/openapi.json").await.body;
    let page = crate::browser::Browser::logged_in(&web).await.get("/docs").await;
    assert_eq!(page.status, 200);
    let operations = document["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, operation)| (method.to_uppercase(), path, operation))
    });
    for (method, path, operation) in operations {
        assert!(operation["summary"].is_string(), "{method} {path} has no line of its own");
        assert!(page.has(&format!("<code>{method} {path}</code>")), "{method} {path} is not shown");
    }
    for part in ["For the role op and those above it.", "update_mask", "curl -X PATCH", "only_failed", "Retry-After"] {
        assert!(page.has(part), "{part}");
    }
    assert!(page.html.len() < 1_000_000, "{}", page.html.len());
}

#[tokio::test]
async fn answers_are_as_described() {
    let web = Web::new().await;
    let document = web.get("/openapi.json").await.body;
    let run = web.trigger("mapped").await;
    let instances = format!("/api/v2/dags/mapped/dagRuns/{run}/taskInstances");
    let mut db = web.db().await;
    let id = orch_store::run::get_run(&mut db, "mapped", &run).await.unwrap().unwrap().id;
    let lease = web.claim(&mut db, id).await;
    assert!(orch_store::output::put(&mut db, lease, "return_value", &json!([1])).await.unwrap());
    let task = if lease.map_index < 0 { "list".to_string() } else { "each".to_string() };
    let index = lease.map_index;
    let of = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances";
    for (route, path) in [
        ("/api/v2/dags".to_string(), "/api/v2/dags".to_string()),
        ("/api/v2/dags/{dag_id}".into(), "/api/v2/dags/params".into()),
        ("/api/v2/dags/{dag_id}/details".into(), "/api/v2/dags/params/details".into()),
        ("/api/v2/dags/{dag_id}/tasks".into(), "/api/v2/dags/chain/tasks".into()),
        ("/api/v2/dags/{dag_id}/dagVersions".into(), "/api/v2/dags/~/dagVersions".into()),
        ("/api/v2/dagStats".into(), "/api/v2/dagStats".into()),
        ("/api/v2/dagTags".into(), "/api/v2/dagTags".into()),
        ("/api/v2/dagSources/{dag_id}".into(), "/api/v2/dagSources/chain".into()),
        ("/api/v2/config".into(), "/api/v2/config".into()),
        ("/api/v2/dags/{dag_id}/dagRuns".into(), "/api/v2/dags/~/dagRuns".into()),
        (of.into(), instances.clone()),
        (format!("{of}/{{task_id}}/{{map_index}}"), format!("{instances}/{task}/{index}")),
        (format!("{of}/{{task_id}}/tries"), format!("{instances}/{task}/tries?map_index={index}")),
        (format!("{of}/{{task_id}}/logs/{{try_number}}"), format!("{instances}/{task}/logs/1?map_index={index}")),
        (format!("{of}/{{task_id}}/dependencies"), format!("{instances}/later/dependencies")),
        (format!("{of}/{{task_id}}/xcomEntries"), format!("{instances}/~/xcomEntries")),
        (
            format!("{of}/{{task_id}}/xcomEntries/{{xcom_key}}"),
            format!("{instances}/{task}/xcomEntries/return_value?map_index={index}"),
        ),
        ("/api/v2/eventLogs".into(), "/api/v2/eventLogs".into()),
        ("/api/v2/jobs".into(), "/api/v2/jobs".into()),
        ("/api/v2/monitor/health".into(), "/api/v2/monitor/health".into()),
        ("/api/v2/version".into(), "/api/v2/version".into()),
        (
            "/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/why".into(),
            format!("/api/orch/v1/dags/mapped/runs/{run}/tasks/later/why"),
        ),
        (
            "/api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}/tries".into(),
            format!("/api/orch/v1/dags/mapped/runs/{run}/tasks/{task}/tries?map_index={index}"),
        ),
        ("/api/orch/v1/dags/{dag_id}/structure".into(), "/api/orch/v1/dags/chain/structure".into()),
        ("/api/orch/v1/assets/dependencies".into(), "/api/orch/v1/assets/dependencies".into()),
    ] {
        is_as_described(&document, ("get", &route), &web.get(&path).await);
    }
    let cleared = web.post(&format!("/api/v2/dags/mapped/dagRuns/{run}/clear"), &json!({})).await;
    let clear = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/clear";
    is_as_described(&document, ("post", clear), &cleared);
    let many = |dry_run: bool| json!({ "dry_run": dry_run, "dag_runs": [{ "dag_run_id": run }] });
    for dry_run in [true, false] {
        let cleared = web.post("/api/v2/dags/mapped/clearDagRuns", &many(dry_run)).await;
        is_as_described(&document, ("post", "/api/v2/dags/{dag_id}/clearDagRuns"), &cleared);
    }
    let cleared = web.post(&format!("/api/v2/dags/mapped/dagRuns/{run}/clear"), &json!({ "dry_run": false })).await;
    is_as_described(&document, ("post", clear), &cleared);
}

/// Checks that the response of a route has the documented shape.
pub(crate) fn is_as_described(document: &Value, (method, route): (&str, &str), answer: &JsonReply) {
    assert_eq!(answer.status, 200, "{route}: {}", answer.body);
    let schema = &document["paths"][route][method]["responses"]["200"]["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{route} is not described");
    assert_eq!(fits(document, schema, &answer.body), Ok(()), "{route}");
}

#[tokio::test]
async fn every_field_of_a_described_body_is_taken_and_no_other() {
    let web = Web::new().await;
    let document = web.get("/openapi.json").await.body;
    for rule in rules().iter().filter(|rule| rule.path.starts_with("/api/")) {
        let operation = &document["paths"][rule.path][rule.method.as_str().to_lowercase()];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if !schema.is_object() {
            continue;
        }
        let schema = schema["anyOf"].get(0).unwrap_or(schema);
        let properties = resolve(&document, schema)["properties"].as_object().expect("an object");
        let path = rule
            .path
            .replace("{dag_id}", "chain")
            .replace("{map_index}", "0")
            .replace("{asset_id}", "1")
            .replace(['{', '}'], "");
        let send = async |body: Map<String, Value>| {
            let answer = web.change(rule.method.clone(), &path, &Value::Object(body)).await;
            answer.body["detail"].to_string()
        };
        // All fields have a type that none accepts. A field that the handler lacks would be `extra_forbidden`.
        let all = properties.keys().map(|name| (name.clone(), json!({ "odd": [] }))).collect();
        let said = send(all).await;
        assert!(!said.contains("extra_forbidden"), "{} {}: {said}", rule.method, rule.path);
        let other = send(Map::from_iter([("odd_field".to_string(), json!(1))])).await;
        assert!(other.contains("extra_forbidden"), "{} {}: {other}", rule.method, rule.path);
    }
}
