//! Params whose schema refers to itself.

use crate::client::{JSON, request, send};
use crate::installation::Installation;
use orch_spec::DagSpec;
use orch_store::registry::{NewBundle, register_bundle};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Maximum time of a request whose conf is checked against such a schema.
const MAX_CHECK: Duration = Duration::from_millis(100);
/// Number of requests. The fastest one counts, because builds may run at the same time.
const ATTEMPTS: usize = 5;

/// Returns a DAG with a recursive schema: a link has one of two kinds, and the next link. Without bounds, each link
/// doubles the work of the check.
fn recursive_dag() -> DagSpec {
    let next = json!({ "$ref": "#/$defs/any" });
    let link = |kind: &str| json!({ "type": "object", "properties": { "kind": { "const": kind }, "next": next } });
    let schema = json!({ "type": "object", "properties": { "chain": next }, "$defs": {
        "any": { "anyOf": [{ "type": "null" }, { "$ref": "#/$defs/a" }, { "$ref": "#/$defs/b" }] },
        "a": link("a"), "b": link("b"),
    } });
    let dag = json!({ "dag_id": "recursive", "params_schema": schema, "tasks": [{ "task_id": "a", "kind": "rust" }] });
    serde_json::from_value(dag).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recursive_schema_of_params_is_checked_in_100_ms() {
    let installation = Installation::start_web().await;
    let bundle = NewBundle { name: "attack".into(), dags: vec![Arc::new(recursive_dag())] };
    register_bundle(&mut installation.db.connect().await, &bundle, false).await.unwrap();
    let admin = installation.log_in("admin").await;
    installation.until_registered("recursive", &admin).await;
    let chain =
        |kind: &str, links: usize| (0..links).fold(Value::Null, |next, _| json!({ "kind": kind, "next": next }));
    for (conf, status) in [(chain("b", 40), 200), (chain("c", 40), 400), (chain("b", 60), 400)] {
        let body = json!({ "logical_date": null, "conf": { "chain": conf } }).to_string();
        let bytes = request("POST", "/api/v2/dags/recursive/dagRuns", Some(&admin), JSON, body.as_bytes());
        let mut fastest = Duration::MAX;
        for _ in 0..ATTEMPTS {
            let began = Instant::now();
            let reply = send(installation.address, &bytes).await.unwrap();
            fastest = fastest.min(began.elapsed());
            assert!(reply.status == status || status == 400 && reply.status == 422, "{reply:?}");
        }
        assert!(fastest <= MAX_CHECK, "{fastest:?} for {body}");
    }
}
