//! Task instances that are marked and cleared, the effect on other instances, and why an instance waits.

use crate::fixture::Web;
use crate::shapes::{INSTANCE, assert_shape};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

async fn states(web: &Web, dag_id: &str, run: &str) -> Vec<String> {
    let list = web.get(&format!("/api/v2/dags/{dag_id}/dagRuns/{run}/taskInstances")).await.body;
    names(&list)
}

fn names(list: &Value) -> Vec<String> {
    let instances = list["task_instances"].as_array().unwrap_or_else(|| panic!("a list, not {list}"));
    let name = |i: &Value| {
        assert_shape(i, INSTANCE);
        format!("{}[{}] {}", i["task_id"].as_str().unwrap(), i["map_index"], i["state"].as_str().unwrap_or("none"))
    };
    instances.iter().map(name).collect()
}

#[tokio::test]
async fn a_marked_instance_counts_as_told_and_the_run_goes_on() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let path = format!("/api/v2/dags/chain/dagRuns/{run}/taskInstances");
    let would = web.change(Method::PATCH, &format!("{path}/t0/dry_run"), &json!({ "new_state": "success" })).await;
    assert_eq!((would.status, names(&would.body)), (StatusCode::OK, vec!["t0[-1] queued".to_string()]));
    assert_eq!(states(&web, "chain", &run).await[0], "t0[-1] queued", "it was only looked at");
    let marked = web.change(Method::PATCH, &format!("{path}/t0"), &json!({ "new_state": "success" })).await;
    assert_eq!((marked.status, names(&marked.body)), (StatusCode::OK, vec!["t0[-1] success".to_string()]));
    let now = states(&web, "chain", &run).await;
    assert_eq!(now, ["t0[-1] success", "t1[-1] queued", "t2[-1] none", "t3[-1] none", "t4[-1] none"]);
    let failed = web.change(Method::PATCH, &format!("{path}/t1"), &json!({ "new_state": "failed" })).await;
    assert_eq!(failed.status, StatusCode::OK, "{}", failed.body);
    let now = states(&web, "chain", &run).await;
    let rest = ["t2", "t3", "t4"].map(|task| format!("{task}[-1] upstream_failed"));
    assert_eq!((now[1].as_str(), &now[2..]), ("t1[-1] failed", &rest[..]));
    let over = web.get(&format!("/api/v2/dags/chain/dagRuns/{run}")).await.body;
    assert_eq!((&over["state"], over["end_date"].is_string()), (&json!("failed"), true));
    // Instances that failed because of it are evaluated again.
    web.change(Method::PATCH, &format!("{path}/t1"), &json!({ "new_state": "success" })).await;
    let now = states(&web, "chain", &run).await;
    assert_eq!(now[1..], ["t1[-1] success", "t2[-1] queued", "t3[-1] none", "t4[-1] none"].map(String::from));
    assert_eq!(web.get(&format!("/api/v2/dags/chain/dagRuns/{run}")).await.body["state"], "running");
    let body = json!({ "new_state": "skipped", "include_downstream": true });
    let all = web.change(Method::PATCH, &format!("{path}/t2"), &body).await;
    assert_eq!(all.body["total_entries"], 3, "{}", all.body);
    assert_eq!(web.get(&format!("/api/v2/dags/chain/dagRuns/{run}")).await.body["state"], "success");
    let deeds = web.deeds().await;
    assert_eq!(deeds[0], format!("mark_task_instance chain {run} t0"));
    for (body, status) in [
        (json!({ "new_state": "running" }), 422),
        (json!({ "new_state": null }), 422),
        (json!({}), 422),
        (json!({ "note": "x".repeat(1_001) }), 422),
    ] {
        let answer = web.change(Method::PATCH, &format!("{path}/t0"), &body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.body);
    }
    assert_eq!(web.change(Method::PATCH, &format!("{path}/no"), &json!({ "new_state": "failed" })).await.status, 404);
}

#[tokio::test]
async fn elements_are_marked_one_by_one_or_all_at_once() {
    let web = Web::new().await;
    let run = web.trigger("mapped").await;
    let path = format!("/api/v2/dags/mapped/dagRuns/{run}/taskInstances");
    let one = web.change(Method::PATCH, &format!("{path}/each/1"), &json!({ "new_state": "failed" })).await;
    assert_eq!((one.status, names(&one.body)), (StatusCode::OK, vec!["each[1] failed".to_string()]), "{}", one.body);
    let again =
        web.change(Method::PATCH, &format!("{path}/each?map_index=1"), &json!({ "new_state": "success" })).await;
    assert_eq!(names(&again.body), ["each[1] success"]);
    let all = web.change(Method::PATCH, &format!("{path}/each"), &json!({ "new_state": "success" })).await;
    assert_eq!(names(&all.body), ["each[0] success", "each[2] success"]);
    let mapped = web.get(&format!("{path}/each/listMapped?order_by=-map_index&limit=2")).await.body;
    assert_eq!(
        (names(&mapped), &mapped["total_entries"]),
        (vec!["each[2] success".into(), "each[1] success".into()], &json!(3))
    );
    assert_eq!(web.get(&format!("{path}/list/listMapped")).await.status, StatusCode::NOT_FOUND);
    let waits = web.change(Method::PATCH, &format!("{path}/later"), &json!({ "new_state": "success" })).await;
    assert_eq!(waits.status, StatusCode::CONFLICT, "its list is not known");
    let named = web.change(Method::PATCH, &format!("{path}/list"), &json!({ "new_state": "failed" })).await;
    assert_eq!((named.status, names(&named.body)), (StatusCode::OK, vec!["list[-1] failed".to_string()]));
    assert_eq!(states(&web, "mapped", &run).await[4], "later[-1] upstream_failed");
    assert_eq!(web.get(&format!("{path}/list")).await.body["state"], "failed");
}

#[tokio::test]
async fn chosen_instances_are_cleared_after_a_look() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let path = format!("/api/v2/dags/chain/dagRuns/{run}/taskInstances");
    web.change(Method::PATCH, &format!("{path}/t0"), &json!({ "new_state": "failed" })).await;
    let clear = |body: Value| web.post_owned("/api/v2/dags/old_chain/clearTaskInstances", body);
    let all = clear(json!({ "dag_run_id": run })).await;
    assert_eq!((all.status, names(&all.body).len()), (StatusCode::OK, 5), "{}", all.body);
    let chosen = clear(json!({ "dag_run_id": run, "task_ids": ["t1", ["t2", -1]] })).await.body;
    assert_eq!(names(&chosen), ["t1[-1] upstream_failed", "t2[-1] upstream_failed"]);
    let below = clear(json!({ "task_ids": ["t3"], "include_downstream": true, "only_failed": false })).await.body;
    assert_eq!(names(&below), ["t3[-1] upstream_failed", "t4[-1] upstream_failed"]);
    assert_eq!(clear(json!({ "only_failed": false, "only_running": true })).await.body["total_entries"], 0);
    assert_eq!(clear(json!({ "end_date": "2020-01-01T00:00:00Z" })).await.body["total_entries"], 0);
    assert_eq!(web.get(&format!("/api/v2/dags/chain/dagRuns/{run}")).await.body["state"], "failed");
    let done = clear(json!({ "dag_run_id": run, "dry_run": false })).await;
    assert_eq!((done.status, &done.body["total_entries"]), (StatusCode::OK, &json!(5)), "{}", done.body);
    assert_eq!(states(&web, "chain", &run).await[..2], ["t0[-1] queued".to_string(), "t1[-1] none".into()]);
    for (body, status) in [
        (json!({ "task_ids": [] }), 422),
        (json!({ "task_ids": [1] }), 422),
        (json!({ "task_ids": ["nothing"] }), 404),
        (json!({ "dag_run_id": "nothing" }), 404),
        (json!({ "only_failed": true, "only_running": true }), 422),
        (json!({ "dag_run_id": run, "start_date": "2020-01-01T00:00:00Z" }), 422),
        (json!({ "include_past": true }), 422),
        (json!({ "note": "x".repeat(1_001) }), 422),
    ] {
        let answer = clear(body.clone()).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.body);
    }
    assert!(web.deeds().await.contains(&format!("clear_task_instances chain {run}")));
}

#[tokio::test]
async fn instances_of_many_runs_are_listed_filtered_and_ordered() {
    let web = Web::new().await;
    let (first, second) = (web.trigger("chain").await, web.trigger("mapped").await);
    let all = web.get("/api/v2/dags/~/dagRuns/~/taskInstances?limit=4").await;
    assert_eq!((all.status, names(&all.body).len(), &all.body["total_entries"]), (StatusCode::OK, 4, &json!(10)));
    for (query, expected) in [
        (
            "~/dagRuns/~/taskInstances?state=queued&order_by=-task_id",
            vec!["t0[-1]", "list[-1]", "each[0]", "each[1]", "each[2]"],
        ),
        ("mapped/dagRuns/~/taskInstances?task_id=each&order_by=-map_index&limit=1", vec!["each[2]"]),
        ("~/dagRuns/~/taskInstances?dag_id_prefix_pattern=cha&task_display_name_pattern=T3", vec!["t3[-1]"]),
        ("~/dagRuns/~/taskInstances?run_after_lt=2020-01-01T00:00:00Z", vec![]),
        ("~/dagRuns/~/taskInstances?start_date_gte=2020-01-01T00:00:00Z", vec![]),
        ("~/dagRuns/~/taskInstances?queue=other", vec![]),
        ("~/dagRuns/~/taskInstances?pool=default_pool&try_number=1&map_index=-1", vec!["t0[-1]", "list[-1]"]),
    ] {
        let answer = web.get(&format!("/api/v2/dags/{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.body);
        let found = names(&answer.body);
        let found: Vec<&str> = found.iter().map(|name| name.split(' ').next().unwrap()).collect();
        assert_eq!(found, expected, "{query}");
    }
    let body = json!({ "dag_run_ids": [second], "state": ["queued"], "page_limit": 2, "order_by": "map_index" });
    let batch = web.post("/api/v2/dags/~/dagRuns/~/taskInstances/list", &body).await;
    assert_eq!((names(&batch.body).len(), &batch.body["total_entries"]), (2, &json!(4)), "{}", batch.body);
    let body = json!({ "dag_ids": ["chain"], "dag_run_ids": [first], "state": [null] });
    assert_eq!(web.post("/api/v2/dags/~/dagRuns/~/taskInstances/list", &body).await.body["total_entries"], 4);
    let wrong = web.post("/api/v2/dags/~/dagRuns/~/taskInstances/list", &json!({ "state": ["odd"] })).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn what_an_instance_waits_for_is_told() {
    let web = Web::new().await;
    let (run, paused) = (web.trigger("chain").await, web.trigger("paused").await);
    let path = format!("/api/v2/dags/chain/dagRuns/{run}/taskInstances");
    let why = |dag: &'static str, run: String, task: &'static str| {
        let path = format!("/api/orch/v1/dags/{dag}/runs/{run}/tasks/{task}/why");
        let web = &web;
        async move { web.get(&path).await.body }
    };
    let first = web.get(&format!("{path}/t0/dependencies")).await.body;
    let reason = "No living worker serves the queue 'default'.";
    assert_eq!(first, json!({ "dependencies": [{ "name": "Worker", "reason": reason }] }));
    let second = why("chain", run.clone(), "t1").await;
    assert_eq!(
        second["summary"],
        "Task's trigger rule 'all_success' is not met yet: 1 of 1 upstream tasks are not over: t0 (queued)."
    );
    assert_eq!(second["upstream"][0]["task_id"], "t0");
    let stopped = why("paused", paused, "t0").await;
    assert_eq!(stopped["summary"], "Task's DAG 'paused' is paused.");
    web.change(Method::PATCH, &format!("{path}/t0"), &json!({ "new_state": "success" })).await;
    assert_eq!(web.get(&format!("{path}/t0/-1/dependencies")).await.body, json!({ "dependencies": [] }));
    assert_eq!(why("chain", run, "t0").await["summary"], "it is over: success");
}

#[tokio::test]
async fn tries_and_logs_that_are_not_there_say_so() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let path = format!("/api/v2/dags/chain/dagRuns/{run}/taskInstances/t0");
    assert_eq!(web.get(&format!("{path}/tries")).await.body, json!({ "task_instances": [], "total_entries": 0 }));
    for (place, status) in [
        ("tries/1", 404),
        ("tries/x", 422),
        ("-1/tries/1", 404),
        ("-1/tries", 200),
        ("logs/1", 200),
        ("logs/7", 404),
        ("logs/1?token=odd", 400),
        ("logs/1?full_content=maybe", 422),
        ("3/tries", 404),
    ] {
        let answer = web.get(&format!("{path}/{place}")).await;
        assert_eq!(answer.status.as_u16(), status, "{place}: {}", answer.body);
    }
    let empty = web.get(&format!("{path}/logs/1")).await.body;
    assert_eq!((&empty["content"], empty["continuation_token"].is_string()), (&json!([]), true));
}

#[tokio::test]
async fn what_runs_is_stopped_when_it_is_marked_and_its_log_is_read_to_the_end() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let path = format!("/api/v2/dags/chain/dagRuns/{run}/taskInstances/t0");
    let mut db = web.db().await;
    let id = orch_store::run::get_run(&mut db, "chain", &run).await.unwrap().unwrap().id;
    let lease = web.claim(&mut db, id).await;
    let line = |text: &str| json!({ "event": text, "timestamp": "2026-11-20T06:00:00Z", "level": "info" }).to_string();
    let chunk = |seq: i32, text: &str| orch_store::log::NewChunk {
        run: id,
        attempt: lease.attempt,
        lease_no: lease.lease_no,
        seq,
        lines: 1,
        body: line(text) + "\n",
    };
    orch_store::log::append(&mut db, &[chunk(0, "one"), chunk(1, "two")]).await.unwrap();
    let first = web.get(&format!("{path}/logs/1")).await.body;
    assert_eq!(first["content"].as_array().unwrap().iter().map(|l| &l["event"]).collect::<Vec<_>>(), ["one", "two"]);
    let token = first["continuation_token"].as_str().expect("it goes on").to_string();
    orch_store::log::append(&mut db, &[chunk(2, "three")]).await.unwrap();
    let body = json!({ "new_state": "success" });
    assert_eq!(web.change(Method::PATCH, &path, &body).await.body["task_instances"][0]["state"], "success");
    let orders: Vec<String> = sqlx::query_scalar("select why from stop_order").fetch_all(&mut db).await.unwrap();
    assert_eq!(orders, ["marked"]);
    let rest = web.get(&format!("{path}/logs/1?token={token}")).await.body;
    assert_eq!((&rest["content"][0]["event"], &rest["continuation_token"]), (&json!("three"), &Value::Null));
    let request = axum::http::Request::builder().uri(format!("{path}/logs/1")).header("host", "localhost");
    let request = request.header("authorization", format!("Bearer {}", web.token));
    let request = request.header("accept", "application/x-ndjson").body(axum::body::Body::empty()).unwrap();
    let lines = web.answer(request).await;
    assert_eq!(lines.headers["content-type"], "application/x-ndjson");
    assert_eq!(lines.body.as_str().unwrap().lines().count(), 3);
    let tries = web.get(&format!("{path}/tries")).await.body;
    assert_eq!((&tries["total_entries"], &tries["task_instances"][0]["state"]), (&json!(1), &json!("success")));
    assert_eq!(web.get(&format!("{path}/tries/1")).await.body["try_number"], 1);
    assert_eq!(web.get(&format!("/api/v2/dags/chain/dagRuns/{run}/taskInstances/t1")).await.body["state"], "queued");
}
