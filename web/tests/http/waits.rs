//! Requests that trigger a run and wait for it, and repeated idempotency keys.

use crate::fixture::Web;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use orch_spec::state::TaskState;
use orch_store::locks::Locks;
use orch_store::run::get_run;
use orch_store::version::Versions;
use serde_json::{Value, json};

const CHAIN: &str = "/api/orch/v1/dags/chain/trigger";

async fn send(web: &Web, path: &str, key: Option<&str>, body: &Value) -> crate::fixture::JsonReply {
    let mut request = Request::post(path).header("host", "localhost").header("content-type", "application/json");
    request = request.header("authorization", format!("Bearer {}", web.token));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    web.answer(request.body(Body::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn a_run_that_takes_longer_is_named_and_one_that_ends_is_told_whole() {
    let web = Web::new().await;
    let late = send(&web, "/api/orch/v1/dags/mapped/trigger?wait=0", None, &json!({})).await;
    assert_eq!((late.status, &late.body["over"]), (StatusCode::ACCEPTED, &json!(false)), "{}", late.body);
    let place = late.headers["location"].to_str().unwrap();
    assert_eq!(web.get(place).await.body["dag_run_id"], late.body["run"]["dag_run_id"]);
    let (path, named) = (format!("{CHAIN}?wait=60&result=t0&result=no"), json!({ "dag_run_id": "mine" }));
    let waits = send(&web, &path, None, &named);
    let ends = async {
        let mut db = web.db().await;
        let id = loop {
            match get_run(&mut db, "chain", "mine").await.unwrap() {
                Some(run) => break run.id,
                None => tokio::task::yield_now().await,
            }
        };
        let lease = web.claim(&mut db, id).await;
        assert!(orch_store::output::put(&mut db, lease, "return_value", &json!({ "rows": 7 })).await.unwrap());
        for task in 0..5 {
            let told = (task, -1);
            orch_store::mark::mark_instance(
                &mut db,
                &Locks::begin().runs(),
                &mut Versions::default(),
                (id, None),
                told,
                TaskState::Success,
            )
            .await
            .unwrap();
        }
        web.hints.give(orch_store::hint::Hint::Run);
    };
    let (whole, ()) = tokio::join!(waits, ends);
    assert_eq!((whole.status, &whole.body["over"]), (StatusCode::OK, &json!(true)), "{}", whole.body);
    assert_eq!(
        (&whole.body["run"]["state"], &whole.body["results"]),
        (&json!("success"), &json!({ "t0": { "rows": 7 } }))
    );
    for query in ["wait=-1", "wait=301", "wait=x", "wait=inf"] {
        let answer = send(&web, &format!("{CHAIN}?{query}"), None, &json!({})).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
    assert_eq!(send(&web, "/api/orch/v1/dags/no/trigger", None, &json!({})).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_key_belongs_to_the_body_it_was_first_sent_with() {
    let web = Web::new().await;
    let path = "/api/v2/dags/chain/dagRuns";
    let body = |note: &str| json!({ "logical_date": null, "conf": { "a": 1 }, "note": note });
    let first = send(&web, path, Some("k"), &body("x")).await;
    let again = send(&web, path, Some("k"), &json!({ "note": "x", "conf": { "a": 1 }, "logical_date": null })).await;
    assert_eq!((again.status, &again.body["dag_run_id"]), (StatusCode::OK, &first.body["dag_run_id"]));
    // The note counts too: it does not affect the run, but it is part of the request.
    let other = send(&web, path, Some("k"), &body("y")).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", other.body);
    assert_ne!(send(&web, path, Some("k2"), &body("y")).await.body["dag_run_id"], first.body["dag_run_id"]);
}
