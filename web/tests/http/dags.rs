//! Lists of DAGs, and single DAGs.

use crate::fixture::Web;
use crate::shapes::{DAG, assert_shape};
use axum::http::StatusCode;
use serde_json::{Value, json};

fn ids(list: &Value) -> Vec<&str> {
    list["dags"].as_array().expect("a list").iter().map(|dag| dag["dag_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn dags_are_listed_by_page_and_filter() {
    let web = Web::new().await;
    web.trigger("chain").await;
    web.trigger("paused").await;
    let all = web.get("/api/v2/dags").await;
    assert_eq!(all.status, StatusCode::OK);
    assert_eq!(ids(&all.body), ["chain", "mapped", "params", "paused"]);
    assert_eq!(all.body["total_entries"], 4);
    all.body["dags"].as_array().unwrap().iter().for_each(|dag| assert_shape(dag, DAG));
    for (query, expected, total) in [
        ("limit=2", vec!["chain", "mapped"], 4),
        ("limit=2&offset=3", vec!["paused"], 4),
        ("limit=0", vec![], 4),
        ("paused=true", vec!["paused"], 1),
        ("tags=x&tags=y", vec!["chain", "paused"], 2),
        ("tags=x&tags=y&tags_match_mode=all", vec![], 0),
        ("owners=ada", vec!["chain", "paused"], 2),
        ("dag_id_pattern=PAR", vec!["params"], 1),
        ("dag_id_pattern=~", vec!["chain", "mapped", "params", "paused"], 4),
        ("order_by=dag_id&offset=100", vec![], 4),
        ("order_by=-dag_id", vec!["paused", "params", "mapped", "chain"], 4),
        ("order_by=next_dagrun&limit=1", vec!["params"], 4),
        ("order_by=-start_date&limit=1", vec!["chain"], 4),
        ("order_by=-last_run_state,dag_id", vec!["chain", "paused", "mapped", "params"], 4),
        ("dag_id_pattern=PAR|map", vec!["mapped", "params"], 2),
        ("dag_id_pattern=old_chain", vec!["chain"], 1),
        ("dag_id_prefix_pattern=pa", vec!["params", "paused"], 2),
        ("last_dag_run_state=running", vec!["chain"], 1),
        ("dag_run_state=queued&dag_run_state=running", vec!["chain", "paused"], 2),
        ("dag_run_start_date_gte=2020-01-01T00:00:00Z", vec!["chain"], 1),
        ("dag_run_end_date_gte=2020-01-01T00:00:00Z", vec![], 0),
        ("has_import_errors=true", vec![], 0),
        ("bundle_name=test&limit=1", vec!["chain"], 4),
        ("bundle_name=other", vec![], 0),
        ("timetable_type=CronTriggerTimetable", vec!["params"], 1),
        ("timetable_type=NullTimetable&timetable_type=OnceTimetable", vec!["chain", "mapped", "paused"], 3),
        ("timetable_type=odd", vec![], 0),
    ] {
        let answer = web.get(&format!("/api/v2/dags?{query}")).await;
        assert_eq!((ids(&answer.body), &answer.body["total_entries"]), (expected, &json!(total)), "{query}");
    }
    for (query, status) in
        [("limit=-1", 422), ("paused=maybe", 422), ("last_dag_run_state=odd", 422), ("order_by=password", 400)]
    {
        assert_eq!(web.get(&format!("/api/v2/dags?{query}")).await.status.as_u16(), status, "{query}");
    }
}

#[tokio::test]
async fn one_dag_is_found_by_its_id_or_alias() {
    let web = Web::new().await;
    for name in ["params", "chain", "old_chain"] {
        let dag = web.get(&format!("/api/v2/dags/{name}")).await;
        assert_eq!(dag.status, StatusCode::OK);
        assert_shape(&dag.body, DAG);
        assert_eq!(dag.body["dag_id"], name.trim_start_matches("old_"));
    }
    let scheduled = web.get("/api/v2/dags/params").await.body;
    assert_eq!((&scheduled["timetable_summary"], &scheduled["is_backfillable"]), (&json!("0 2 * * *"), &json!(true)));
    assert!(scheduled["next_dagrun_run_after"].is_string());
    for (name, shown) in [("nothing", "nothing"), ("%3Csvg%3E", "<svg>"), ("..%2Fetc", "../etc")] {
        let answer = web.get(&format!("/api/v2/dags/{name}")).await;
        let detail = json!({ "detail": format!("The Dag with ID: `{shown}` was not found") });
        assert_eq!((answer.status, answer.body), (StatusCode::NOT_FOUND, detail));
    }
    assert_eq!(web.get("/api/v2/dags/%ff").await.status, StatusCode::NOT_FOUND);
}
