//! Health for probes and users.

use crate::fixture::Web;
use axum::http::{Method, StatusCode};
use orch_store::hint::Hints;
use orch_store::import_error::{ENDPOINT_FILES, STREAM_FILES, set_import_errors};
use orch_store::process::{Role, heartbeat, register_process};
use orch_web::{App, WebConfig, router};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test]
async fn a_server_with_its_database_is_alive_and_ready() {
    let web = Web::new().await;
    let alive = web.send(Method::GET, "/healthz", None, None).await;
    assert_eq!((alive.status, alive.body), (StatusCode::OK, json!({ "status": "ok" })));
    let ready = web.send(Method::GET, "/readyz", None, None).await;
    assert_eq!(ready.status, StatusCode::OK);
    assert_eq!((&ready.body["status"], &ready.body["database"]["status"]), (&json!("ready"), &json!("ok")));
    assert_eq!(ready.body["scheduler"], json!(null));
    let health = web.send(Method::GET, "/api/v2/monitor/health", None, None).await;
    assert_eq!(health.status, StatusCode::OK);
    let expected = json!({
        "metadatabase": { "status": "healthy" },
        "scheduler": { "status": null, "latest_scheduler_heartbeat": null },
        "triggerer": { "status": null, "latest_triggerer_heartbeat": null },
        "dag_processor": { "status": null, "latest_dag_processor_heartbeat": null },
    });
    assert_eq!(health.body, expected);
}

/// The process responds before users can log in. Until they can, probes and users must wait.
#[tokio::test]
async fn a_server_that_is_not_set_up_yet_is_starting() {
    let mut web = Web::new().await;
    let is_set_up = Arc::new(AtomicBool::new(false));
    web.restart(|config| config.is_set_up = is_set_up.clone());
    let starting = web.get("/readyz").await;
    assert_eq!((starting.status, &starting.body["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("starting")));
    is_set_up.store(true, Ordering::Release);
    let ready = web.get("/readyz").await;
    assert_eq!((ready.status, &ready.body["status"]), (StatusCode::OK, &json!("ready")));
}

/// The body contains the reason.
#[tokio::test]
async fn a_server_whose_dag_files_are_not_read_yet_is_starting() {
    let mut web = Web::new().await;
    assert_eq!(web.get("/readyz").await.body["dag_files"], json!(null), "another process reads them");
    let are_read = Arc::new(AtomicBool::new(false));
    web.restart(|config| config.dag_files_read = Some(are_read.clone()));
    let starting = web.get("/readyz").await;
    assert_eq!((starting.status, &starting.body["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("starting")));
    assert_eq!(starting.body["dag_files"]["status"], json!("being read"));
    are_read.store(true, Ordering::Release);
    let ready = web.get("/readyz").await;
    assert_eq!((ready.status, &ready.body["dag_files"]), (StatusCode::OK, &json!({ "status": "read" })));
}

#[tokio::test]
async fn files_that_the_bundle_reads_are_reported_and_do_not_count() {
    let mut web = Web::new().await;
    assert_eq!(web.get("/readyz").await.body["stream_files"], json!(null), "no process has read any");
    let at = async |web: &Web, bundle: &str, at: &str| {
        let read =
            "insert into folder_read values ($1, $2::timestamptz) on conflict (bundle) do update set at = excluded.at";
        sqlx::query(read).bind(bundle).bind(at).execute(&mut web.db().await).await.unwrap();
    };
    at(&web, STREAM_FILES, "2001-01-01").await;
    set_import_errors(&mut web.db().await, ENDPOINT_FILES, &BTreeMap::new()).await.unwrap();
    web.restart(|_| ());
    let elsewhere = web.get("/readyz").await.body;
    assert_eq!(elsewhere["stream_files"]["status"], "read", "another process started the bundle: {elsewhere}");
    assert_eq!(elsewhere["endpoint_files"]["status"], "read");
    let restart = |web: &mut Web| web.restart(|config| config.dag_files_read = Some(Arc::new(AtomicBool::new(true))));
    restart(&mut web);
    let ready = web.get("/readyz").await;
    assert_eq!((ready.status, &ready.body["stream_files"]), (StatusCode::OK, &json!({ "status": "being read" })));
    at(&web, STREAM_FILES, "2999-01-01").await;
    restart(&mut web);
    let read = web.get("/readyz").await.body;
    assert_eq!(read["stream_files"], json!({ "status": "read", "read_at": "2999-01-01T00:00:00Z" }));
}

/// Disk, memory or connections are used up: not a mistake of the client, and not over within a second.
#[tokio::test]
async fn a_database_that_is_full_is_no_failure_of_the_server() {
    let web = Web::new().await;
    let mut db = web.db().await;
    for (code, words) in [
        ("53100", "the disk of the database is full"),
        ("53200", "the database is out of memory"),
        ("53300", "the database has no connection left"),
    ] {
        let full = format!(
            "create or replace function is_full() returns trigger language plpgsql as
              $$ begin raise exception 'could not extend file' using errcode = '{code}'; end $$;
            create or replace trigger is_full before insert on variable for each row execute function is_full()"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(full)).execute(&mut db).await.unwrap();
        let refused = web.post("/api/v2/variables", &json!({ "key": "a", "value": "b" })).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{code}: {}", refused.body);
        assert_eq!(refused.headers["retry-after"], "30", "{code}");
        let said = refused.body["detail"].as_str().unwrap();
        assert!(said.starts_with(words) && !said.contains("extend"), "{said}");
    }
}

#[tokio::test]
async fn a_scheduler_is_shown_with_the_progress_of_its_loops() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let id = register_process(&mut db, Role::Scheduler, "somewhere", 1).await.unwrap();
    heartbeat(&mut db, id, &json!({ "due_runs": "2026-11-20T06:00:00Z" })).await.unwrap();
    let ready = web.get("/readyz").await.body;
    assert_eq!(ready["scheduler"]["healthy"], true);
    assert!(ready["scheduler"]["heartbeat_age_s"].as_f64().unwrap() < 5.0);
    assert_eq!(ready["scheduler"]["progress"], json!({ "due_runs": "2026-11-20T06:00:00Z" }));
    assert!(!ready.to_string().contains("somewhere"), "hosts are nobody's business");
    let health = web.get("/api/v2/monitor/health").await.body;
    assert_eq!(health["scheduler"]["status"], "healthy");
    assert!(health["scheduler"]["latest_scheduler_heartbeat"].is_string());
}

#[tokio::test]
async fn a_scheduler_that_is_silent_for_long_is_unhealthy() {
    let web = Web::new().await;
    let mut db = web.db().await;
    register_process(&mut db, Role::Scheduler, "somewhere", 1).await.unwrap();
    sqlx::raw_sql("update process set heartbeat_at = now() - interval '1 minute'").execute(&mut db).await.unwrap();
    assert_eq!(web.get("/api/v2/monitor/health").await.body["scheduler"]["status"], "unhealthy");
    assert_eq!(web.get("/readyz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_wrong_schema_is_not_ready_and_says_what_to_do() {
    let web = Web::new().await;
    let mut db = web.db().await;
    sqlx::raw_sql("update schema_guard set version = 0").execute(&mut db).await.unwrap();
    let ready = web.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.body["database"]["hint"].as_str().unwrap().contains("orch db migrate"), "{}", ready.body);
}

#[tokio::test]
async fn without_a_database_the_server_says_so_and_stays() {
    let mut web = Web::new().await;
    let url = "postgres://nobody@127.0.0.1:1/none";
    let app = App::new(WebConfig::new(url), Hints::new()).expect("it starts all the same");
    web.use_router(router(&app));
    assert_eq!(web.get("/healthz").await.status, StatusCode::OK);
    let ready = web.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.body["database"]["status"], "unreachable");
    let health = web.get("/api/v2/monitor/health").await;
    assert_eq!((health.status, &health.body["metadatabase"]["status"]), (StatusCode::OK, &json!("unhealthy")));
    let refused = web.get("/api/v2/dags").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers.contains_key("retry-after") && refused.body["request_id"].is_string());
    assert!(!refused.body.to_string().contains("127.0.0.1"), "{}", refused.body);
}

#[tokio::test]
async fn the_version_is_told_to_everybody() {
    let web = Web::new().await;
    let answer = web.send(Method::GET, "/api/v2/version", None, None).await;
    assert_eq!(answer.body, json!({ "version": env!("CARGO_PKG_VERSION"), "git_version": null }));
}
