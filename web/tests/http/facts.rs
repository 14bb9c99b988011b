//! Facts about a DAG: details, tasks, versions, structure, tags and counts; and changes of a DAG.

use crate::fixture::Web;
use crate::shapes::{DAG, VERSION, assert_shape};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

/// Fields that only the details of a DAG have.
const MORE: &[(&str, &str)] = &[
    ("catchup", "flag"),
    ("dag_run_timeout", "text?"),
    ("asset_expression", "object?"),
    ("doc_md", "text?"),
    ("start_date", "time?"),
    ("end_date", "time?"),
    ("is_paused_upon_creation", "flag?"),
    ("params", "object?"),
    ("render_template_as_native_obj", "flag"),
    ("template_search_path", "list?"),
    ("timezone", "text?"),
    ("last_parsed", "time?"),
    ("default_args", "object?"),
    ("rerun_with_latest_version", "flag?"),
    ("owner_links", "object?"),
    ("is_favorite", "flag"),
    ("active_runs_count", "integer"),
    ("concurrency", "integer"),
    ("latest_dag_version", "object?"),
];

#[tokio::test]
async fn the_details_of_a_dag_have_all_of_airflows_fields() {
    let web = Web::new().await;
    let details = web.get("/api/v2/dags/old_chain/details").await;
    assert_eq!(details.status, StatusCode::OK);
    assert_shape(&details.body, &[DAG, MORE].concat());
    assert_shape(&details.body["latest_dag_version"], VERSION);
    assert_eq!(web.get("/api/v2/dags/nothing/details").await.status, StatusCode::NOT_FOUND);
    let params = web.get("/api/v2/dags/params/details").await.body;
    assert_eq!(params["params"]["limit"]["value"], 10);
    assert_eq!(params["params"]["table"]["schema"], json!({ "type": "string" }));
    assert_eq!(params["timezone"], "UTC");
}

#[tokio::test]
async fn tasks_are_listed_with_what_follows_them() {
    let web = Web::new().await;
    let tasks = web.get("/api/v2/dags/chain/tasks").await.body;
    assert_eq!(tasks["total_entries"], 5);
    assert_eq!(tasks["tasks"][0]["downstream_task_ids"], json!(["t1"]));
    let backwards = web.get("/api/v2/dags/chain/tasks?order_by=-task_id").await.body;
    assert_eq!(backwards["tasks"][0]["task_id"], "t4");
    assert_eq!(web.get("/api/v2/dags/chain/tasks?order_by=odd").await.status, StatusCode::BAD_REQUEST);
    let one = web.get("/api/v2/dags/mapped/tasks/each").await.body;
    assert_eq!((&one["is_mapped"], &one["trigger_rule"]), (&json!(true), &json!("all_success")));
    let owned = web.get("/api/v2/dags/mapped/tasks/list").await.body;
    assert_eq!(
        (&owned["owner"], &one["owner"], &tasks["tasks"][0]["owner"]),
        (&json!("grace"), &json!(null), &json!("ada"))
    );
    let missing = web.get("/api/v2/dags/mapped/tasks/nothing").await;
    assert_eq!(
        (missing.status, &missing.body["detail"]),
        (StatusCode::NOT_FOUND, &json!("Task with id nothing was not found"))
    );
    let whole = web.get("/api/orch/v1/dags/old_chain/structure").await.body;
    assert_eq!((&whole["aliases"], &whole["spec"]["tasks"][1]["after"]), (&json!(["old_chain"]), &json!(["t0"])));
    assert_eq!(web.get("/api/orch/v1/dags/chain/structure?version_number=1").await.body, whole);
    let missing = web.get("/api/orch/v1/dags/chain/structure?version_number=2").await;
    assert_eq!((missing.status, &missing.body["detail"]), (StatusCode::NOT_FOUND, &json!("`chain` has no version 2")));
}

#[tokio::test]
async fn versions_sources_tags_and_counts_are_told() {
    let web = Web::new().await;
    let versions = web.get("/api/v2/dags/chain/dagVersions").await.body;
    assert_eq!(versions["total_entries"], 1);
    assert_shape(&versions["dag_versions"][0], VERSION);
    assert_eq!(web.get("/api/v2/dags/~/dagVersions?order_by=-id&limit=2").await.body["total_entries"], 4);
    assert_shape(&web.get("/api/v2/dags/chain/dagVersions/1").await.body, VERSION);
    for (path, status) in [("chain/dagVersions/2", 404), ("chain/dagVersions/x", 422), ("nothing/dagVersions", 404)] {
        assert_eq!(web.get(&format!("/api/v2/dags/{path}")).await.status.as_u16(), status, "{path}");
    }
    let source = web.get("/api/v2/dagSources/chain").await.body;
    let content: Value = serde_json::from_str(source["content"].as_str().unwrap()).unwrap();
    assert_eq!((&content["dag_id"], &source["version_number"]), (&json!("chain"), &json!(1)));
    assert_eq!(web.get("/api/v2/dagSources/chain?version_number=7").await.status, StatusCode::NOT_FOUND);
    assert_eq!(web.get("/api/v2/dagTags").await.body, json!({ "tags": ["x"], "total_entries": 1 }));
    assert_eq!(web.get("/api/v2/dagTags?tag_name_pattern=y").await.body["total_entries"], 0);
    web.trigger("chain").await;
    let stats = web.get("/api/v2/dagStats?dag_ids=chain&dag_ids=nothing").await.body;
    let counts = json!([{ "state": "queued", "count": 0 }, { "state": "running", "count": 1 },
        { "state": "success", "count": 0 }, { "state": "failed", "count": 0 }]);
    assert_eq!(
        stats,
        json!({ "dags": [{ "dag_id": "chain", "dag_display_name": "chain", "stats": counts }],
        "total_entries": 1 })
    );
    assert_eq!(web.get("/api/v2/dagStats").await.body["total_entries"], 4);
}

#[tokio::test]
async fn pausing_is_written_down_and_unpausing_begins_what_waits() {
    let web = Web::new().await;
    web.trigger("paused").await;
    let paused = web.change(Method::PATCH, "/api/v2/dags/old_chain", &json!({ "is_paused": true })).await;
    assert_eq!((paused.status, &paused.body["is_paused"]), (StatusCode::OK, &json!(true)));
    for (path, body, status) in [
        ("chain?update_mask=is_paused", json!({ "is_paused": false }), 200),
        ("chain?update_mask=tags", json!({ "is_paused": false }), 400),
        ("chain", json!({}), 422),
        ("chain", json!({ "is_paused": "no" }), 422),
        ("chain", json!({ "is_paused": true, "more": 1 }), 422),
        ("nothing", json!({ "is_paused": true }), 404),
    ] {
        let answer = web.change(Method::PATCH, &format!("/api/v2/dags/{path}"), &body).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {body}: {}", answer.body);
    }
    for query in ["", "?limit=100", "?tags=none", "?paused=false"] {
        let none = web.change(Method::PATCH, &format!("/api/v2/dags{query}"), &json!({ "is_paused": true })).await;
        let expected = json!({ "dags": [], "total_entries": 0 });
        assert_eq!((none.status, none.body), (StatusCode::OK, expected), "without a pattern: {query}");
    }
    let many = web.change(Method::PATCH, "/api/v2/dags?dag_id_pattern=paus", &json!({ "is_paused": false })).await;
    assert_eq!((many.status, &many.body["total_entries"]), (StatusCode::OK, &json!(1)));
    assert_eq!(web.get("/api/v2/dags/~/dagRuns?state=running").await.body["total_entries"], 1);
    assert_eq!(web.deeds().await, ["pause_dag chain", "unpause_dag chain", "unpause_dag paused"]);
    let all = web.change(Method::PATCH, "/api/v2/dags?dag_id_pattern=~", &json!({ "is_paused": true })).await;
    assert_eq!((all.status, &all.body["total_entries"]), (StatusCode::OK, &json!(4)));
}

#[tokio::test]
async fn a_dag_is_deleted_with_its_runs_unless_some_are_running() {
    let web = Web::new().await;
    web.trigger("chain").await;
    web.trigger("paused").await;
    let running = web.change(Method::DELETE, "/api/v2/dags/chain", &Value::Null).await;
    assert_eq!(running.status, StatusCode::CONFLICT);
    let deleted = web.change(Method::DELETE, "/api/v2/dags/paused", &Value::Null).await;
    assert_eq!((deleted.status, deleted.body), (StatusCode::OK, Value::Null));
    assert_eq!(web.get("/api/v2/dags/paused").await.status, StatusCode::NOT_FOUND);
    assert_eq!(web.change(Method::DELETE, "/api/v2/dags/paused", &Value::Null).await.status, StatusCode::NOT_FOUND);
    assert_eq!(web.deeds().await, ["delete_dag paused"]);
}
