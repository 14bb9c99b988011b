//! Deadlines of runs: on the pages of the run and its DAG, in the list of runs and in the API; and the links from a run
//! and a task to their alerts.

use crate::browser::Browser;
use crate::fixture::{Web, dag};
use axum::http::StatusCode;
use orch_core::alert::{TryEnd, of_deadline, of_try};
use orch_spec::state::{RunState, TaskState};
use orch_store::alert::{add_alerts, gather_alerts};
use orch_store::registry::{NewBundle, register_bundle};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

/// Starts a run of `night`, which has two deadlines and a mapped task with a notifier.
async fn night(web: &Web, db: &mut PgConnection) -> (String, Uuid) {
    let chat = json!([{ "connection": "team_chat" }]);
    let spec = dag(json!({
        "dag_id": "night",
        "deadlines": [{ "from": "queued", "after_ms": 3_600_000, "notify": chat }, { "from": "started", "after_ms": 90_000 }],
        "tasks": [{ "task_id": "each", "kind": "rust", "map": { "each": { "value": [1, 2, 3] } },
            "callbacks": { "on_failure": chat } }],
    }));
    register_bundle(db, &NewBundle { name: "night".into(), dags: vec![spec] }, false).await.unwrap();
    let run_id = web.trigger("night").await;
    let run = sqlx::query_scalar("select id from dag_run where run_id = $1").bind(&run_id).fetch_one(db).await.unwrap();
    (run_id, run)
}

async fn sql(db: &mut PgConnection, text: &'static str) {
    sqlx::query(text).execute(db).await.unwrap();
}

/// Returns state and description of each deadline, in order.
fn told(page: &Value) -> Vec<String> {
    let one = |row: &Value| format!("{} {}", row["state"].as_str().unwrap(), row["description"].as_str().unwrap());
    page["deadlines"].as_array().unwrap().iter().map(one).collect()
}

#[tokio::test]
async fn a_run_says_how_it_stands_with_its_deadlines() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (run_id, _) = night(&web, &mut db).await;
    let mut browser = Browser::logged_in(&web).await;
    let path = format!("/api/orch/v1/dags/night/runs/{run_id}/deadlines");
    let href = format!("/dags/night/runs/{run_id}");
    sql(&mut db, "update deadline set due_at = now() + interval '1 hour' where nth = 1").await;
    let open = web.get(&path).await.body;
    assert_eq!(told(&open), ["open 1 h after it was queued", "open 90 s after it started"]);
    let left = open["deadlines"][0]["seconds"].as_f64().unwrap();
    assert!((3_000.0..=3_600.0).contains(&left), "{open}");
    let page = browser.get(&href).await;
    assert!(
        page.has("1 h after it was queued") && page.has(" left</span>") && !page.has("It is late"),
        "{}",
        page.html
    );
    assert!(!browser.get("/runs").await.has("It missed a deadline"));

    sql(&mut db, "update deadline set due_at = now() - interval '5 minutes', state = 'missed' where nth = 1").await;
    let late = web.get(&path).await.body;
    assert_eq!(told(&late)[1], "missed 90 s after it started");
    assert_eq!((&late["deadlines"][1]["missed"], &late["total_entries"]), (&json!(true), &json!(2)));
    let page = browser.get(&href).await;
    assert!(page.has("It is late by 5 m") && page.has("missed, late by 5 m"), "{}", page.html);
    for list in ["/runs", "/runs?state=late", "/dags/night/runs?state=late"] {
        let page = browser.get(list).await;
        assert!(page.has("It missed a deadline") && page.has(&run_id), "{list}");
    }
    assert!(browser.get("/dags/chain/runs?state=late").await.has("No matching runs"));
    let overview = browser.get("/dags/night/overview").await;
    assert!(
        overview.has("1 h after it was queued, tells team_chat; 90 s after it started")
            && overview.has("1 of the last 1")
    );
    assert!(browser.get("/dags/night/details").await.has("1 h after it was queued, tells team_chat"));

    // The run finishes five and a half minutes late for one deadline, and meets the other.
    sql(
        &mut db,
        "update dag_run set state = 'success', ended_at = now() + interval '30 seconds' where dag_id = 'night'",
    )
    .await;
    let page = browser.get(&href).await;
    assert!(page.has("missed by 5 m") && page.has("kept, ") && !page.has("It is late"), "{}", page.html);
    assert_eq!(told(&web.get(&path).await.body)[0], "met 1 h after it was queued");
}

#[tokio::test]
async fn deadlines_are_listed_of_all_runs_and_of_the_dag() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (first, _) = night(&web, &mut db).await;
    let second = web.trigger("night").await;
    sql(&mut db, "update deadline set state = 'missed', due_at = now() where nth = 0").await;
    let all = web.get("/api/orch/v1/dags/~/runs/~/deadlines?limit=3").await.body;
    assert_eq!((&all["total_entries"], all["deadlines"].as_array().unwrap().len()), (&json!(4), 3));
    let missed = web.get("/api/orch/v1/dags/night/runs/~/deadlines?missed=true").await.body;
    let runs: Vec<&str> =
        missed["deadlines"].as_array().unwrap().iter().filter_map(|d| d["dag_run_id"].as_str()).collect();
    assert_eq!(runs, [second.as_str(), first.as_str()], "the newest first");
    assert_eq!(web.get("/api/orch/v1/dags/chain/runs/~/deadlines").await.body["total_entries"], 0);
    for (path, status) in [
        ("nothing/runs/~/deadlines", StatusCode::NOT_FOUND),
        ("night/runs/nothing/deadlines", StatusCode::NOT_FOUND),
        ("~/runs/nothing/deadlines", StatusCode::NOT_FOUND),
        ("night/runs/~/deadlines?missed=perhaps", StatusCode::UNPROCESSABLE_ENTITY),
        ("nothing/deadlineAlerts", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(web.get(&format!("/api/orch/v1/dags/{path}")).await.status, status, "{path}");
    }
    let named = web.get("/api/orch/v1/dags/night/deadlineAlerts").await.body;
    assert_eq!(
        named["deadline_alerts"][0],
        json!({ "number": 0, "description": "1 h after it was queued", "reference_type": "queued", "interval": 3600.0,
            "connections": ["team_chat"] })
    );
    assert_eq!(named["total_entries"], 2);
}

#[tokio::test]
async fn a_run_and_a_task_lead_to_who_was_told_of_them() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (run_id, run) = night(&web, &mut db).await;
    let spec = sqlx::query_scalar::<_, Value>(
        "select spec from dag_version v join dag_run r on r.version = v.id where r.id = $1",
    );
    let spec: orch_spec::DagSpec = serde_json::from_value(spec.bind(run).fetch_one(&mut db).await.unwrap()).unwrap();
    let mut browser = Browser::logged_in(&web).await;
    let href = format!("/dags/night/runs/{run_id}");
    assert!(!browser.get(&href).await.has("/alerts?dag=night"), "nobody was told so far");
    for map_index in 0..3 {
        let causes = ["no answer".into()];
        let end =
            TryEnd { attempt: Uuid::now_v7(), try_number: 1, map_index, state: TaskState::Failed, causes: &causes };
        add_alerts(&mut db, Some(run), &of_try("night", &spec.tasks[0], end)).await.unwrap();
    }
    let missed = of_deadline("night", (0, &spec.deadlines[0]), run, RunState::Running);
    add_alerts(&mut db, Some(run), &missed).await.unwrap();
    sql(&mut db, "update alert_part set at = now() - interval '1 minute'").await;
    assert_eq!(gather_alerts(&mut db).await.unwrap(), 1);

    let page = browser.get(&href).await;
    assert!(page.has("2, not delivered yet"), "{}", page.html);
    let alerts = page.links().into_iter().find(|link| link.starts_with("/alerts?")).expect("a way to its alerts");
    let list = browser.get(&alerts).await;
    assert!(list.has("3 elements of task") && list.has("missed its deadline") && list.has(&run_id));
    assert!(list.has("?task=each&#38;state=failed"), "{}", list.html);
    let task = browser.get(&format!("{href}/tasks/each")).await;
    let alerts = task.links().into_iter().find(|link| link.starts_with("/alerts?")).expect("a way to its alerts");
    assert!(alerts.contains("task=each"), "{alerts}");
    let list = browser.get(&alerts).await;
    assert!(list.has("3 elements of task") && !list.has("missed its deadline"));

    let encoded: String = form_urlencoded::byte_serialize(run_id.as_bytes()).collect();
    let told = web.get(&format!("/api/orch/v1/alerts?dag_id=night&dag_run_id={encoded}&task_id=each")).await.body;
    let one = &told["alerts"][0];
    assert_eq!((&told["total_entries"], &one["count"], &one["map_indexes"]), (&json!(1), &json!(3), &json!([0, 1, 2])));
    assert_eq!(one["reason"], "[0], [1], [2] no answer");
}
