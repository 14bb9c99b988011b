//! Triggering: the results of valid requests, and the error of each invalid one.

use crate::browser::Browser;
use crate::fixture::Web;
use crate::shapes::{RUN, VERSION, assert_shape};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use orch_store::hint::Hint;
use serde_json::{Value, json};
use std::time::Duration;

const CHAIN: &str = "/api/v2/dags/chain/dagRuns";

#[tokio::test]
async fn a_run_comes_to_be_and_begins_and_the_answer_is_what_is_stored() {
    let web = Web::new().await;
    let body = json!({ "logical_date": null, "conf": { "b": [1, { "c": "ü😀" }], "a": 1.5 }, "note": "by hand" });
    let answer = web.post(CHAIN, &body).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_shape(&answer.body, RUN);
    assert_shape(&answer.body["dag_versions"][0], VERSION);
    for (field, expected) in [
        ("dag_id", json!("chain")),
        ("state", json!("running")),
        ("run_type", json!("manual")),
        ("triggered_by", json!("rest_api")),
        ("triggering_user_name", json!("admin")),
        ("note", json!("by hand")),
        ("conf", body["conf"].clone()),
        ("logical_date", json!(null)),
        ("data_interval_start", json!(null)),
    ] {
        assert_eq!(answer.body[field], expected, "{field}");
    }
    let run_id = answer.body["dag_run_id"].as_str().unwrap();
    assert!(run_id.starts_with("manual__20") && run_id.len() > 40, "{run_id}");
    let stored = web.get(&format!("{CHAIN}/{run_id}")).await;
    assert_eq!(stored.body, answer.body);
}

#[tokio::test]
async fn dates_and_names_are_taken_as_given() {
    let web = Web::new().await;
    let body = json!({ "dag_run_id": "my:run+1~x", "logical_date": "2026-11-02T01:00:00+01:00" });
    let answer = web.post(CHAIN, &body).await.body;
    assert_eq!((&answer["dag_run_id"], &answer["logical_date"]), (&body["dag_run_id"], &json!("2026-11-02T00:00:00Z")));
    assert_eq!(answer["state"], "running");
    let later = web.post(CHAIN, &json!({ "logical_date": "2099-01-01T00:00:00Z" })).await.body;
    assert_eq!((&later["logical_date"], &later["state"]), (&json!("2099-01-01T00:00:00Z"), &json!("running")));
    let (run_after, queued_at) = (later["run_after"].as_str().unwrap(), later["queued_at"].as_str().unwrap());
    assert_eq!(run_after, queued_at, "`run_after` defaults to now");
    assert_eq!(later["dag_run_id"], format!("manual__{}", run_after.replace('Z', "+00:00")));
    let body = json!({ "logical_date": "2026-11-03T00:00:00Z", "run_after": "2099-01-01T00:00:00Z",
        "data_interval_start": "2026-11-01T00:00:00Z", "data_interval_end": "2026-11-02T00:00:00Z" });
    let answer = web.post(CHAIN, &body).await.body;
    for field in ["logical_date", "run_after", "data_interval_start", "data_interval_end"] {
        assert_eq!(answer[field], body[field], "{field}");
    }
    assert_eq!((&answer["state"], &answer["start_date"]), (&json!("queued"), &json!(null)));
    assert_eq!(answer["dag_run_id"], "manual__2099-01-01T00:00:00+00:00");
}

#[tokio::test]
async fn a_paused_dag_gets_a_run_that_waits_and_another_name_leads_to_the_dag() {
    let web = Web::new().await;
    let waiting = web.post("/api/v2/dags/paused/dagRuns", &json!({ "logical_date": null })).await.body;
    assert_eq!((&waiting["state"], &waiting["start_date"]), (&json!("queued"), &json!(null)));
    let named = web.post("/api/v2/dags/old_chain/dagRuns", &json!({ "logical_date": null })).await.body;
    assert_eq!((&named["dag_id"], &named["state"]), (&json!("chain"), &json!("running")));
}

#[tokio::test]
async fn workers_hear_of_a_run_that_begins() {
    let web = Web::new().await;
    let hinted = web.hints.on(Hint::Ready).notified();
    tokio::pin!(hinted);
    hinted.as_mut().enable();
    web.trigger("chain").await;
    tokio::time::timeout(Duration::from_secs(1), hinted).await.expect("the hint was given before the answer");
}

#[tokio::test]
async fn what_exists_already_is_a_conflict_in_airflows_shape() {
    let web = Web::new().await;
    let body = json!({ "dag_run_id": "once", "logical_date": "2026-11-02T00:00:00Z" });
    assert_eq!(web.post(CHAIN, &body).await.status, StatusCode::OK);
    for (body, message) in [
        (json!({ "dag_run_id": "once", "logical_date": null }), "the dag `chain` has a run `once` already"),
        (
            json!({ "dag_run_id": "twice", "logical_date": "2026-11-02T00:00:00Z" }),
            "the dag `chain` has a run for the logical date 2026-11-02T00:00:00+00:00 already",
        ),
    ] {
        let answer = web.post(CHAIN, &body).await;
        let detail = json!({ "reason": "Unique constraint violation", "statement": "hidden", "orig_error": "hidden",
            "message": message });
        assert_eq!((answer.status, answer.body), (StatusCode::CONFLICT, json!({ "detail": detail })));
    }
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_same_run() {
    let web = Web::new().await;
    let send = async |dag_id: &str, key: &str| {
        let request = Request::post(format!("/api/v2/dags/{dag_id}/dagRuns"));
        let request = request.header("host", "localhost").header("authorization", format!("Bearer {}", web.token));
        let request = request.header("content-type", "application/json").header("idempotency-key", key);
        web.answer(request.body(Body::from(r#"{"logical_date": null}"#)).unwrap()).await
    };
    let (first, second) = (send("chain", "k1").await, send("chain", "k1").await);
    assert_eq!((first.status, second.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(first.body, second.body);
    assert!(!first.headers.contains_key("idempotent-replayed"));
    assert_eq!(second.headers["idempotent-replayed"], "true");
    assert_eq!(send("old_chain", "k1").await.body, first.body, "an alias names the same DAG");
    assert_ne!(send("chain", "k2").await.body["dag_run_id"], first.body["dag_run_id"]);
    assert_eq!(send("paused", "k1").await.body["dag_id"], "paused", "each dag has keys of its own");
    for bad in [String::new(), "x".repeat(256), "ü".into()] {
        assert_eq!(send("chain", &bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn a_conf_is_judged_by_the_params_of_the_dag() {
    let web = Web::new().await;
    let path = "/api/v2/dags/params/dagRuns";
    let good = json!({ "logical_date": null, "conf": { "table": "orders" } });
    assert_eq!(web.post(path, &good).await.status, StatusCode::OK);
    for (conf, words) in [
        (json!({ "table": 1 }), "`table` is an integer, not a string"),
        (json!({ "limit": "many" }), "`table` is missing; `limit` is a string, not an integer"),
        (json!({}), "`table` is missing"),
        (json!(null), "`table` is missing"),
    ] {
        let answer = web.post(path, &json!({ "logical_date": null, "conf": conf })).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{conf}");
        assert!(answer.body["detail"].as_str().is_some_and(|text| text.contains(words)), "{}", answer.body);
    }
}

/// Each case is a body and its problems, with type and location.
#[tokio::test]
async fn each_bad_body_is_told_what_is_wrong_with_it() {
    let web = Web::new().await;
    let date = "2026-11-02T00:00:00Z";
    for (body, expected) in [
        (json!({}), vec![("missing", "logical_date")]),
        (json!({ "logical_date": null, "other": 1 }), vec![("extra_forbidden", "other")]),
        (json!({ "logical_date": null, "run_id": "x" }), vec![("extra_forbidden", "run_id")]),
        (json!({ "logical_date": "2026-11-02T00:00:00" }), vec![("timezone_aware", "logical_date")]),
        (json!({ "logical_date": "2026-11-02" }), vec![("timezone_aware", "logical_date")]),
        (json!({ "logical_date": "soon" }), vec![("datetime_from_date_parsing", "logical_date")]),
        (json!({ "logical_date": true }), vec![("datetime_type", "logical_date")]),
        (json!({ "logical_date": [] }), vec![("datetime_type", "logical_date")]),
        (json!({ "logical_date": 1e300 }), vec![("datetime_from_date_parsing", "logical_date")]),
        (json!({ "logical_date": null, "run_after": "x" }), vec![("datetime_from_date_parsing", "run_after")]),
        (json!({ "logical_date": null, "conf": [] }), vec![("dict_type", "conf")]),
        (json!({ "logical_date": null, "conf": "{}" }), vec![("dict_type", "conf")]),
        (json!({ "logical_date": null, "note": 5 }), vec![("string_type", "note")]),
        (json!({ "logical_date": null, "dag_run_id": 5 }), vec![("string_type", "dag_run_id")]),
        (json!({ "logical_date": null, "note": "n".repeat(1_001) }), vec![("string_too_long", "note")]),
        (json!({ "logical_date": null, "data_interval_start": date }), vec![("value_error", "")]),
        (json!({ "logical_date": null, "note": "a\0b" }), vec![("value_error", "note")]),
        (json!({ "logical_date": null, "conf": { "x": ["\0"] } }), vec![("value_error", "conf")]),
        (json!({ "logical_date": null, "conf": { "x\0": 1 } }), vec![("value_error", "conf")]),
        (
            json!({ "dag_run_id": 1, "conf": 2, "extra": 3 }),
            vec![
                ("missing", "logical_date"),
                ("string_type", "dag_run_id"),
                ("dict_type", "conf"),
                ("extra_forbidden", "extra"),
            ],
        ),
        (json!([]), vec![("model_attributes_type", "")]),
        (json!("x"), vec![("model_attributes_type", "")]),
        (json!(null), vec![("model_attributes_type", "")]),
    ] {
        let answer = web.post(CHAIN, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {}", answer.body);
        let problems = answer.body["detail"].as_array().expect("a list").iter().map(|problem| {
            assert!(problem["msg"].is_string() && problem["loc"][0] == "body" && problem.get("input").is_some());
            (problem["type"].as_str().unwrap(), problem["loc"][1].as_str().unwrap_or_default())
        });
        assert_eq!(problems.collect::<Vec<_>>(), expected, "{body}");
    }
}

#[tokio::test]
async fn each_text_that_is_no_json_is_told_so() {
    let web = Web::new().await;
    let deep = format!(r#"{{"logical_date": null, "conf": {{"a": {}{}}}}}"#, "[".repeat(100), "]".repeat(100));
    for (text, kind) in [
        ("", "missing"),
        ("{", "json_invalid"),
        ("not json", "json_invalid"),
        (r#"{"logical_date": NaN}"#, "json_invalid"),
        (r#"{"logical_date": null, "conf": {"a": 1e400}}"#, "json_invalid"),
        (r#"{"logical_date": null} x"#, "json_invalid"),
        (r#"{"logical_date": null, "note": "\ud800"}"#, "json_invalid"),
        (r#"{"logical_date": null, "note": "\udc00\ud800"}"#, "json_invalid"),
        ("{\"logical_date\": null, \"note\": \"\u{1}\"}", "json_invalid"),
        (deep.as_str(), "json_invalid"),
    ] {
        let answer = web.send(Method::POST, CHAIN, Some(&web.token), Some(text.into())).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{text}: {}", answer.body);
        assert_eq!(answer.body["detail"][0]["type"], kind, "{text}: {}", answer.body);
    }
    let raw = |body: Vec<u8>, kind: &'static str| {
        let request = Request::post(CHAIN).header("host", "localhost").header("content-type", kind);
        let request = request.header("authorization", format!("Bearer {}", web.token)).body(Body::from(body)).unwrap();
        web.answer(request)
    };
    let not_utf8 = raw(b"{\"logical_date\": null, \"note\": \"\xff\"}".to_vec(), "application/json").await;
    assert_eq!(not_utf8.body["detail"][0]["type"], "json_invalid");
    let good = br#"{"logical_date": null}"#;
    assert_eq!(raw(good.to_vec(), "text/plain").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(raw(good.to_vec(), "application/json; charset=utf-8").await.status, StatusCode::OK);
}

#[tokio::test]
async fn ids_that_cannot_be_are_refused_by_name() {
    let web = Web::new().await;
    for id in ["", "a b", "a/b", "../x", "ü", "~", "a\nb", "<svg onload=x>"] {
        let answer = web.post(CHAIN, &json!({ "dag_run_id": id, "logical_date": null })).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{id:?}: {}", answer.body);
        assert!(answer.body["detail"].as_str().unwrap().starts_with("run id "), "{}", answer.body);
    }
    let long = web.post(CHAIN, &json!({ "dag_run_id": "x".repeat(251), "logical_date": null })).await;
    assert_eq!(long.status, StatusCode::BAD_REQUEST);
    for id in ["scheduled__x", "backfill__2026", "asset_triggered__1"] {
        let answer = web.post(CHAIN, &json!({ "dag_run_id": id, "logical_date": null })).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{id}");
        assert!(answer.body["detail"].as_str().unwrap().contains("reserved"), "{}", answer.body);
    }
    for dag_id in ["nothing", "~", "a%20b", "%00", "chain%2F.."] {
        let answer = web.post(&format!("/api/v2/dags/{dag_id}/dagRuns"), &json!({ "logical_date": null })).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{dag_id}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_body_over_a_conf_of_a_megabyte_is_too_large_however_it_comes() {
    let web = Web::new().await;
    let body = |size: usize| json!({ "logical_date": null, "conf": { "a": "x".repeat(size) } }).to_string();
    let answer = web.send(Method::POST, CHAIN, Some(&web.token), Some(body(1_200_000))).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    // The body is sent in chunks, without a `content-length`.
    let pieces = body(1_200_000).into_bytes();
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> = pieces.chunks(65_536).map(|piece| Ok(piece.to_vec())).collect();
    let request = Request::post(CHAIN).header("host", "localhost").header("content-type", "application/json");
    let request = request.header("authorization", format!("Bearer {}", web.token));
    let request = request.body(Body::from_stream(futures::stream::iter(pieces))).unwrap();
    assert_eq!(web.answer(request).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let fits = web.send(Method::POST, CHAIN, Some(&web.token), Some(body((1 << 20) - 8))).await;
    assert_eq!(fits.status, StatusCode::OK);
    let runs: Value = web.get(CHAIN).await.body;
    assert_eq!(runs["total_entries"], 1);
}

/// Each request holds one connection at a time. A request that held one and waited for another would block here until
/// the timeout.
#[tokio::test]
async fn one_connection_of_each_pool_is_enough() {
    let mut web = Web::new().await;
    let run = web.trigger("mapped").await;
    web.restart(|config| (config.hot_connections, config.page_connections) = (1, 1));
    let instance = format!("/api/v2/dags/mapped/dagRuns/{run}/taskInstances/each/1/dry_run");
    let wish = json!({ "new_state": "failed" });
    let mut browser = Browser::logged_in(&web).await;
    let token = browser.get("/dags/mapped/trigger").await.token();
    for round in 0..10 {
        let form = [("form_token", token.as_str()), ("do", "json")];
        let page = browser.send_form("/dags/mapped/trigger", &form, &[("sec-fetch-site", "same-origin")]);
        let (page, marks) = tokio::join!(page, async {
            [web.change(Method::PATCH, &instance, &wish).await, web.change(Method::PATCH, &instance, &wish).await]
        });
        assert_eq!(page.status, StatusCode::OK, "round {round}");
        assert!(marks.iter().all(|mark| mark.status == StatusCode::OK), "round {round}: {marks:?}");
    }
}
