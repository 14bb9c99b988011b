//! Lists of runs, and single runs.

use crate::fixture::Web;
use crate::shapes::{RUN, VERSION, assert_shape};
use axum::http::StatusCode;
use serde_json::{Value, json};

async fn dated(web: &Web, dag_id: &str, run_id: &str, date: &str) {
    let body = json!({ "dag_run_id": run_id, "logical_date": date, "run_after": date, "conf": { "place": run_id } });
    let answer = web.post(&format!("/api/v2/dags/{dag_id}/dagRuns"), &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
}

fn ids(list: &Value) -> Vec<&str> {
    list["dag_runs"].as_array().expect("a list").iter().map(|run| run["dag_run_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn runs_are_listed_by_page_filter_and_order() {
    let web = Web::new().await;
    for (dag_id, run_id, date) in [
        ("chain", "b", "2026-11-02T00:00:00Z"),
        ("chain", "a", "2026-11-03T00:00:00Z"),
        ("paused", "c", "2026-11-01T00:00:00Z"),
        ("chain", "d_x", "2026-11-04T00:00:00Z"),
    ] {
        dated(&web, dag_id, run_id, date).await;
    }
    for (place, expected, total) in [
        ("~/dagRuns", vec!["b", "a", "c", "d_x"], 4),
        ("chain/dagRuns", vec!["b", "a", "d_x"], 3),
        ("old_chain/dagRuns", vec!["b", "a", "d_x"], 3),
        ("chain/dagRuns?limit=2", vec!["b", "a"], 3),
        ("chain/dagRuns?limit=2&offset=2", vec!["d_x"], 3),
        ("chain/dagRuns?limit=0", vec![], 3),
        ("chain/dagRuns?limit=5&offset=50", vec![], 3),
        ("~/dagRuns?order_by=-id", vec!["d_x", "c", "a", "b"], 4),
        ("~/dagRuns?order_by=logical_date", vec!["c", "b", "a", "d_x"], 4),
        ("~/dagRuns?order_by=-run_after", vec!["d_x", "a", "b", "c"], 4),
        ("~/dagRuns?order_by=dag_id&order_by=-run_id", vec!["d_x", "b", "a", "c"], 4),
        ("~/dagRuns?order_by=dag_id,-dag_run_id", vec!["d_x", "b", "a", "c"], 4),
        ("~/dagRuns?state=queued", vec!["c"], 1),
        ("~/dagRuns?state=queued&state=running", vec!["b", "a", "c", "d_x"], 4),
        ("~/dagRuns?state=success", vec![], 0),
        ("~/dagRuns?run_type=manual&limit=1", vec!["b"], 4),
        ("~/dagRuns?run_type=scheduled", vec![], 0),
        ("~/dagRuns?run_after_gte=2026-11-02T00:00:00Z&run_after_lt=2026-11-03T01:00:00%2B01:00", vec!["b"], 1),
        ("~/dagRuns?logical_date_gt=2026-11-02T00:00:00Z&logical_date_lte=2026-11-04T00:00:00Z", vec!["a", "d_x"], 2),
        ("~/dagRuns?start_date_gte=2020-01-01T00:00:00Z", vec!["b", "a", "d_x"], 3),
        ("~/dagRuns?end_date_gte=2020-01-01T00:00:00Z", vec![], 0),
        ("~/dagRuns?updated_at_gte=2020-01-01T00:00:00Z&duration_gte=0", vec![], 0),
        ("~/dagRuns?run_id_pattern=D_x", vec!["d_x"], 1),
        ("~/dagRuns?run_id_pattern=A|b", vec!["b", "a"], 2),
        ("~/dagRuns?run_id_pattern=%5C", vec![], 0),
        ("~/dagRuns?run_id_prefix_pattern=d", vec!["d_x"], 1),
        ("~/dagRuns?run_id_prefix_pattern=%25", vec!["b", "a", "c", "d_x"], 4),
        ("~/dagRuns?dag_id_pattern=AUSE", vec!["c"], 1),
        ("~/dagRuns?dag_id_prefix_pattern=ause", vec![], 0),
        ("~/dagRuns?conf_contains=place\":\"a", vec!["a"], 1),
        ("~/dagRuns?triggering_user_name_pattern=adm", vec!["b", "a", "c", "d_x"], 4),
        ("~/dagRuns?dag_version=1&limit=1", vec!["b"], 4),
        ("~/dagRuns?dag_version=99999999999", vec![], 0),
        ("~/dagRuns?partition_key_pattern=x", vec![], 0),
    ] {
        let path = format!("/api/v2/dags/{place}").replace('"', "%22");
        let answer = web.get(&path).await;
        assert_eq!(answer.status, StatusCode::OK, "{place}: {}", answer.body);
        assert_eq!((ids(&answer.body), &answer.body["total_entries"]), (expected, &json!(total)), "{place}");
        answer.body["dag_runs"].as_array().unwrap().iter().for_each(|run| assert_shape(run, RUN));
    }
}

#[tokio::test]
async fn filters_that_cannot_be_are_refused() {
    let web = Web::new().await;
    for (query, status, words) in [
        ("limit=-1", 422, "greater_than_equal"),
        ("limit=x", 422, "int_parsing"),
        ("limit=99999999999999999999", 422, "int_parsing"),
        ("offset=-1", 422, "greater_than_equal"),
        ("run_after_gte=2026-11-40", 422, "datetime_from_date_parsing"),
        ("logical_date_lt=soon", 422, "datetime_from_date_parsing"),
        ("duration_gte=long", 422, "float_parsing"),
        ("duration_gte=nan", 422, "float_parsing"),
        ("dag_version=one", 422, "int_parsing"),
        ("run_id_pattern=a%00b", 422, "value_error"),
        ("state=paused", 422, "Invalid value for state. Valid values are queued, running, success, failed"),
        ("state=", 422, "Invalid value for state"),
        ("run_type=odd", 422, "Invalid value for run type"),
        ("order_by=conf;drop", 400, "Ordering with 'conf;drop' is disallowed"),
        ("order_by=", 400, "Ordering with '' is disallowed"),
        ("order_by=id,id,id,id,id,id,id,id,id,id,id", 400, "more than 10"),
    ] {
        let answer = web.get(&format!("/api/v2/dags/chain/dagRuns?{query}")).await;
        assert_eq!(answer.status.as_u16(), status, "{query}: {}", answer.body);
        assert!(answer.body["detail"].to_string().contains(words), "{query}: {}", answer.body);
    }
    let missing = web.get("/api/v2/dags/nothing/dagRuns").await;
    assert_eq!(missing.body, json!({ "detail": "The Dag with ID: `nothing` was not found" }));
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn one_run_is_found_by_its_names() {
    let web = Web::new().await;
    let run_id = web.trigger("chain").await;
    assert!(run_id.contains('+') && run_id.contains(':'), "{run_id}");
    for (dag_id, run_id) in [("chain", run_id.clone()), ("old_chain", run_id.replace('+', "%2B"))] {
        let run = web.get(&format!("/api/v2/dags/{dag_id}/dagRuns/{run_id}")).await;
        assert_eq!(run.status, StatusCode::OK);
        assert_shape(&run.body, RUN);
        assert_shape(&run.body["dag_versions"][0], VERSION);
        assert_eq!((&run.body["dag_id"], &run.body["state"]), (&json!("chain"), &json!("running")));
    }
    for (dag_id, other) in [("chain", "other"), ("paused", run_id.as_str()), ("nothing", "x"), ("chain", "a%20b")] {
        let answer = web.get(&format!("/api/v2/dags/{dag_id}/dagRuns/{other}")).await;
        let shown = other.replace("%20", " ");
        let text = format!("The DagRun with dag_id: `{dag_id}` and run_id: `{shown}` was not found");
        assert_eq!((answer.status, answer.body), (StatusCode::NOT_FOUND, json!({ "detail": text })));
    }
}
