//! Task instances of a run.

use crate::fixture::Web;
use crate::shapes::{INSTANCE, VERSION, assert_shape};
use axum::http::StatusCode;
use serde_json::{Value, json};

fn names(list: &Value) -> Vec<String> {
    let instances = list["task_instances"].as_array().unwrap_or_else(|| panic!("a list, not {list}"));
    instances
        .iter()
        .map(|i| {
            assert_shape(i, INSTANCE);
            format!("{}[{}] {}", i["task_id"].as_str().unwrap(), i["map_index"], i["state"].as_str().unwrap_or("none"))
        })
        .collect()
}

#[tokio::test]
async fn every_task_of_a_run_is_listed_whether_or_not_it_began() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let path = format!("/api/v2/dags/chain/dagRuns/{run}/taskInstances");
    let all = ["t0[-1] queued", "t1[-1] none", "t2[-1] none", "t3[-1] none", "t4[-1] none"];
    for (query, expected, total) in [
        ("", all.to_vec(), 5),
        ("?limit=2", all[..2].to_vec(), 5),
        ("?limit=2&offset=3", all[3..].to_vec(), 5),
        ("?limit=0", vec![], 5),
        ("?offset=9", vec![], 5),
        ("?state=queued", all[..1].to_vec(), 1),
        ("?state=none&limit=1&offset=1", vec![all[2]], 4),
        ("?state=no_status&state=queued", all.to_vec(), 5),
        ("?state=success", vec![], 0),
        ("?task_id=t3&task_id=t1", vec![all[1], all[3]], 2),
        ("?task_id=nothing", vec![], 0),
        ("?map_index=-1&order_by=-start_date", all.to_vec(), 5),
        ("?map_index=7", vec![], 0),
    ] {
        let answer = web.get(&format!("{path}{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.body);
        assert_eq!(
            (names(&answer.body), &answer.body["total_entries"]),
            (expected.iter().map(|s| (*s).into()).collect(), &json!(total)),
            "{query}"
        );
    }
    let first = web.get(&format!("{path}/t0")).await.body;
    assert_shape(&first, INSTANCE);
    assert_shape(&first["dag_version"], VERSION);
    for (field, expected) in [
        ("try_number", json!(1)),
        ("max_tries", json!(2)),
        ("pool", json!("default_pool")),
        ("queue", json!("default")),
        ("dag_run_id", json!(run)),
        ("operator", json!("rust")),
        ("start_date", json!(null)),
        ("priority_weight", json!(5)),
    ] {
        assert_eq!(first[field], expected, "{field}");
    }
    assert_eq!(web.get(&format!("{path}/t4")).await.body["try_number"], 0);
}

#[tokio::test]
async fn elements_are_listed_one_by_one_once_there_are_any() {
    let web = Web::new().await;
    let run = web.trigger("mapped").await;
    let path = format!("/api/v2/dags/mapped/dagRuns/{run}/taskInstances");
    let all = web.get(&path).await.body;
    let expected = ["list[-1] queued", "each[0] queued", "each[1] queued", "each[2] queued", "later[-1] none"];
    assert_eq!(names(&all), expected);
    assert_eq!(names(&web.get(&format!("{path}?map_index=1")).await.body), ["each[1] queued"]);
    let element = web.get(&format!("{path}/each/2")).await;
    assert_eq!((element.status, &element.body["map_index"]), (StatusCode::OK, &json!(2)));
    let whole = web.get(&format!("{path}/each")).await;
    let text = "Task instance is mapped, add the map_index value to the URL";
    assert_eq!((whole.status, whole.body), (StatusCode::NOT_FOUND, json!({ "detail": text })));
    assert_eq!(web.get(&format!("{path}/each/3")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(web.get(&format!("{path}/each/x")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(web.get(&format!("{path}/later/-1")).await.status, StatusCode::OK);
}

/// Airflow's filters for the run of an instance: the query, and whether the run matches.
const OF_THE_RUN: [(&str, bool); 26] = [
    ("run_after_gte=2026-11-02", true),
    ("run_after_gte=2099-01-01", false),
    ("run_after_gt=2026-11-01", true),
    ("run_after_gt=2099-01-01", false),
    ("run_after_lte=2099-01-01", true),
    ("run_after_lte=2026-11-01", false),
    ("run_after_lt=2099-01-01", true),
    ("run_after_lt=2026-11-02", false),
    ("logical_date_gte=2026-11-02", true),
    ("logical_date_gte=2026-11-03", false),
    ("logical_date_gt=2026-11-01", true),
    ("logical_date_gt=2026-11-02", false),
    ("logical_date_lte=2026-11-02", true),
    ("logical_date_lte=2026-11-01", false),
    ("logical_date_lt=2026-11-03", true),
    ("logical_date_lt=2026-11-02", false),
    ("dag_id_pattern=MAP%25", true),
    ("dag_id_pattern=chain", false),
    ("dag_id_prefix_pattern=map", true),
    ("dag_id_prefix_pattern=chain", false),
    ("run_id_pattern=wanted", true),
    ("run_id_pattern=other", false),
    ("run_id_prefix_pattern=the", true),
    ("run_id_prefix_pattern=wanted", false),
    ("version_number=1", true),
    ("version_number=2", false),
];

#[tokio::test]
async fn filters_of_the_run_apply_to_a_named_run() {
    let web = Web::new().await;
    let body = json!({ "dag_run_id": "the-wanted", "logical_date": "2026-11-02T00:00:00Z",
        "run_after": "2026-11-02T00:00:00Z" });
    web.post("/api/v2/dags/mapped/dagRuns", &body).await;
    let path = "/api/v2/dags/mapped/dagRuns/the-wanted/taskInstances";
    for (list, all) in [(path.to_string(), 5), (format!("{path}/each/listMapped"), 3)] {
        for order in ["", "&order_by=-map_index"] {
            for (filter, fits) in OF_THE_RUN {
                let answer = web.get(&format!("{list}?{filter}{order}")).await;
                assert_eq!(answer.status, StatusCode::OK, "{filter}: {}", answer.body);
                let expected = if fits { all } else { 0 };
                assert_eq!(answer.body["total_entries"], expected, "{list} {filter}{order}");
                assert_eq!(names(&answer.body).len(), expected, "{list} {filter}{order}");
            }
        }
        for filter in [
            "executor=x",
            "task_id=x",
            "task_group_id=x",
            "pool=x",
            "pool_name_pattern=x",
            "pool_name_prefix_pattern=x",
            "queue=x",
            "queue_name_pattern=x",
            "queue_name_prefix_pattern=x",
            "operator=x",
            "operator_name_pattern=x",
            "operator_name_prefix_pattern=x",
            "task_display_name_pattern=x",
            "task_display_name_prefix_pattern=x",
            "map_index=9",
            "rendered_map_index_pattern=9",
            "rendered_map_index_prefix_pattern=9",
            "try_number=9",
            "state=failed",
            "start_date_gte=2099-01-01",
            "end_date_gt=2099-01-01",
            "updated_at_lt=2000-01-01",
            "duration_gte=99999",
        ] {
            let answer = web.get(&format!("{list}?{filter}")).await;
            assert_eq!((answer.status, &answer.body["total_entries"]), (StatusCode::OK, &json!(0)), "{list} {filter}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_cannot_be_is_refused() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    for (path, status) in [
        ("chain/dagRuns/other/taskInstances".to_string(), 404),
        (format!("paused/dagRuns/{run}/taskInstances"), 404),
        (format!("chain/dagRuns/{run}/taskInstances/nothing"), 404),
        (format!("chain/dagRuns/{run}/taskInstances/a%20b"), 404),
        (format!("chain/dagRuns/{run}/taskInstances/t0/0"), 404),
        (format!("chain/dagRuns/{run}/taskInstances?state=odd"), 422),
        (format!("chain/dagRuns/{run}/taskInstances?limit=-5"), 422),
        (format!("chain/dagRuns/{run}/taskInstances?map_index=x"), 422),
        (format!("chain/dagRuns/{run}/taskInstances?order_by=odd"), 400),
        ("~/dagRuns/~/taskInstances?order_by=odd".into(), 400),
    ] {
        let answer = web.get(&format!("/api/v2/dags/{path}")).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.body);
        assert!(!answer.body["detail"].is_null(), "{path}: {}", answer.body);
    }
}
