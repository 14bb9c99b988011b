//! Why an instance waits at an admission gate: the API and the page report the same reason.

use crate::browser::Browser;
use crate::fixture::{Web, dag};
use axum::http::Method;
use orch_spec::state::TaskState;
use orch_store::admission::admit;
use orch_store::locks::Locks;
use orch_store::registry::{NewBundle, register_bundle};
use orch_store::run::get_run;
use orch_store::version::Versions;
use serde_json::json;

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[tokio::test]
async fn why_says_every_reason_and_who_is_in_the_way() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let gated = dag(json!({ "dag_id": "gated", "paused_at_creation": false, "tasks": [
        { "task_id": "t", "kind": "rust", "pool": "db", "limits": [{ "name": "crm", "most": 1 }] },
        { "task_id": "u", "kind": "rust", "pool": "nowhere" },
    ] }));
    register_bundle(&mut db, &NewBundle { name: "gated".into(), dags: vec![gated] }, false)
        .await
        .expect("it registers");
    web.change(Method::POST, "/api/v2/pools", &json!({ "name": "db", "slots": 1 })).await;
    let first = web.trigger("gated").await;
    let second = web.trigger("gated").await;
    admit(&mut db, &Locks::begin().slots(), &Versions::default()).await.expect("an admission");
    let why = async |run: &str, task: &str| {
        web.get(&format!("/api/orch/v1/dags/gated/runs/{run}/tasks/{task}/why")).await.body
    };
    let body = why(&second, "t").await;
    assert_eq!((&body["state"], &body["summary"]), (&json!("scheduled"), &body["reasons"][0]["reason"]));
    let words: Vec<_> = body["reasons"].as_array().unwrap().iter().map(|one| one["reason"].clone()).collect();
    assert_eq!(
        words,
        ["Pool 'db' has 0 of 1 slots open, and it wants 1.", "Limit 'crm' lets 1 in at a time, and they are in."]
    );
    for reason in body["reasons"].as_array().unwrap() {
        let holder = &reason["holders"][0];
        assert_eq!((&holder["dag_run_id"], &holder["task_id"]), (&json!(first), &json!("t")), "{reason}");
    }
    let missing = why(&first, "u").await;
    assert!(missing["summary"].as_str().unwrap().starts_with("Pool 'nowhere' does not exist"), "{missing}");
    let path = format!("/api/v2/dags/gated/dagRuns/{second}/taskInstances/t");
    let unmet = web.get(&format!("{path}/dependencies")).await.body;
    let names: Vec<_> = unmet["dependencies"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["Pool Slots Available", "Limit"]);
    let instance = web.get(&path).await.body;
    assert_eq!((&instance["state"], &instance["pool"]), (&json!("scheduled"), &json!("db")));
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get(&format!("/dags/gated/runs/{}/tasks/t", encoded(&second))).await;
    assert!(page.has("Pool &#39;db&#39; has 0 of 1 slots open") && page.has("In it: t of"), "{}", page.html);
    let run = get_run(&mut db, "gated", &second).await.unwrap().unwrap();
    assert_eq!(run.state.as_str(), "running");
}

/// The kind `retryable` says what may happen to an attempt, not what happened.
#[tokio::test]
async fn a_failed_attempt_is_not_called_retryable() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let run_id = web.trigger("chain").await;
    let run = get_run(&mut db, "chain", &run_id).await.unwrap().unwrap();
    let lease = web.claim(&mut db, run.id).await;
    web.end(&mut db, lease, TaskState::Failed, &["disk full"]).await;
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get(&format!("/dags/chain/runs/{}/tasks/t0", encoded(&run_id))).await;
    assert!(page.has("try 1, here: failed") && !page.has("retryable"), "{}", page.html);
}
