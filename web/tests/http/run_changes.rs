//! Changes of runs: mark, note, clear, delete and wait; and the list that takes its filters in a body.

use crate::browser::Browser;
use crate::fixture::{Web, dag, read_body};
use crate::shapes::{INSTANCE, RUN, assert_shape};
use axum::http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use orch_spec::state::{RunState, TriggeredBy};
use orch_store::audit::{AUDIT, newest};
use orch_store::dag::{pause, unpause};
use orch_store::locks::Locks;
use orch_store::registry::{NewBundle, register_bundle};
use orch_store::run::{CreateRun, NewRun, create_run, get_run};
use orch_store::version::Versions;
use serde_json::{Value, json};
use sqlx::Connection;
use std::time::{Duration, Instant};

#[tokio::test]
async fn runs_are_listed_by_a_body_too() {
    let web = Web::new().await;
    let (first, second) = (web.trigger("chain").await, web.trigger("paused").await);
    for (body, expected) in [
        (json!({}), vec![&first, &second]),
        (json!({ "dag_ids": ["paused"] }), vec![&second]),
        (json!({ "states": ["running"] }), vec![&first]),
        (json!({ "states": [null] }), vec![]),
        (json!({ "order_by": "-id", "page_limit": 1 }), vec![&second]),
        (json!({ "page_offset": 1, "run_after_gte": "2020-01-01T00:00:00Z" }), vec![&second]),
        (json!({ "duration_gte": 5 }), vec![]),
    ] {
        let answer = web.post("/api/v2/dags/~/dagRuns/list", &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let runs = answer.body["dag_runs"].as_array().unwrap();
        assert_eq!(runs.iter().map(|run| run["dag_run_id"].as_str().unwrap()).collect::<Vec<_>>(), expected, "{body}");
        runs.iter().for_each(|run| assert_shape(run, RUN));
    }
    for (body, status) in [
        (json!({ "states": ["odd"] }), 422),
        (json!({ "page_limit": -1 }), 422),
        (json!({ "dag_ids": "chain" }), 422),
        (json!({ "unknown": 1 }), 422),
        (json!({ "order_by": "odd" }), 400),
    ] {
        assert_eq!(web.post("/api/v2/dags/~/dagRuns/list", &body).await.status.as_u16(), status, "{body}");
    }
}

#[tokio::test]
async fn a_run_is_marked_and_noted_and_both_are_written_down() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let path = format!("/api/v2/dags/old_chain/dagRuns/{run}");
    let noted = web.change(Method::PATCH, &path, &json!({ "note": "look here" })).await;
    assert_eq!(
        (noted.status, &noted.body["note"], &noted.body["state"]),
        (StatusCode::OK, &json!("look here"), &json!("running"))
    );
    for (body, status) in [
        (json!({ "state": "running" }), 422),
        (json!({ "state": "queued" }), 409),
        (json!({ "state": 1 }), 422),
        (json!({ "note": "x".repeat(1_001) }), 422),
    ] {
        assert_eq!(web.change(Method::PATCH, &path, &body).await.status.as_u16(), status, "{body}");
    }
    let masked = format!("{path}?update_mask=note");
    let masked = web.change(Method::PATCH, &masked, &json!({ "state": "failed", "note": null })).await.body;
    assert_eq!((&masked["note"], &masked["state"]), (&Value::Null, &json!("running")));
    let failed = web.change(Method::PATCH, &path, &json!({ "state": "failed" })).await;
    assert_shape(&failed.body, RUN);
    assert_eq!((failed.status, &failed.body["state"]), (StatusCode::OK, &json!("failed")));
    let marked = web.change(Method::PATCH, &path, &json!({ "state": "success" })).await.body;
    assert_eq!(marked["state"], "success");
    let names = format!("chain {run}");
    let expected = ["note_dag_run", "note_dag_run", "mark_dag_run", "mark_dag_run"].map(|e| format!("{e} {names}"));
    assert_eq!(web.deeds().await, expected);
}

#[tokio::test]
async fn a_run_is_cleared_after_a_look_at_what_that_does() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let path = format!("/api/v2/dags/chain/dagRuns/{run}");
    web.change(Method::PATCH, &path, &json!({ "state": "failed" })).await;
    let shown = web.post(&format!("{path}/clear"), &json!({})).await;
    assert_eq!((shown.status, &shown.body["total_entries"]), (StatusCode::OK, &json!(5)));
    shown.body["task_instances"].as_array().unwrap().iter().for_each(|i| assert_shape(i, INSTANCE));
    let only = web.post(&format!("{path}/clear"), &json!({ "only_failed": true })).await.body;
    assert_eq!(only["total_entries"], 0, "what never began was skipped");
    assert_eq!(web.get(&path).await.body["state"], "failed");
    let body = json!({ "dry_run": false, "note": "again", "run_on_latest_version": true });
    let cleared = web.post(&format!("{path}/clear"), &body).await;
    assert_eq!(
        (cleared.status, &cleared.body["state"], &cleared.body["note"]),
        (StatusCode::OK, &json!("running"), &json!("again"))
    );
    assert_shape(&cleared.body, RUN);
    assert_eq!(web.get(&format!("{path}/taskInstances/t0")).await.body["state"], "queued");
    let both = web.post(&format!("{path}/clear"), &json!({ "only_failed": true, "only_new": true })).await;
    assert_eq!(both.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_run_of_the_newest_version_is_moved_nowhere() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let moved = web.change(Method::POST, &format!("/api/orch/v1/dags/old_chain/runs/{run}/move"), &Value::Null).await;
    assert_eq!((moved.status, &moved.body["dag_run_id"]), (StatusCode::OK, &json!(run)), "{}", moved.body);
    assert_shape(&moved.body, RUN);
    let nothing = web.change(Method::POST, "/api/orch/v1/dags/chain/runs/nothing/move", &Value::Null).await;
    assert_eq!(nothing.status, StatusCode::NOT_FOUND);
    assert!(web.deeds().await.is_empty());
}

#[tokio::test]
async fn a_run_is_deleted_when_it_is_over() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let path = format!("/api/v2/dags/chain/dagRuns/{run}");
    assert_eq!(web.change(Method::DELETE, &path, &Value::Null).await.status, StatusCode::CONFLICT);
    web.change(Method::PATCH, &path, &json!({ "state": "success" })).await;
    let gone = web.change(Method::DELETE, &path, &Value::Null).await;
    assert_eq!((gone.status, gone.body), (StatusCode::NO_CONTENT, json!("")));
    assert_eq!(web.change(Method::DELETE, &path, &Value::Null).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn waiting_gives_a_line_now_and_one_at_the_end() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let path = format!("/api/v2/dags/chain/dagRuns/{run}");
    for (query, status) in [("", 422), ("?interval=0", 422), ("?interval=x", 422)] {
        assert_eq!(web.get(&format!("{path}/wait{query}")).await.status.as_u16(), status, "{query}");
    }
    let waiting = format!("{path}/wait?interval=30&result=t0");
    let (answer, ()) = tokio::join!(web.get(&waiting), async {
        web.change(Method::PATCH, &path, &json!({ "state": "success" })).await;
    });
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let body = answer.body.as_str().map_or_else(|| format!("{}\n", answer.body), String::from);
    assert!(body.ends_with("{\"results\":{},\"state\":\"success\"}\n"), "{body}");
    let request = axum::http::Request::builder().uri(&waiting).header("host", "localhost");
    let request = request.header("authorization", format!("Bearer {}", web.token)).header("accept", "application/json");
    let one = web.answer(request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(
        (&one.headers["content-type"], &one.body["state"]),
        (&"application/json".parse().unwrap(), &json!("success"))
    );
    assert_eq!(web.get("/api/v2/dags/chain/dagRuns/nothing/wait?interval=1").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_wait_pauses_between_lines_and_links_large_results() {
    let web = Web::new().await;
    let run = web.trigger("chain").await;
    let path = format!("/api/v2/dags/chain/dagRuns/{run}");
    let waiting = format!("{path}/wait?interval=0.000001&result=t0");
    let request = axum::http::Request::builder().uri(&waiting).header("host", "localhost");
    let request = request.header("authorization", format!("Bearer {}", web.token));
    let mut lines = web.open(request.body(axum::body::Body::empty()).unwrap()).await.into_body();
    let mut next = async || lines.frame().await.unwrap().unwrap().into_data().unwrap();
    let (_, first) = (next().await, Instant::now());
    next().await;
    assert!(first.elapsed() >= Duration::from_millis(450), "{:?}", first.elapsed());

    let mut db = web.db().await;
    let id = get_run(&mut db, "chain", &run).await.unwrap().unwrap().id;
    let lease = web.claim(&mut db, id).await;
    let large = json!("x".repeat(17 << 20));
    assert!(orch_store::output::put(&mut db, lease, "return_value", &large).await.unwrap());
    web.change(Method::PATCH, &path, &json!({ "state": "success" })).await;
    let end = loop {
        let line: Value = serde_json::from_slice(&next().await).unwrap();
        if line["state"] == "success" {
            break line;
        }
    };
    let url = end["results_url"].as_str().unwrap_or_else(|| panic!("{end}"));
    assert_eq!(end["results"], Value::Null);
    let listed = web.get(url).await.body;
    assert_eq!((&listed["total_entries"], &listed["xcom_entries"][0]["task_id"]), (&json!(1), &json!("t0")));
}

#[tokio::test]
async fn whoever_logged_out_does_not_hear_of_the_end() {
    let web = Web::new().await;
    web.add_user("ada", "viewer").await;
    let token = web.log_in("ada", crate::fixture::PASSWORD).await.unwrap();
    let run = web.trigger("chain").await;
    let path = format!("/api/v2/dags/chain/dagRuns/{run}");
    let waiting = format!("{path}/wait?interval=0.1");
    let request = axum::http::Request::builder().uri(&waiting).header("host", "localhost");
    let request = request.header("authorization", format!("Bearer {token}"));
    // The login is checked when the response starts. The run never ends.
    let answer = web.open(request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let gone = web.send(Method::POST, "/auth/logout", Some(&token), None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let rest = tokio::time::timeout(Duration::from_secs(30), read_body(answer.into_body())).await;
    assert!(rest.expect("it ends with the login").is_ok());
}

#[tokio::test]
async fn a_key_is_bound_to_its_user_and_body() {
    let web = Web::new().await;
    let send = |body: Value| {
        let request = axum::http::Request::builder().method(Method::POST).uri("/api/v2/dags/chain/dagRuns");
        let request = request.header("host", "localhost").header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {}", web.token)).header("idempotency-key", "k");
        web.answer(request.body(axum::body::Body::from(body.to_string())).unwrap())
    };
    let first = send(json!({ "logical_date": null, "conf": { "a": 1 } })).await;
    let again = send(json!({ "logical_date": null, "conf": { "a": 1 } })).await;
    assert_eq!((again.status, &again.body["dag_run_id"]), (StatusCode::OK, &first.body["dag_run_id"]));
    let other = send(json!({ "logical_date": null, "conf": { "a": 2 } })).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    let rows = AUDIT.rows(&mut web.db().await, &newest(10)).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.event.as_str()).collect::<Vec<_>>(), ["trigger_dag_run", "log_in"]);
}

/// Waits until this many sessions of the database wait for a lock.
async fn until_waiting(db: &mut sqlx::PgConnection, sessions: i64) {
    let waiting =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *db).await.unwrap() < sessions {
        tokio::task::yield_now().await;
    }
}

/// Both lock the DAG before the run. The cancel used to lock the run first, and then the DAG to start the queued run.
#[tokio::test]
async fn a_cancel_and_a_new_run_that_cancels_the_same_run_do_not_deadlock() {
    let web = Web::new().await;
    let (mut db, mut creator, mut gate, mut watch) = (web.db().await, web.db().await, web.db().await, web.db().await);
    let spec = json!({ "dag_id": "newest", "max_active_runs": 1, "overlap": "cancel_running",
        "tasks": [{ "task_id": "a", "kind": "rust" }] });
    register_bundle(&mut db, &NewBundle { name: "newest".into(), dags: vec![dag(spec)] }, false).await.unwrap();
    let run = web.trigger("newest").await;
    pause(&mut db, &Locks::begin(), &["newest".into()]).await.unwrap();
    web.trigger("newest").await;
    unpause(&mut db, Locks::begin(), &["newest".into()]).await.unwrap();

    let mut tx = gate.begin().await.unwrap();
    sqlx::query("select from dag where dag_id = 'newest' for no key update").execute(&mut *tx).await.unwrap();
    let new = NewRun::manual("newest", TriggeredBy::Test);
    let mut versions = Versions::default();
    let path = format!("/api/orch/v1/dags/newest/runs/{run}/cancel");
    let (created, cancelled, ()) = tokio::join!(
        create_run(&mut creator, Locks::begin(), &mut versions, &new),
        async {
            until_waiting(&mut db, 1).await;
            web.post(&path, &Value::Null).await
        },
        async {
            until_waiting(&mut watch, 2).await;
            tx.commit().await.unwrap();
        }
    );
    let CreateRun::Created(created) = created.expect("no deadlock") else { panic!("it is not created") };
    assert!(created.started && created.stopping, "{created:?}");
    assert_eq!(cancelled.status, StatusCode::CONFLICT, "the new run was first: {}", cancelled.body);
    let cancelled = get_run(&mut db, "newest", &run).await.unwrap().unwrap();
    assert_eq!(cancelled.state, RunState::Failed);
}

#[tokio::test]
async fn the_duration_of_a_run_is_the_sum_of_its_active_periods() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (cleared, other) = (web.trigger("chain").await, web.trigger("chain").await);
    // 20 of 120 minutes: the run was cleared 100 minutes after its end.
    for (run, ended, idle) in [(&cleared, "12:00", 6_000_000_000_i64), (&other, "10:30", 0)] {
        sqlx::query(
            "update dag_run set started_at = '2026-01-05 10:00+00', ended_at = ('2026-01-05 ' || $2 || '+00')::timestamptz,
              idle_micros = $3 where run_id = $1",
        )
        .bind(run)
        .bind(ended)
        .bind(idle)
        .execute(&mut db)
        .await
        .unwrap();
    }
    let listed = web.get("/api/v2/dags/chain/dagRuns?order_by=-duration").await.body;
    let listed = listed["dag_runs"].as_array().expect("a list");
    let durations: Vec<_> = listed.iter().map(|run| run["duration"].as_f64().expect("a number")).collect();
    assert_eq!(durations, [1_800.0, 1_200.0], "the order is by what is shown");
    let long = web.get("/api/v2/dags/chain/dagRuns?duration_gte=1300").await.body;
    assert_eq!(long["total_entries"], 1, "{long}");
    let mut browser = Browser::logged_in(&web).await;
    for page in ["/runs", "/dags", "/dags/chain", "/dags/chain/overview", "/dags/chain/runs"] {
        let page = browser.get(page).await;
        assert!(page.has("20 m 00 s") && !page.has("2 h 00 m"), "{}", page.html);
    }
    let encoded: String = form_urlencoded::byte_serialize(cleared.as_bytes()).collect();
    let page = browser.get(&format!("/dags/chain/runs/{encoded}")).await;
    assert!(page.has("10:00:00 – 12:00:00, active 20 m 00 s"), "{}", page.html);
    assert!(page.has("1 h 40 m, after its end until it was cleared"), "{}", page.html);
}
