//! Any value in a request body is accepted or rejected with a message, without an internal server error.

use crate::fixture::Web;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

/// JSON texts for any field: strings that Postgres cannot store, numbers out of range, deep nesting, and values too
/// large for an index.
fn hostile() -> Vec<String> {
    // Random letters, which do not compress.
    let noise = |bytes: usize| {
        let mut state = 7_u64;
        let mut letter = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b"0123456789abcdefghijklmnopqrstuvwxyz"[(state >> 33) as usize % 36])
        };
        json!((0..bytes).map(|_| letter()).collect::<String>()).to_string()
    };
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let inside = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    let plain = [
        r#""""#,
        r#"" ""#,
        r#""a\u0000b""#,
        r#""\ud800""#,
        r#""\u202e\u0001""#,
        r#"{"a\u0000":1}"#,
        r#"["\u0000"]"#,
        "null",
        "true",
        "[]",
        "{}",
        "1e400",
        "-1e400",
        "1e308",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551616",
        "2147483648",
        "-1",
        "0.5",
        r#""+262000-01-01T00:00:00Z""#,
        r#""0000-01-01T00:00:00Z""#,
        r#""9999-12-31T23:59:59Z""#,
        r#""0001-01-01T00:00:00Z""#,
    ];
    let mut all: Vec<String> = plain.iter().map(ToString::to_string).collect();
    all.extend([noise(250), noise(2_000), noise(4_000), noise(100_000)]);
    all.extend([deep(100), deep(120), deep(10_000), inside(100), inside(120), inside(10_000)]);
    all
}

/// Valid bodies with their paths, and the fields that accept any value.
fn bodies(run: &str) -> Vec<(Method, String, Value)> {
    let range = json!({ "dag_id": "params", "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-01T00:00:00Z",
        "run_backwards": false, "max_active_runs": 1, "dag_run_conf": { "table": "a" }, "reprocess_behavior": "none" });
    let connection = json!({ "connection_id": "c", "conn_type": "x", "description": "d", "host": "h", "login": "l",
        "schema": "s", "port": 1, "password": "p", "extra": "{}" });
    let run_of_chain =
        format!("/api/v2/dags/chain/dagRuns/{}", form_urlencoded::byte_serialize(run.as_bytes()).collect::<String>());
    let to = |method: Method, path: &str, body: Value| (method, path.to_string(), body);
    vec![
        to(Method::POST, "/api/v2/variables", json!({ "key": "k", "value": "v", "description": "d" })),
        to(Method::PATCH, "/api/v2/variables/there", json!({ "key": "there", "value": "v", "description": "d" })),
        to(Method::POST, "/api/v2/connections", connection.clone()),
        to(Method::POST, "/api/v2/connections/test", connection),
        to(
            Method::POST,
            "/api/v2/pools",
            json!({ "name": "p", "slots": 1, "description": "d", "include_deferred": true }),
        ),
        to(
            Method::PATCH,
            "/api/v2/pools/default_pool",
            json!({ "name": "default_pool", "slots": 1, "include_deferred": true }),
        ),
        to(
            Method::POST,
            "/api/v2/dags/chain/dagRuns",
            json!({ "dag_run_id": "r", "logical_date": null, "data_interval_start": "2026-01-01T00:00:00Z",
                "data_interval_end": "2026-01-02T00:00:00Z", "run_after": "2026-01-01T00:00:00Z", "conf": {}, "note": "n",
                "partition_key": "k" }),
        ),
        to(Method::PATCH, &run_of_chain, json!({ "state": "queued", "note": "n" })),
        to(Method::POST, &format!("{run_of_chain}/clear"), json!({ "dry_run": true, "only_failed": false })),
        to(Method::PATCH, &format!("{run_of_chain}/taskInstances/t0"), json!({ "new_state": "success", "note": "n" })),
        to(
            Method::POST,
            &format!("{run_of_chain}/taskInstances/t0/xcomEntries"),
            json!({ "key": "k", "value": "v", "map_index": -1 }),
        ),
        to(
            Method::POST,
            "/api/v2/dags/chain/clearTaskInstances",
            json!({ "dry_run": true, "task_ids": ["t0"], "dag_run_id": run, "start_date": null, "end_date": null }),
        ),
        to(Method::POST, "/api/v2/backfills", range.clone()),
        to(Method::POST, "/api/v2/backfills/dry_run", range),
        to(Method::POST, "/api/v2/assets/events", json!({ "asset_id": 1, "extra": {}, "partition_key": "k" })),
        to(
            Method::POST,
            "/api/v2/dags/~/dagRuns/list",
            json!({ "dag_ids": ["a"], "page_limit": 1, "page_offset": 0,
            "start_date_gte": "2026-01-01T00:00:00Z", "states": ["failed"], "order_by": "id" }),
        ),
    ]
}

#[tokio::test]
async fn no_field_of_a_body_breaks_the_server() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let there = web.post("/api/v2/variables", &json!({ "key": "there", "value": "v" })).await;
    assert_eq!(there.status, StatusCode::CREATED, "{}", there.body);
    let mut broken = Vec::new();
    for (method, path, right) in bodies(&run) {
        let answer = web.send(method.clone(), &path, Some(&web.token), Some(right.to_string())).await;
        assert!(answer.status.as_u16() < 500, "{method} {path}: {} {}", answer.status, answer.body);
        for field in right.as_object().unwrap().keys() {
            for text in hostile() {
                let mut marked = right.clone();
                marked[field] = json!("here it goes");
                let body = marked.to_string().replace(r#""here it goes""#, &text);
                let answer = web.send(method.clone(), &path, Some(&web.token), Some(body)).await;
                let is_told = answer.status.is_success() || answer.body["detail"] != Value::Null;
                if answer.status.is_server_error() || !is_told {
                    let text: String = text.chars().take(60).collect();
                    broken.push(format!("{method} {path} {field} = {text}: {} {}", answer.status, answer.body));
                }
            }
        }
    }
    assert_eq!(broken, [""; 0], "{} of them", broken.len());
    // Accepted values can be read.
    for path in
        ["variables", "connections", "pools", "dags/~/dagRuns", "backfills?dag_id=params", "assets/events", "eventLogs"]
    {
        let answer = web.get(&format!("/api/v2/{path}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    }
}
