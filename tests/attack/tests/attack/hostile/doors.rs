//! The inputs of an installation: params, outputs, DAG files, stream files, catalog requests, and every route that
//! writes.

use super::values::Values;
use crate::client::{FORM, JSON, Login, request};
use crate::installation::Installation;
use orch_web::{Door, Rule, rules};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The DAG whose params are set to the values.
pub(crate) const TARGET: &str = "target";
/// The DAG that routes write to. Requests may pause it or fail its runs.
const ROUTED: &str = "routed";
/// Routes that end the login of their sender, or the login with id 1.
const NOT_SENT: [&str; 3] = ["/auth/logout", "/logout", "/account/logins/{login_id}/end"];
/// Maximum depth of a body that is generated from its schema.
const MAX_SCHEMA_DEPTH: usize = 6;

/// A request with a description for failures.
pub(crate) struct Case {
    pub(crate) label: String,
    pub(crate) bytes: Vec<u8>,
    /// True if the request sends a wrong name and password.
    pub(crate) is_login: bool,
}

pub(crate) struct Doors {
    login: Login,
    run_of_target: String,
    run_of_routed: String,
    /// Routes that write, with the schema of the body.
    routes: Vec<(Rule, Value)>,
    openapi: Value,
    /// Names of the fields of all forms.
    fields: Vec<String>,
    catalog: Vec<(&'static str, &'static str, Value)>,
}

impl Doors {
    pub(crate) async fn open(installation: &Installation, login: &Login) -> Doors {
        let tasks = json!({
            "a": { "value": { "p": "{{ params.p | default('none') }}", "q": "{{ conf.q | default('none') }}" } },
            "b": { "value": "{{ upstream.a.output }}" },
        });
        for dag in [TARGET, ROUTED] {
            let dag_file = json!({ "dag_id": dag, "params": { "p": { "default": [1] } }, "tasks": tasks });
            installation.put(&format!("{dag}.json"), dag_file.to_string());
        }
        installation.until_registered(TARGET, login).await;
        installation.until_registered(ROUTED, login).await;
        let run_of_target = installation.trigger(TARGET, login, &json!({})).await.replace('+', "%2B");
        let run_of_routed = installation.trigger(ROUTED, login, &json!({})).await.replace('+', "%2B");
        let openapi = installation.get("/openapi.json", login).await.json();
        let writes = rules().into_iter().filter(|rule| rule.method != "GET" && !NOT_SENT.contains(&rule.path));
        let routes = writes.map(|rule| {
            let operation = &openapi["paths"][rule.path][rule.method.as_str().to_lowercase()];
            let schema = operation["requestBody"]["content"]["application/json"]["schema"].clone();
            (rule, schema)
        });
        let routes = routes.collect();
        let mut doors = Doors {
            login: login.clone(),
            run_of_target,
            run_of_routed,
            routes,
            openapi,
            fields: Vec::new(),
            catalog: catalog_bodies(),
        };
        let made = json!({ "namespace": ["hostile"] });
        installation.send_json("POST", "/catalog/v1/namespaces", login, &made).await;
        let mut names = BTreeSet::new();
        for rule in rules().iter().filter(|rule| rule.door == Door::Page && rule.method == "GET") {
            if !rule.path.ends_with("/events") {
                let page = installation.get(&doors.filled(rule, "1"), login).await;
                let fields = page.body.split(" name=\"").skip(1).filter_map(|rest| rest.split('"').next());
                names.extend(fields.map(str::to_owned));
            }
        }
        names.remove("form_token");
        assert!(names.len() > 30, "{names:?}");
        doors.fields = names.into_iter().collect();
        doors
    }

    /// Fills the path of a route with existing names. `other` replaces all other parameters.
    fn filled(&self, rule: &Rule, other: &str) -> String {
        // A route that deletes a DAG gets the DAG of a hostile file.
        let deletes = rule.method == "DELETE" || rule.path.ends_with("/delete");
        let parts = rule.path.split('/').map(|part| match part {
            "{dag_id}" if deletes => "file_0",
            "{dag_id}" => ROUTED,
            "{dag_run_id}" => self.run_of_routed.as_str(),
            "{task_id}" => "a",
            "{map_index}" => "-1",
            part if part.starts_with('{') => other,
            part => part,
        });
        parts.collect::<Vec<_>>().join("/")
    }

    /// Returns a request. The number of the case selects the input.
    pub(crate) fn request(&self, number: usize, values: &mut Values) -> Case {
        match number % 4 {
            0 => {
                let body = json!({ "logical_date": null, "conf": { "p": [1, "a"], "q": { "x": 1 } } });
                self.case("POST", &format!("/api/v2/dags/{TARGET}/dagRuns"), JSON, &values.spoil(&body))
            }
            1 => {
                let entry = json!({ "key": format!("k{number}"), "value": { "a": [1] }, "map_index": -1 });
                let path = format!("/api/v2/dags/{TARGET}/dagRuns/{}/taskInstances/a/xcomEntries", self.run_of_target);
                self.case("POST", &path, JSON, &values.spoil(&entry))
            }
            2 => {
                let (method, path, body) = values.rng.pick(&self.catalog).clone();
                let part = if values.rng.one_in(4) { values.path_part() } else { "hostile".into() };
                let path = path.replace("{namespace}", &part);
                let body = if body.is_null() { Vec::new() } else { values.spoil(&body) };
                self.case(method, &path, JSON, &body)
            }
            _ => self.write(values),
        }
    }

    /// Returns a request to a random route that writes.
    fn write(&self, values: &mut Values) -> Case {
        let (rule, schema) = values.rng.pick(&self.routes).clone();
        let other = if values.rng.one_in(3) { values.path_part() } else { "1".into() };
        let mut path = self.filled(&rule, &other).replace("{*path}", "v1/namespaces");
        match rule.path {
            // Without the pattern, the route also pauses the chain.
            "/api/v2/dags" => path += "?dag_id_pattern=routed",
            // Without `wait=0`, the route waits up to 30 s for the end of the run.
            "/api/orch/v1/dags/{dag_id}/trigger" => path += "?wait=0",
            _ => {}
        }
        if rule.door == Door::Page {
            let count = values.rng.below(6);
            let fields: Vec<_> = (0..count).map(|_| (values.rng.pick(&self.fields).clone(), values.text())).collect();
            return self.case(rule.method.as_str(), &path, FORM, &self.login.form(&fields));
        }
        let body = self.sample(&schema, 0);
        let body = if body.is_null() && values.rng.one_in(2) { Vec::new() } else { values.spoil(&body) };
        self.case(rule.method.as_str(), &path, JSON, &body)
    }

    pub(crate) fn case(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Case {
        let shown = String::from_utf8_lossy(&body[..body.len().min(300)]);
        let label = format!("{method} {path} {shown} ({} bytes)", body.len());
        let is_login = path.starts_with("/auth/token") || path == "/login";
        Case { label, bytes: request(method, path, Some(&self.login), kind, body), is_login }
    }

    /// Returns a value that fits a schema of the API.
    fn sample(&self, schema: &Value, depth: usize) -> Value {
        if depth > MAX_SCHEMA_DEPTH {
            return Value::Null;
        }
        if let Some(place) = schema["$ref"].as_str() {
            return self.openapi.pointer(&place[1..]).map_or(Value::Null, |found| self.sample(found, depth + 1));
        }
        if let Some(choices) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
            return choices.first().map_or(Value::Null, |first| self.sample(first, depth + 1));
        }
        if let Some(first) = schema["enum"].as_array().and_then(|words| words.first()).or(schema.get("const")) {
            return first.clone();
        }
        let kind = schema["type"].as_str().or(schema["type"][0].as_str());
        match kind {
            Some("string") if schema["format"] == "date-time" => json!("2026-01-01T00:00:00Z"),
            Some("string") => json!("hostile"),
            Some("integer") => json!(1),
            Some("number") => json!(0.5),
            Some("boolean") => json!(false),
            Some("array") => json!([self.sample(&schema["items"], depth + 1)]),
            Some("object") => {
                let fields = schema["properties"].as_object().into_iter().flatten();
                fields.map(|(name, field)| (name.clone(), self.sample(field, depth + 1))).collect()
            }
            _ => Value::Null,
        }
    }
}

/// Returns valid requests to the catalog.
fn catalog_bodies() -> Vec<(&'static str, &'static str, Value)> {
    let schema = json!({ "type": "struct", "schema-id": 0,
        "fields": [{ "id": 1, "name": "id", "required": false, "type": "long" }] });
    let sql = json!({ "type": "sql", "sql": "select 1 as id", "dialect": "spark" });
    let version = json!({ "version-id": 1, "schema-id": 0, "timestamp-ms": 1_700_000_000_000_i64, "summary": {},
        "default-namespace": ["hostile"], "representations": [sql] });
    let entry = |name: &str| json!({ "namespace": ["hostile"], "name": name });
    let commit = json!({ "identifier": entry("orders"), "requirements": [{ "type": "assert-table-uuid", "uuid": "u" }],
        "updates": [{ "action": "set-properties", "updates": { "a": "b" } }] });
    let namespace = "/catalog/v1/namespaces/{namespace}";
    let tables = "/catalog/v1/namespaces/{namespace}/tables";
    vec![
        ("POST", "/catalog/v1/namespaces", json!({ "namespace": ["hostile", "a"], "properties": { "a": "b" } })),
        ("GET", namespace, Value::Null),
        ("DELETE", namespace, Value::Null),
        (
            "POST",
            "/catalog/v1/namespaces/{namespace}/properties",
            json!({ "removals": ["a"], "updates": { "b": "c" } }),
        ),
        (
            "POST",
            tables,
            json!({ "name": "orders", "location": null, "schema": schema, "stage-create": false,
                "partition-spec": { "spec-id": 0, "fields": [] }, "properties": { "format-version": "2" } }),
        ),
        ("POST", "/catalog/v1/namespaces/{namespace}/tables/orders", commit.clone()),
        ("DELETE", "/catalog/v1/namespaces/{namespace}/tables/orders", Value::Null),
        ("POST", "/catalog/v1/transactions/commit", json!({ "table-changes": [commit] })),
        ("POST", "/catalog/v1/tables/rename", json!({ "source": entry("orders"), "destination": entry("others") })),
        (
            "POST",
            "/catalog/v1/namespaces/{namespace}/register",
            json!({ "name": "orders", "metadata-location": "file:///nowhere", "overwrite": false }),
        ),
        (
            "POST",
            "/catalog/v1/namespaces/{namespace}/views",
            json!({ "name": "seen", "schema": schema, "view-version": version, "properties": {} }),
        ),
        (
            "POST",
            "/catalog/v1/namespaces/{namespace}/tables/orders/metrics",
            json!({ "report-type": "scan-report", "snapshot-id": 1, "filter": { "type": "true" } }),
        ),
    ]
}

/// Returns the name and bytes of a DAG file `file_SLOT`.
pub(crate) fn dag_file(slot: usize, values: &mut Values) -> (String, Vec<u8>) {
    let right = json!({
        "dag_id": format!("file_{slot}"), "description": "a", "tags": ["x"], "max_active_runs": 2, "owners": ["ada"],
        "params": { "p": { "type": "integer", "minimum": 0, "default": 1 }, "q": "a" },
        "defaults": { "retries": 0, "timeout": "30s" },
        "tasks": {
            "a": { "value": { "x": "{{ params.p }}", "y": [1, "b"] }, "priority": 1, "pool_slots": 1, "pool": "default_pool" },
            "m": { "map": [1, 2], "value": "{{ element }}", "max_active": 1, "trigger_rule": "all_done" },
            "g": { "after": "a", "tasks": { "c": { "value": "{{ upstream.a.output.x | default(1) | int }}" } } },
            "s": { "sensor": { "file": "/nonexistent", "timeout": "1s", "on_timeout": "skip", "poke": "1s" } },
        },
    });
    if values.are_hostile && values.rng.one_in(4) {
        let text = values.text();
        let before = format!("dag_id: file_{slot}\ntasks:\n  a: {{value: 1}}\n  b:\n    value: ");
        let bytes = match values.rng.below(4) {
            0 => doubled_aliases().into_bytes(),
            1 => "- ".repeat(100_000).into_bytes(),
            _ => [before.as_bytes(), &text, b"\n"].concat(),
        };
        return (format!("file_{slot}.yaml"), bytes);
    }
    (format!("file_{slot}.yaml"), values.spoil(&right))
}

fn doubled_aliases() -> String {
    let lines = (1..40).map(|n| format!("a{n}: &a{n} [*a{m}, *a{m}]\n", m = n - 1));
    ["a0: &a0 x\n".to_owned()].into_iter().chain(lines).collect()
}

/// Returns the name and bytes of a stream file `stream_SLOT`.
pub(crate) fn stream_file(slot: usize, values: &mut Values) -> (String, Vec<u8>) {
    let right = json!({
        "description": "a", "topic": format!("topic_{slot}"), "partitions": 1,
        "fields": { "city": "text", "celsius": "number", "at": "timestamp", "station": { "id": "integer", "tags": ["text"] } },
        "columns": { "city": "upper(city)", "fahrenheit": "celsius * 1.8 + 32", "at": "at" },
        "where": "celsius is not null", "table": format!("hostile.stream_{slot}"),
    });
    (format!("stream_{slot}.stream.yaml"), values.spoil(&right))
}
