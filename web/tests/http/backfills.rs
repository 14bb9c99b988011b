//! Backfills over the API: Airflow's operations with Airflow's response shapes, and orch's own ones.

use crate::browser::Browser;
use crate::fixture::{JsonReply, Web};
use crate::shapes::{BACKFILL, assert_shape};
use axum::http::{Method, StatusCode};
use orch_store::backfill::{due_backfills, pace};
use orch_store::locks::Locks;
use orch_store::version::Versions;
use serde_json::{Value, json};

/// Three days of the DAG `params`, which runs daily at 02:00.
fn three_days() -> Value {
    json!({ "dag_id": "params", "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-03T12:00:00Z",
        "max_active_runs": 2, "dag_run_conf": { "table": "orders" } })
}

/// Runs scheduler rounds.
async fn go(web: &Web) {
    let mut db = web.db().await;
    for _ in 0..10 {
        for id in due_backfills(&mut db, 10).await.expect("a list") {
            pace(&mut db, Locks::begin(), &mut Versions::default(), id, 10).await.expect("a pace");
        }
    }
}

async fn put(web: &Web, path: &str) -> JsonReply {
    web.change(Method::PUT, path, &Value::Null).await
}

#[tokio::test]
async fn a_backfill_is_created_looked_at_paused_and_cancelled() {
    let web = Web::new().await;
    let dry = web.post("/api/v2/backfills/dry_run", &three_days()).await;
    assert_eq!(dry.status, StatusCode::OK, "{}", dry.body);
    assert_eq!(dry.body["total_entries"], 3);
    let first = json!({ "logical_date": "2026-01-01T02:00:00Z", "partition_key": null, "partition_date": null });
    assert_eq!(dry.body["backfills"][0], first);
    let plan = web.post("/api/orch/v1/backfills/dry_run", &three_days()).await.body;
    let first = json!({ "logical_date": "2026-01-01T02:00:00Z", "data_interval_start": "2026-01-01T02:00:00Z",
        "data_interval_end": "2026-01-01T02:00:00Z", "action": "create", "reason": null });
    assert_eq!((&plan["dates"][0], &plan["tasks"]), (&first, &Value::Null), "{plan}");
    let made = web.post("/api/v2/backfills", &three_days()).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    assert_shape(&made.body, BACKFILL);
    let id = made.body["id"].as_i64().expect("a number");
    assert_eq!((&made.body["reprocess_behavior"], &made.body["completed_at"]), (&json!("none"), &Value::Null));
    go(&web).await;
    let own = web.get(&format!("/api/orch/v1/backfills/{id}")).await.body;
    let counts = json!({ "total": 3, "planned": 1, "queued": 0, "running": 2, "success": 0, "failed": 0, "skipped": 0, "dropped": 0 });
    assert_eq!((&own["counts"], &own["created_by"]), (&counts, &json!("admin")));
    assert_eq!(own["dates"][2]["state"], "planned");
    let run = web.get("/api/v2/dags/params/dagRuns/backfill__2026-01-01T02:00:00%2B00:00").await.body;
    assert_eq!((&run["run_type"], &run["triggered_by"]), (&json!("backfill"), &json!("backfill")));
    assert_eq!((&run["conf"], &run["triggering_user_name"]), (&json!({ "table": "orders" }), &json!("admin")));
    let paused = put(&web, &format!("/api/v2/backfills/{id}/pause")).await;
    assert_eq!((paused.status, &paused.body["is_paused"]), (StatusCode::OK, &json!(true)));
    assert_eq!(put(&web, &format!("/api/v2/backfills/{id}/unpause")).await.body["is_paused"], false);
    let cancelled = put(&web, &format!("/api/v2/backfills/{id}/cancel")).await;
    assert!(cancelled.body["completed_at"].is_string(), "{}", cancelled.body);
    for what in ["pause", "unpause", "cancel"] {
        let late = put(&web, &format!("/api/v2/backfills/{id}/{what}")).await;
        assert_eq!(
            (late.status, &late.body["detail"]),
            (StatusCode::CONFLICT, &json!("Backfill is already completed."))
        );
    }
    assert_eq!(
        web.get(&format!("/api/orch/v1/backfills/{id}")).await.body["counts"]["running"],
        2,
        "what runs goes on"
    );
    let all = ["create_backfill params", "pause_backfill params", "unpause_backfill params", "cancel_backfill params"];
    assert_eq!(web.deeds().await, all);
}

#[tokio::test]
async fn several_of_a_dag_go_on_side_by_side_and_are_listed() {
    let web = Web::new().await;
    for _ in 0..3 {
        assert_eq!(web.post("/api/v2/backfills", &three_days()).await.status, StatusCode::OK);
    }
    let listed = web.get("/api/v2/backfills?dag_id=params&limit=2&order_by=-id").await.body;
    let ids: Vec<_> = listed["backfills"].as_array().expect("a list").iter().map(|b| b["id"].clone()).collect();
    assert_eq!((ids, &listed["total_entries"]), (vec![json!(3), json!(2)], &json!(3)));
    assert_eq!(web.get("/api/v2/backfills?dag_id=params").await.body["backfills"][0]["id"], 1);
    assert_eq!(web.get("/api/v2/backfills").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    go(&web).await;
    let own = web.get("/api/orch/v1/backfills?active=true").await.body;
    // The first backfill has runs, active or finished, for all dates of the second and the third.
    assert_eq!(
        own["backfills"].as_array().expect("a list").len(),
        own["total_entries"].as_u64().expect("a number") as usize
    );
}

#[tokio::test]
async fn dates_one_by_one_a_step_and_a_part_of_the_tasks_are_orchs_own() {
    let web = Web::new().await;
    let chosen = json!({ "dag_id": "chain", "dates": ["2026-01-05T00:00:00Z", "2026-01-02T06:00:00+01:00"],
        "task_regex": "t2", "ignore_dependencies": true });
    let made = web.post("/api/v2/backfills", &chosen).await;
    assert_eq!(
        (&made.body["from_date"], &made.body["to_date"]),
        (&json!("2026-01-02T05:00:00Z"), &json!("2026-01-05T00:00:00Z"))
    );
    go(&web).await;
    let path = "/api/v2/dags/chain/dagRuns/backfill__2026-01-05T00:00:00%2B00:00/taskInstances";
    let instances = web.get(path).await.body;
    let states: Vec<_> =
        instances["task_instances"].as_array().expect("a list").iter().map(|i| i["state"].clone()).collect();
    assert_eq!(states, ["removed", "removed", "queued", "removed", "removed"]);
    let daily = json!({ "dag_id": "chain", "from_date": "2026-02-01T00:00:00Z", "to_date": "2026-02-04T00:00:00Z", "step": "daily" });
    assert_eq!(web.post("/api/v2/backfills/dry_run", &daily).await.body["total_entries"], 4);
    let naive =
        json!({ "dag_id": "chain", "from_date": "2026-02-01", "to_date": "2026-02-04T00:00:00", "step": "daily" });
    let would = web.post("/api/v2/backfills/dry_run", &naive).await.body;
    assert_eq!(would["total_entries"], 4, "without a zone it is in UTC, as in Airflow");
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_words() {
    let web = Web::new().await;
    let with = |field: &str, value: Value| {
        let mut body = three_days();
        body[field] = value;
        body
    };
    for (body, status, words) in [
        (with("dag_id", json!("none")), 404, "Could not find dag none"),
        (with("to_date", json!("2025-01-01T00:00:00Z")), 422, "must not be after the last"),
        (with("from_date", json!("2999-01-01T00:00:00Z")), 422, "must not be after the last"),
        (with("from_date", Value::Null), 422, "from_date: a date is needed"),
        (with("dag_run_conf", json!({ "table": 7 })), 422, "`table` is an integer, not a string"),
        (with("dag_run_conf", json!([])), 422, "valid dictionary"),
        (with("max_active_runs", json!(0)), 422, "greater than or equal to 1"),
        (with("reprocess_behavior", json!("all")), 422, "Input should be one of"),
        (with("task_regex", json!("(")), 422, "the regular expression cannot be used"),
        (with("task_regex", json!("a{100}{1000}")), 422, "the regular expression cannot be used"),
        (with("task_regex", json!("a".repeat(1_025))), 422, "it has 1025 bytes; the maximum is 1024"),
        (with("task_regex", json!("nothing")), 422, "no task of dag `params` matches"),
        (with("dates", json!([])), 422, "either `dates`"),
        (with("step", json!("daily")), 422, "has a schedule, which says its dates"),
        (with("dag_id", json!("chain")), 422, "dag `chain` has no schedule to take the dates from"),
        (with("to_date", json!("2026-01-01T01:00:00Z")), 422, "dag `params` has no run for these dates"),
        (with("more", json!(1)), 422, "Extra inputs"),
        (json!({ "dag_id": "params" }), 422, "Field required"),
    ] {
        let answer = web.post("/api/v2/backfills", &body).await;
        assert!(answer.status.as_u16() == status && answer.body.to_string().contains(words), "{body}: {answer:?}");
    }
    for (path, status) in [("/api/v2/backfills/9", 404), ("/api/v2/backfills/-1", 422), ("/api/v2/backfills/x", 422)] {
        assert_eq!(web.get(path).await.status.as_u16(), status, "{path}");
    }
    assert_eq!(put(&web, "/api/v2/backfills/9/pause").await.status, StatusCode::NOT_FOUND);
    assert!(web.deeds().await.is_empty());
}

#[tokio::test]
async fn a_form_says_first_what_it_would_do_and_the_page_of_a_backfill_has_its_buttons() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let (place, wish) =
        ("/dags/params/backfills", [("from", "2026-01-01"), ("to", "2026-01-03"), ("most", "2"), ("conf", "")]);
    let asked = |what: &'static str| [&wish[..], &[("reprocess", "none"), ("do", what)]].concat();
    let preview = browser.submit(place, place, &asked("preview")).await;
    assert!(preview.has("3 new runs.") && preview.has("2026-01-03 02:00:00"), "{}", preview.html);
    assert!(preview.has(r#"value="2026-01-03""#), "what was typed is still there");
    let made = browser.submit(place, place, &asked("create")).await;
    assert_eq!((made.status, made.location()), (StatusCode::SEE_OTHER, "/backfills/1"));
    go(&web).await;
    let page = browser.get("/backfills/1").await;
    assert!(page.has("0 of 3 dates") && page.has("created") && page.has("by admin"), "{}", page.html);
    assert!(
        page.links().iter().any(|link| link.contains("/dags/params/runs/backfill__2026-01-01")),
        "{:?}",
        page.links()
    );
    let cells = page.html.split(r#"<ol class="cells" aria-label="Dates">"#).nth(1).expect("its dates are drawn");
    assert_eq!(cells.split("</ol>").next().map(|cells| cells.matches("<li>").count()), Some(3), "{}", page.html);
    assert!(page.has(r#"aria-label="2026-01-03 02:00:00: no status""#), "{}", page.html);
    assert!(page.has("<dt>To</dt><dd>2026-01-03</dd>"), "the last day is whole: {}", page.html);
    assert!(browser.get("/backfills").await.has("Backfill 1") && browser.get(place).await.has("Backfill 1"));
    for (button, said) in [("pause", "paused"), ("unpause", "running"), ("stop", "cancelled")] {
        let done = browser.submit("/backfills/1", "/backfills/1", &[("do", button)]).await;
        assert_eq!(done.location(), "/backfills/1");
        assert!(browser.get("/backfills/1").await.has(said), "{said}");
    }
    let late = browser.submit(place, "/backfills/1", &[("do", "pause")]).await;
    assert!(late.status == StatusCode::CONFLICT && late.has("Backfill is already completed."));
    for (field, text, words) in [
        ("from", "yesterday", "`yesterday` is not a date"),
        ("to", "", "Say from when to when"),
        ("most", "0", "a number above zero"),
        ("conf", "[]", "the conf is a list, not an object"),
        ("regex", "nothing", "no task of dag `params` matches"),
        ("each", "2026-01-01T03:00", "has no run for 2026-01-01"),
        ("each", "2999-01-01", "cannot be for the future"),
    ] {
        let fields = [&asked("create")[..], &[(field, text)]].concat();
        let refused = browser.submit(place, place, &fields).await;
        assert!(refused.status == StatusCode::UNPROCESSABLE_ENTITY && refused.has(words), "{field}: {}", refused.html);
    }
}

#[tokio::test]
async fn dates_of_backfills_are_in_the_zone_of_the_page() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    browser.cookies.insert("zone".into(), "Asia/Kolkata".into());
    let place = "/dags/params/backfills";
    assert!(browser.get(place).await.has("<small>Asia/Kolkata, included</small>"));
    // The DAG runs at 02:00 UTC, which is 07:30 in Kolkata. The day in Kolkata begins at 18:30 UTC of the day before.
    let wish = [("from", "2026-01-01"), ("to", "2026-01-02"), ("most", "2"), ("reprocess", "none")];
    let preview = browser.submit(place, place, &[&wish[..], &[("do", "preview")]].concat()).await;
    assert!(preview.has("2 new runs.") && preview.has("2026-01-01 07:30:00"), "{}", preview.html);
    let late = [("from", "2026-01-01 07:31"), ("to", "2026-01-02"), ("most", "2"), ("do", "preview")];
    assert!(browser.submit(place, place, &late).await.has("1 new run."), "a time is in the zone of the page");
    // A date without a time means the whole day, also in a list of single dates.
    let each = [("each", "2026-01-05, 2026-01-07 07:30"), ("most", "2"), ("do", "preview")];
    let preview = browser.submit(place, place, &each).await;
    assert!(preview.has("2 new runs.") && preview.has("2026-01-05 07:30:00"), "{}", preview.html);
    let made = browser.submit(place, place, &[&wish[..], &[("do", "create")]].concat()).await;
    assert_eq!(made.location(), "/backfills/1", "{}", made.html);
    let whole = web.get("/api/v2/backfills/1").await.body;
    assert_eq!(whole["from_date"], "2025-12-31T18:30:00Z");
    assert!(browser.get("/backfills").await.has("2026-01-01 to 2026-01-02"));
    let page = browser.get("/backfills/1").await;
    assert!(page.has("<dt>From</dt><dd>2026-01-01</dd><dt>To</dt><dd>2026-01-02</dd>"), "{}", page.html);
    assert!(page.has(r#"aria-label="2026-01-01 07:30:00: no status""#), "{}", page.html);
    // In another zone the same range does not begin and end at midnight.
    browser.cookies.insert("zone".into(), "UTC".into());
    let page = browser.get("/backfills").await;
    assert!(page.has("2025-12-31 18:30:00 to 2026-01-02 18:29:59"), "{}", page.html);
}
