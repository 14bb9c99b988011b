//! Archived logs, as pages and programs read them, and the report of cleanings.

use crate::browser::Browser;
use crate::fixture::Web;
use crate::live::{running, say};
use axum::http::StatusCode;
use orch_store::archive::{ArchiveDoor, Folder};
use orch_store::clean::retire_to;
use orch_store::partition::Retention;
use sqlx::PgConnection;
use std::path::Path;
use std::time::Duration;

const OLD: &str = "0190a000-0000-7000-8000-000000000000";

/// Inserts a run of two years ago whose first task logged two lines, which are archived.
async fn old_log(web: &Web, db: &mut PgConnection, archive: &Path) -> String {
    let (run, lease) = running(web, db).await;
    say(db, &lease, 0, &["loaded the needle", "done"]).await;
    for text in [
        "select make_partitions('2024-07-11')".to_owned(),
        format!("update dag_run set id = '{OLD}', state = 'success'"),
        format!(
            "update task_instance set run = '{OLD}', state = 'success', started_at = now() - interval '1 hour', ended_at = now() - interval '1 hour'"
        ),
        format!("update log_chunk set run = '{OLD}'"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(text)).execute(&mut *db).await.unwrap();
    }
    let ever = Duration::from_hours(24 * 365 * 30);
    let keep = Retention { runs: ever, logs: Duration::from_hours(24), audit: ever };
    let done = retire_to(db, &keep, &Folder::at(archive)).await.unwrap();
    assert!(done.iter().any(|one| one.how == "rolled over"), "{done:?}");
    run
}

#[tokio::test]
async fn an_old_log_is_read_from_the_archive_by_pages_and_programs() {
    let mut web = Web::new().await;
    let mut db = web.db().await;
    let archive = tempfile::tempdir().unwrap();
    let run = old_log(&web, &mut db, archive.path()).await;
    let task = format!("{run}/tasks/t0");
    let api = format!("/api/v2{}/taskInstances/t0/logs/1", run.replace("/runs/", "/dagRuns/"));
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get(&task).await;
    assert!(page.has("this server was not told of an archive"), "{}", page.html);
    drop(browser);
    web.restart(|config| {
        config.archive = ArchiveDoor::folder(archive.path());
        config.settings = vec![("archive".into(), "/the/archive".into()), ("log_retention".into(), "30d".into())];
    });
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get(&format!("{task}?q=needle")).await;
    assert!(page.has("it was read from the archive") && page.has("loaded the"), "{}", page.html);
    assert!(page.has("1 found") && page.has("2 lines, complete"), "{}", page.html);
    let page = browser.get("/workers").await;
    for words in ["What is kept", "30d, then archived", "/the/archive", "log_chunk, week of 2024-07-08: rolled over"] {
        assert!(page.has(words), "{words}: {}", page.html);
    }
    drop(browser);
    web.token = web.log_in(orch_web::ADMIN, crate::fixture::PASSWORD).await.unwrap();
    let answer = web.get(&api).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    let events: Vec<&str> =
        answer.body["content"].as_array().unwrap().iter().filter_map(|line| line["event"].as_str()).collect();
    assert!(events[0].contains("read from the archive"), "{events:?}");
    let first = &answer.body["content"][0];
    assert_eq!((&first["logger"], &first["level"]), (&"orch.archive".into(), &"info".into()));
    assert!(first["place"].is_string(), "{first}");
    assert_eq!(events[1..], ["loaded the needle", "done"]);
}

#[tokio::test]
async fn an_archive_that_is_damaged_is_said_and_breaks_no_page() {
    let mut web = Web::new().await;
    let mut db = web.db().await;
    let archive = tempfile::tempdir().unwrap();
    let run = old_log(&web, &mut db, archive.path()).await;
    let folder = archive.path().join("logs/2024w28").join(OLD);
    for object in std::fs::read_dir(folder).unwrap() {
        std::fs::write(object.unwrap().path(), b"no gzip").unwrap();
    }
    web.restart(|config| config.archive = ArchiveDoor::folder(archive.path()));
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get(&format!("{run}/tasks/t0")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.has("the archive cannot be read at the moment"), "{}", page.html);
    drop(browser);
    web.token = web.log_in(orch_web::ADMIN, crate::fixture::PASSWORD).await.unwrap();
    let answer = web.get(&format!("/api/v2{}/taskInstances/t0/logs/1", run.replace("/runs/", "/dagRuns/"))).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "no log is not an empty log: {}", answer.body);
    assert!(answer.body["detail"].as_str().unwrap().contains("the archive"), "{}", answer.body);
}
