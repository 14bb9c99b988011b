//! Assets over the API: Airflow's operations with Airflow's response shapes, and orch's own freshness and lineage.

use crate::browser::Browser;
use crate::fixture::{Web, dag};
use crate::shapes::{RUN, assert_shape};
use axum::http::{Method, StatusCode};
use orch_sdk::task::Ctx;
use orch_spec::asset::{AssetEvent, CheckOutcome, CheckPolicy, CheckResult, LineageEdge};
use orch_spec::state::TaskState;
use orch_store::asset::{CheckTrail, begin_triggered_runs, dags_to_ask, distribute, keep_checks};
use orch_store::locks::Locks;
use orch_store::registry::{NewBundle, register_bundle};
use orch_store::step::{EndedTry, Mode, Stepper, Touched, WorkerStep};
use orch_store::version::Versions;
use serde_json::{Value, json};

const ASSET: &[(&str, &str)] = &[
    ("id", "integer"),
    ("name", "text"),
    ("uri", "text"),
    ("group", "text"),
    ("extra", "object?"),
    ("created_at", "time"),
    ("updated_at", "time"),
    ("scheduled_dags", "list"),
    ("producing_tasks", "list"),
    ("consuming_tasks", "list"),
    ("aliases", "list"),
    ("watchers", "list"),
    ("last_asset_event", "object?"),
];
const EVENT: &[(&str, &str)] = &[
    ("id", "integer"),
    ("asset_id", "integer"),
    ("uri", "text?"),
    ("name", "text?"),
    ("group", "text?"),
    ("extra", "object?"),
    ("source_task_id", "text?"),
    ("source_dag_id", "text?"),
    ("source_run_id", "text?"),
    ("source_map_index", "integer"),
    ("created_dagruns", "list"),
    ("timestamp", "time"),
    ("partition_key", "text?"),
];
const CREATED: &[(&str, &str)] = &[
    ("run_id", "text"),
    ("dag_id", "text"),
    ("logical_date", "time?"),
    ("start_date", "time"),
    ("end_date", "time?"),
    ("state", "text"),
    ("data_interval_start", "time?"),
    ("data_interval_end", "time?"),
    ("partition_key", "text?"),
    ("triggering", "flag"),
];

/// `make` produces `orders`, which `both` waits for together with `lines`, and `parts` by partition.
async fn web() -> Web {
    let web = Web::new().await;
    let orders = json!({ "uri": "lake://orders", "name": "orders", "group": "gold", "fresh_within_ms": 60_000 });
    let task = json!([{ "task_id": "t", "kind": "rust" }]);
    let dags = vec![
        dag(
            json!({ "dag_id": "make", "tasks": [{ "task_id": "t", "kind": "rust", "outlets": [orders, { "alias": "daily" }],
            "inlets": ["lake://raw"] }] }),
        ),
        dag(
            json!({ "dag_id": "both", "schedule": { "assets": [{ "uri": "lake://orders" }, { "uri": "lake://lines" }] },
            "tasks": task }),
        ),
        dag(json!({ "dag_id": "parts", "schedule": { "asset_partitions": { "asset": { "uri": "lake://orders" } } },
            "tasks": task })),
    ];
    let bundle = NewBundle { name: "lake".into(), dags };
    register_bundle(&mut web.db().await, &bundle, false).await.expect("they register");
    web
}

/// Runs one scheduler round.
async fn go(web: &Web) {
    let mut db = web.db().await;
    distribute(&mut db, 100).await.expect("it distributes");
    for dag_id in dags_to_ask(&mut db, 100).await.expect("a list") {
        begin_triggered_runs(&mut db, Locks::begin(), &mut Versions::default(), &dag_id).await.expect("they begin");
    }
}

async fn id(web: &Web, name: &str) -> i64 {
    let found = web.get(&format!("/api/v2/assets?name_pattern={name}")).await.body;
    found["assets"][0]["id"].as_i64().expect("it is there")
}

async fn say(web: &Web, name: &str, key: Option<&str>) -> Value {
    let body = json!({ "asset_id": id(web, name).await, "partition_key": key, "extra": { "rows": 7 } });
    let answer = web.post("/api/v2/assets/events", &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    go(web).await;
    answer.body
}

#[tokio::test]
async fn assets_have_airflows_shape() {
    let web = web().await;
    let list = web.get("/api/v2/assets?order_by=-name").await.body;
    let names: Vec<_> = list["assets"].as_array().unwrap().iter().map(|a| a["name"].clone()).collect();
    assert_eq!(names, ["orders", "lake://raw", "lake://lines"]);
    assert_eq!(list["total_entries"], 3);
    assert_shape(&list["assets"][0], ASSET);
    let orders = web.get(&format!("/api/v2/assets/{}", id(&web, "orders").await)).await.body;
    assert_eq!((&orders["group"], &orders["uri"]), (&json!("gold"), &json!("lake://orders")));
    let dags: Vec<_> = orders["scheduled_dags"].as_array().unwrap().iter().map(|d| d["dag_id"].clone()).collect();
    assert_eq!((dags, &orders["producing_tasks"][0]["task_id"]), (vec![json!("both"), json!("parts")], &json!("t")));
    assert_eq!(orders["last_asset_event"], json!({ "id": null, "timestamp": null }));
    for (query, many) in
        [("uri_prefix_pattern=lake://o", 1), ("dag_ids=make", 2), ("dag_ids=x", 0), ("name_pattern=ORD", 1)]
    {
        assert_eq!(web.get(&format!("/api/v2/assets?{query}")).await.body["total_entries"], many, "{query}");
    }
    assert_eq!(web.get("/api/v2/assets/9999").await.status, StatusCode::NOT_FOUND);
    assert_eq!(web.get("/api/v2/assets/x").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let aliases = web.get("/api/v2/assets/aliases").await.body;
    let alias = &aliases["asset_aliases"][0];
    assert_eq!((&alias["name"], &alias["group"]), (&json!("daily"), &json!("asset")));
    assert_eq!(web.get(&format!("/api/v2/assets/aliases/{}", alias["id"])).await.body, *alias);
    let details = web.get("/api/v2/dags/both/details").await.body;
    let leaf = |uri: &str| json!({ "asset": { "uri": uri, "name": uri, "group": "asset" } });
    assert_eq!(details["asset_expression"], json!({ "all": [leaf("lake://orders"), leaf("lake://lines")] }));
    assert_eq!((&details["timetable_summary"], &details["timetable_partitioned"]), (&json!("Asset"), &json!(false)));
    for (query, many) in [("has_asset_schedule=true", 2), ("asset_dependency=lines", 1), ("asset_dependency=raw", 1)] {
        assert_eq!(web.get(&format!("/api/v2/dags?{query}")).await.body["total_entries"], many, "{query}");
    }
}

#[tokio::test]
async fn dependencies_name_assets_and_other_dags() {
    let web = web().await;
    let tasks = json!([
        { "task_id": "next", "kind": "trigger_dag", "config": { "dag_id": "make" } },
        { "task_id": "before", "kind": "wait_for_dag", "config": { "dag_id": "gone" } },
    ]);
    let bundle = NewBundle { name: "more".into(), dags: vec![dag(json!({ "dag_id": "more", "tasks": tasks }))] };
    register_bundle(&mut web.db().await, &bundle, false).await.expect("they register");
    let found = web.get("/api/orch/v1/assets/dependencies").await.body;
    let role = |role: &str, other: &str| json!({ "dag_id": "more", "role": role, "other_dag_id": other });
    assert_eq!(found["dag_dependencies"], json!([role("trigger", "make"), role("wait", "gone")]));
    let assets = found["dependencies"].as_array().unwrap();
    assert_eq!(found["total_entries"], assets.len());
    assert!(assets.contains(&json!({ "dag_id": "make", "role": "outlet", "asset": "orders" })), "{found}");
}

#[tokio::test]
async fn an_event_from_outside_begins_runs_that_say_where_they_come_from() {
    let web = web().await;
    let event = say(&web, "orders", None).await;
    assert_shape(&event, EVENT);
    assert_eq!(event["extra"], json!({ "rows": 7, "from_rest_api": true }));
    let queued = web.get("/api/v2/dags/both/assets/queuedEvents").await.body;
    assert_eq!((&queued["total_entries"], &queued["queued_events"][0]["dag_id"]), (&json!(1), &json!("both")));
    say(&web, "lines", None).await;
    let events = web.get("/api/v2/assets/events?order_by=-timestamp").await.body;
    assert_eq!(events["total_entries"], 2);
    let created = &events["asset_events"][0]["created_dagruns"][0];
    assert_shape(created, CREATED);
    assert_eq!((&created["triggering"], &created["state"]), (&json!(true), &json!("running")));
    assert_eq!(events["asset_events"][1]["created_dagruns"][0]["triggering"], false);
    let runs = web.get("/api/v2/dags/both/dagRuns?consuming_asset_pattern=LINES").await.body;
    let run = &runs["dag_runs"][0];
    assert_shape(run, RUN);
    assert_eq!((&run["run_type"], &run["triggered_by"]), (&json!("asset_triggered"), &json!("asset")));
    assert_eq!((&run["logical_date"], &run["data_interval_start"]), (&Value::Null, &Value::Null));
    assert_eq!(web.get("/api/v2/dags/both/dagRuns?consuming_asset_pattern=raw").await.body["total_entries"], 0);
    let path = run["dag_run_id"].as_str().expect("an id").replace('+', "%2B");
    let upstream = web.get(&format!("/api/v2/dags/both/dagRuns/{path}/upstreamAssetEvents")).await.body;
    assert_eq!(upstream["total_entries"], 2);
    let of = web.get(&format!("/api/v2/assets/events?asset_id={}", id(&web, "lines").await)).await.body;
    assert_eq!(of["total_entries"], 1);
}

#[tokio::test]
async fn a_partition_is_the_runs_own() {
    let web = web().await;
    say(&web, "orders", Some("2026-11-20")).await;
    let runs = web.get("/api/v2/dags/parts/dagRuns?partition_key_pattern=11-20").await.body;
    assert_eq!((&runs["total_entries"], &runs["dag_runs"][0]["partition_key"]), (&json!(1), &json!("2026-11-20")));
    let body = json!({ "logical_date": null, "partition_key": "mine" });
    assert_eq!(web.post("/api/v2/dags/chain/dagRuns", &body).await.body["partition_key"], "mine");
    for key in ["", " ", "a\u{7}"] {
        let body = json!({ "asset_id": 1, "partition_key": key });
        assert_eq!(web.post("/api/v2/assets/events", &body).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{key:?}");
    }
}

#[tokio::test]
async fn queued_events_can_be_forgotten() {
    let web = web().await;
    say(&web, "orders", None).await;
    let orders = id(&web, "orders").await;
    let paths = [
        format!("/api/v2/assets/{orders}/queuedEvents"),
        "/api/v2/dags/both/assets/queuedEvents".into(),
        format!("/api/v2/dags/both/assets/{orders}/queuedEvents"),
    ];
    let one = web.get(&paths[2]).await.body;
    assert_eq!((&one["dag_id"], &one["asset_id"]), (&json!("both"), &json!(orders)));
    let before = format!("{}?before=2020-01-01T00:00:00Z", paths[0]);
    assert_eq!(web.get(&before).await.body["total_entries"], 0);
    for path in paths {
        assert_eq!(web.change(Method::DELETE, &path, &Value::Null).await.status, StatusCode::NO_CONTENT, "{path}");
        assert_eq!(web.change(Method::DELETE, &path, &Value::Null).await.status, StatusCode::NOT_FOUND, "{path}");
        say(&web, "orders", None).await;
    }
    assert!(web.deeds().await.contains(&"delete_queued_asset_events both".to_string()));
}

#[tokio::test]
async fn an_asset_is_made_by_its_dag() {
    let web = web().await;
    let path = format!("/api/v2/assets/{}/materialize", id(&web, "orders").await);
    let run = web.change(Method::POST, &path, &Value::Null).await;
    assert_eq!(run.status, StatusCode::OK, "{}", run.body);
    assert_eq!((&run.body["dag_id"], &run.body["run_type"]), (&json!("make"), &json!("asset_materialization")));
    let named = web.post(&path, &json!({ "dag_run_id": "mine", "partition_key": "p" })).await.body;
    assert_eq!((&named["dag_run_id"], &named["partition_key"]), (&json!("mine"), &json!("p")));
    let none = format!("/api/v2/assets/{}/materialize", id(&web, "lines").await);
    assert_eq!(web.change(Method::POST, &none, &Value::Null).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn freshness_and_lineage_are_extras() {
    let web = web().await;
    let run = web.trigger("make").await;
    let mut db = web.db().await;
    let key: uuid::Uuid =
        sqlx::query_scalar("select id from dag_run where run_id = $1").bind(&run).fetch_one(&mut db).await.unwrap();
    let lease = web.claim(&mut db, key).await;
    let touched = Touched {
        dag_id: "make".into(),
        run_id: run.clone(),
        task_id: "t".into(),
        events: vec![AssetEvent::of("lake://orders").rows(42)],
        edges: vec![LineageEdge { from: "lake://raw".into(), to: "lake://orders".into(), rows: Some(42) }],
    };
    let ended = EndedTry { touched: Some(Box::new(touched)), ..EndedTry::new(lease, TaskState::Success) };
    let step = WorkerStep { ended: vec![ended], mode: Mode::Record, ..WorkerStep::default() };
    Stepper::default().send(&mut db, &step, 1).await.expect("it is recorded");
    go(&web).await;
    let events = web.get("/api/v2/assets/events?source_dag_id=make&source_task_id=t").await.body;
    assert_eq!((&events["asset_events"][0]["extra"], &events["total_entries"]), (&json!({ "rows": 42 }), &json!(1)));
    let lineage = web.get(&format!("/api/orch/v1/dags/make/runs/{}/lineage", run.replace('+', "%2B"))).await.body;
    assert_eq!((&lineage["lineage"][0]["rows"], &lineage["lineage"][0]["from"]), (&json!(42), &json!("lake://raw")));
    let extra = web.get(&format!("/api/orch/v1/assets/{}", id(&web, "orders").await)).await.body;
    assert_eq!((&extra["fresh_within_seconds"], &extra["stale"]), (&json!(60.0), &json!(false)));
    assert_eq!(extra["lineage"][0]["to"], "lake://orders");
    let waits = json!([{ "asset": "lake://orders", "updated": true }, { "asset": "lake://lines", "updated": false }]);
    assert_eq!(extra["waiting"][0], json!({ "dag_id": "both", "waits_for": waits }));
    sqlx::query("update asset set stale_since = now() where name = 'orders'").execute(&mut db).await.unwrap();
    let stale = web.get("/api/orch/v1/assets?stale=true").await.body;
    assert_eq!((&stale["total_entries"], &stale["assets"][0]["name"]), (&json!(1), &json!("orders")));
}

const CHECK: &[(&str, &str)] = &[
    ("id", "integer"),
    ("name", "text"),
    ("kind", "text"),
    ("policy", "text"),
    ("outcome", "text"),
    ("rows", "integer"),
    ("rows_bad", "integer"),
    ("sample", "text"),
    ("dag_id", "text"),
    ("dag_run_id", "text"),
    ("task_id", "text"),
    ("map_index", "integer"),
    ("try_number", "integer"),
    ("at", "time"),
];

/// Records three batches: two pass, and the third has a row that violates a check.
async fn checked(web: &Web) {
    let result = |name: &str, policy, bad| CheckResult {
        name: name.into(),
        kind: "range".into(),
        policy,
        outcome: if bad == 0 { CheckOutcome::Pass } else { CheckOutcome::of_bad(policy) },
        rows: 1_200,
        bad,
        sample: if bad == 0 { String::new() } else { "id 7: n is <0>".into() },
    };
    for bad in [0, 0, 3] {
        let results = vec![
            result("n is at least 1", CheckPolicy::Quarantine, bad),
            result("day is at most today", CheckPolicy::Fail, 0),
        ];
        let trail = CheckTrail::new(&Ctx::test(), "lake://orders", results);
        keep_checks(&mut web.db().await, &trail).await.expect("they are kept");
    }
}

#[tokio::test]
async fn checks_are_listed_and_shown_with_what_was_found() {
    let web = web().await;
    let orders = id(&web, "orders").await;
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get(&format!("/assets/{orders}")).await;
    assert!(page.has("No contract has looked at it yet"));
    checked(&web).await;
    let all = web.get(&format!("/api/orch/v1/assets/{orders}/checks")).await.body;
    assert_eq!(all["total_entries"], 6);
    assert_shape(&all["checks"][0], CHECK);
    let aside = web.get(&format!("/api/orch/v1/assets/{orders}/checks?outcome=quarantined")).await.body;
    assert_eq!((&aside["total_entries"], &aside["checks"][0]["rows_bad"]), (&json!(1), &json!(3)));
    let page_of_one = web.get(&format!("/api/orch/v1/assets/{orders}/checks?limit=1&offset=5")).await.body;
    assert_eq!((page_of_one["checks"].as_array().map(Vec::len), &page_of_one["total_entries"]), (Some(1), &json!(6)));
    let by_uri = web.get("/api/orch/v1/assets/checks?uri=lake://orders&outcome=quarantined").await.body;
    assert_eq!(by_uri, aside, "data that no DAG names has a URI and no id");
    for wrong in [&format!("{orders}/checks?outcome=passed"), "checks?uri=lake://orders&outcome=passed", "checks"] {
        let wrong = web.get(&format!("/api/orch/v1/assets/{wrong}")).await;
        assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", wrong.body);
    }
    assert_eq!(web.get("/api/orch/v1/assets/9999/checks").await.status, StatusCode::NOT_FOUND);
    let page = browser.get(&format!("/assets/{orders}")).await;
    for text in [
        "n is at least 1",
        "3 of 1,200 rows put aside",
        "id 7: n is &#60;0&#62;",
        "day is at most today",
        "quarantined",
    ] {
        assert!(page.has(text), "{text}");
    }
}

#[tokio::test]
async fn pages_say_who_waits_for_what_and_what_is_stale() {
    let web = web().await;
    let mut browser = Browser::logged_in(&web).await;
    let list = browser.get("/assets").await;
    for text in ["orders", "lake://orders", "lake://lines", "never"] {
        assert!(list.has(text), "{text}");
    }
    // The asset declares a freshness limit, but has no event yet.
    assert!(!list.has("</svg>fresh<"), "{}", list.html);
    let orders = format!("/assets/{}", id(&web, "orders").await);
    assert!(list.has(&orders));
    let page = browser.get(&orders).await;
    for text in
        ["It was not updated yet", "0 of 2 assets updated", "<title>make.t</title>", "Record an update", "Materialize"]
    {
        assert!(page.has(text), "{text}: {}", page.html);
    }
    let said = browser.submit(&orders, &format!("{orders}/update"), &[("partition", "mon")]).await;
    assert_eq!((said.status, said.location()), (StatusCode::SEE_OTHER, orders.as_str()));
    go(&web).await;
    assert!(browser.get("/assets").await.has("</svg>fresh<"));
    let page = browser.get(&orders).await;
    for text in ["partition mon", "1 of 2 assets updated", "began", "/dags/parts/runs/asset_triggered__"] {
        assert!(page.has(text), "{text}: {}", page.html);
    }
    let waits = browser.get("/dags/both/overview").await;
    assert!(waits.has("1 of 2 assets updated") && waits.has("not yet") && waits.has(&orders), "{}", waits.html);
    let run = web.get("/api/v2/dags/parts/dagRuns").await.body["dag_runs"][0]["dag_run_id"].clone();
    let run = run.as_str().expect("a run id").replace('+', "%2B");
    assert!(browser.get(&format!("/dags/parts/runs/{run}")).await.has("Triggered by updates of"));
    let made = browser.submit(&orders, &format!("{orders}/make"), &[]).await;
    assert!(made.location().starts_with("/dags/make/runs/asset_materialization__"), "{}", made.location());
    assert!(!browser.get("/").await.has("it is stale"));
    sqlx::query("update asset set stale_since = now() where name = 'orders'")
        .execute(&mut web.db().await)
        .await
        .unwrap();
    assert!(browser.get("/").await.has("it is stale"));
    assert!(browser.get("/assets?state=stale").await.has("orders"));
    assert!(browser.get(&orders).await.has("It is stale."));
    assert_eq!(browser.get("/assets/9999").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn lineage_is_drawn_across_dags() {
    let web = web().await;
    let mut browser = Browser::logged_in(&web).await;
    let all = ["both", "lake://lines", "lake://orders", "lake://raw", "make.t", "parts"];
    for (query, expected) in [
        ("", &all[..]),
        ("?of=lake://raw&reach=down", &["both", "lake://orders", "lake://raw", "make.t", "parts"]),
        ("?of=orders&reach=up", &["lake://orders", "lake://raw", "make.t"]),
        ("?of=make", &["both", "lake://orders", "lake://raw", "make.t", "parts"]),
        ("?of=both&reach=up", &["both", "lake://lines", "lake://orders", "lake://raw", "make.t"]),
        ("?of=lake://lines&reach=up", &["lake://lines"]),
        ("?of=nothing", &[]),
    ] {
        let page = browser.get(&format!("/assets/lineage{query}")).await;
        let drawn = all.into_iter().filter(|name| page.has(&format!("<title>{name}</title>")));
        assert_eq!(drawn.collect::<Vec<_>>(), expected, "{query}: {}", page.html);
    }
    assert!(browser.get("/assets/lineage?of=%3Cb%3E").await.has("Nothing is known of “&#60;b&#62;”"));
    // Each box of the lineage links to its neighbourhood, and the selected one to its page.
    let orders = format!("/assets/{}", id(&web, "orders").await);
    let page = browser.get("/assets/lineage?of=orders").await;
    assert!(page.has("href=\"/assets/lineage?of=lake%3A%2F%2Fraw\""), "{}", page.html);
    assert!(page.has(&format!("href=\"{orders}\" aria-current=\"true\"")), "{}", page.html);
    assert!(page.has(&format!("<a class=\"btn bare tiny\" href=\"{orders}\">Open its page</a>")), "{}", page.html);
    assert!(page.has("table of the lake") && page.has("class=\"wire wait\""), "{}", page.html);
}
