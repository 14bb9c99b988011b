//! Live pages: the events of their streams, when a stream ends, and that it resumes where it stopped.

use crate::browser::Browser;
use crate::fixture::Web;
use axum::body::Body;
use axum::http::{Method, StatusCode};
use chrono::TimeDelta;
use http_body_util::BodyExt;
use orch_spec::state::TaskState;
use orch_store::hint::Hint;
use orch_store::log::{NewChunk, append};
use orch_store::step::Lease;
use serde_json::json;
use sqlx::PgConnection;
use std::time::Duration;

/// Returns the next event, or `None` at the end of the stream.
pub(crate) async fn next(stream: &mut Body) -> Option<String> {
    let frame = tokio::time::timeout(Duration::from_secs(20), stream.frame()).await.expect("something happens");
    let bytes = frame?.expect("it can be read").into_data().expect("data");
    Some(String::from_utf8(bytes.to_vec()).expect("text"))
}

/// Returns the next event of a kind, skipping others.
pub(crate) async fn next_of(stream: &mut Body, kind: &str) -> String {
    loop {
        let event = next(stream).await.unwrap_or_else(|| panic!("the stream ended before `{kind}`"));
        if event.contains(&format!("event: {kind}\n")) {
            return event;
        }
    }
}

pub(crate) async fn open(web: &Web, browser: &Browser<'_>, path: &str, last: &str) -> Body {
    let headers: &[(&str, &str)] = if last.is_empty() { &[] } else { &[("last-event-id", last)] };
    let response = web.open(browser.request(Method::GET, path, String::new(), headers)).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body()
}

async fn follow(web: &Web, browser: &Browser<'_>, run: &str) -> Body {
    open(web, browser, &format!("/dags/chain/runs/{run}/events"), "").await
}

/// Starts a run and claims its first task. Returns the path of the run and the lease.
pub(crate) async fn running(web: &Web, db: &mut PgConnection) -> (String, Lease) {
    let run_id = web.trigger("chain").await.replace('+', "%2B");
    let run = sqlx::query_scalar("select id from dag_run").fetch_one(&mut *db).await.unwrap();
    (format!("/dags/chain/runs/{run_id}"), web.claim(db, run).await)
}

pub(crate) async fn say(db: &mut PgConnection, lease: &Lease, seq: i32, texts: &[&str]) {
    let line = |text: &&str| format!("{}\n", json!({ "level": "info", "event": text }));
    let body = texts.iter().map(line).collect();
    let Lease { run, attempt, lease_no, .. } = *lease;
    append(db, &[NewChunk { run, attempt, lease_no, seq, lines: texts.len() as i32, body }]).await.unwrap();
}

/// Returns the address of the event stream of a task page.
async fn stream_of(browser: &mut Browser<'_>, page: &str) -> String {
    let html = browser.get(page).await.html;
    let after = html.split(r#"data-live=""#).nth(1).unwrap_or_else(|| panic!("it is not live: {html}"));
    after.split('"').next().expect("a value").replace("&#38;", "&")
}

#[tokio::test]
async fn a_page_hears_of_changes_until_its_run_is_over() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let run_id = web.trigger("chain").await.replace('+', "%2B");
    let browser = Browser::logged_in(&web).await;
    let mut stream = follow(&web, &browser, &run_id).await;
    assert_eq!(next(&mut stream).await.as_deref(), Some("retry: 2000\n\n"));
    sqlx::raw_sql("update dag_run set rev = 7").execute(&mut db).await.unwrap();
    assert_eq!(next(&mut stream).await.as_deref(), Some("id: 7\nevent: changed\ndata: 7\n\n"));
    sqlx::raw_sql("update dag_run set state = 'success'").execute(&mut db).await.unwrap();
    assert_eq!(next_of(&mut stream, "over").await, "event: over\ndata: \n\n");
    assert_eq!(next(&mut stream).await, None);
}

#[tokio::test]
async fn only_a_page_that_is_connected_has_a_live_mark() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (run, _) = running(&web, &mut db).await;
    let mut browser = Browser::logged_in(&web).await;
    browser.cookies.insert("zone".into(), "Asia/Kolkata".into());
    let page = browser.get(&format!("{run}/tasks/t0")).await;
    let sign = "data-live-sign data-time-zone=\"Asia/Kolkata\" role=\"status\" hidden";
    assert!(page.has(sign) && page.has("data-log-total"), "{}", page.html);
    // Without a script or a connection, a mark is not green.
    let css = page.links().into_iter().find(|link| link.ends_with("/app.css")).expect("the page has styles");
    let css = browser.get(&css).await.html;
    let green: Vec<&str> =
        css.lines().filter(|line| line.contains(".live::before") && line.contains("--state-running")).collect();
    assert!(!green.is_empty() && green.iter().all(|line| line.trim().starts_with(".connected ")), "{green:?}");
}

#[tokio::test]
async fn a_stream_ends_with_its_session() {
    let web = Web::new().await;
    let run_id = web.trigger("chain").await.replace('+', "%2B");
    let mut browser = Browser::logged_in(&web).await;
    let mut stream = follow(&web, &browser, &run_id).await;
    assert!(next(&mut stream).await.is_some());
    browser.submit("/", "/logout", &[]).await;
    web.clock.advance(TimeDelta::seconds(1));
    let start = std::time::Instant::now();
    while let Some(event) = next(&mut stream).await {
        assert!(event.contains("event: changed"), "{event}");
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn lines_come_as_they_are_written_and_from_where_the_page_was() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (run, lease) = running(&web, &mut db).await;
    let mut browser = Browser::logged_in(&web).await;
    say(&mut db, &lease, 0, &["one", "two"]).await;
    let page = format!("{run}/tasks/t0");
    let path = stream_of(&mut browser, &page).await;
    // These lines are logged after the page was rendered and before its stream is opened.
    say(&mut db, &lease, 1, &["three <b>"]).await;
    let mut stream = open(&web, &browser, &path, "").await;
    let lines = next_of(&mut stream, "lines").await;
    assert!(lines.starts_with("id: 1.1.3\n") && lines.contains(r#"id="L3""#), "{lines}");
    assert!(lines.contains("three &#60;b&#62;") && !lines.contains("two"), "{lines}");
    say(&mut db, &lease, 2, &["four", "five"]).await;
    let lines = next_of(&mut stream, "lines").await;
    assert!(lines.starts_with("id: 1.2.5\n") && lines.contains("five") && !lines.contains("three"), "{lines}");
    drop(stream);
    // After a restart of the server, the browser sends the id of the last event that it saw.
    say(&mut db, &lease, 3, &["six"]).await;
    let mut web = web;
    web.use_router(web.another_server());
    let mut browser = Browser::logged_in(&web).await;
    assert!(browser.get(&page).await.has("six"));
    let mut stream = open(&web, &browser, &path, "1.2.5").await;
    let lines = next_of(&mut stream, "lines").await;
    assert!(lines.starts_with("id: 1.3.6\n") && lines.contains("six") && !lines.contains("five"), "{lines}");
}

#[tokio::test]
async fn whoever_reads_too_slowly_gets_the_end_and_holds_up_nobody() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (run, lease) = running(&web, &mut db).await;
    say(&mut db, &lease, 0, &["first"]).await;
    let mut browser = Browser::logged_in(&web).await;
    let path = stream_of(&mut browser, &format!("{run}/tasks/t0")).await;
    let (mut quick, mut slow) = (open(&web, &browser, &path, "").await, open(&web, &browser, &path, "").await);
    next(&mut slow).await;
    // More lines than one poll returns, and more polls than a queue holds.
    let long = "x".repeat(1_500);
    for seq in 1..=12 {
        let texts: Vec<String> = (0..30).map(|line| format!("{seq}.{line} {long}")).collect();
        say(&mut db, &lease, seq, &texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
        web.hints.give(Hint::Run);
        let lines = next_of(&mut quick, "lines").await;
        assert!(lines.starts_with(&format!("id: 1.{seq}.{}\n", 1 + seq * 30)), "{}", &lines[..40]);
    }
    let mut events = String::new();
    while !events.contains("id: 1.12.361\n") {
        events += &next_of(&mut slow, "lines").await;
    }
    assert!(events.len() < 12 * 30 * 1_500, "{} bytes were kept for it", events.len());
}

#[tokio::test]
async fn a_try_that_ended_ends_its_stream_when_its_last_lines_have_come() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (run, lease) = running(&web, &mut db).await;
    let mut browser = Browser::logged_in(&web).await;
    let path = stream_of(&mut browser, &format!("{run}/tasks/t0")).await;
    let mut stream = open(&web, &browser, &path, "").await;
    assert_eq!(next(&mut stream).await.as_deref(), Some("retry: 2000\n\n"));
    sqlx::raw_sql("update task_instance set state = 'success', ended_at = now()").execute(&mut db).await.unwrap();
    next_of(&mut stream, "changed").await;
    say(&mut db, &lease, 0, &["the last words"]).await;
    assert!(next_of(&mut stream, "lines").await.contains("the last words"));
    next_of(&mut stream, "over").await;
    assert_eq!(next(&mut stream).await, None);
}

#[tokio::test]
async fn a_list_hears_of_runs_that_come() {
    let web = Web::new().await;
    let browser = Browser::logged_in(&web).await;
    let mut stream = open(&web, &browser, "/events", "").await;
    assert_eq!(next(&mut stream).await.as_deref(), Some("retry: 2000\n\n"));
    web.trigger("chain").await;
    next_of(&mut stream, "changed").await;
}

/// Opens the event stream of the API and skips its greeting.
async fn listen(web: &Web, query: &str, last: Option<&str>) -> Body {
    let mut request = axum::http::Request::get(format!("/api/orch/v1/events{query}"));
    request = request.header("host", "localhost").header("authorization", format!("Bearer {}", web.token));
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let mut stream = web.open(request.body(Body::empty()).unwrap()).await.into_body();
    assert_eq!(next(&mut stream).await.as_deref(), Some("retry: 2000\n\n"));
    stream
}

fn id_of(frame: &str) -> String {
    let id = frame.lines().rev().find_map(|line| line.strip_prefix("id: "));
    id.unwrap_or_else(|| panic!("it has no id: {frame}")).to_owned()
}

#[tokio::test]
async fn a_program_that_reconnects_receives_what_it_missed() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let mut stream = listen(&web, "", None).await;
    id_of(&next(&mut stream).await.expect("the feed starts"));
    web.trigger("chain").await;
    let before = id_of(&next_of(&mut stream, "run").await);
    sqlx::raw_sql("update dag_run set state = 'failed', ended_at = now()").execute(&mut db).await.unwrap();
    let missed = next_of(&mut stream, "run").await;
    assert!(missed.contains(r#""state":"failed""#), "{missed}");
    drop(stream);
    let mut stream = listen(&web, "", Some(&before)).await;
    let first = next(&mut stream).await.expect("it goes on");
    assert!(first.contains(r#""state":"failed""#) && !first.contains("event: missed"), "{first}");
    assert_eq!(id_of(&first), id_of(&missed));
    // Followers of another DAG receive the new position only.
    let mut others = listen(&web, "?dag_id=params", Some(&before)).await;
    assert_eq!(next(&mut others).await, Some(format!("id: {}\n\n", id_of(&missed))));
    // A server that does not have these changes reports that.
    let mut web = web;
    web.use_router(web.another_server());
    for last in [before.as_str(), "7", ""] {
        let mut stream = listen(&web, "", Some(last)).await;
        assert!(next(&mut stream).await.expect("it goes on").contains("event: missed\ndata: {}\n\n"), "{last}");
    }
}

#[tokio::test]
async fn programs_hear_of_runs_and_tasks_that_come_into_another_state() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (mut all, mut others) = (listen(&web, "", None).await, listen(&web, "?dag_id=params", None).await);
    // The first poll reports no changes: it finds the current states.
    id_of(&next(&mut all).await.expect("it goes on"));
    let (_, lease) = running(&web, &mut db).await;
    let mut events = String::new();
    while !events.contains("event: task") || !events.contains("event: run") {
        events += &next(&mut all).await.expect("it goes on");
    }
    assert!(events.contains(r#""dag_id":"chain""#) && events.contains(r#""state":"running","#), "{events}");
    assert!(events.contains(r#""task_id":"t0""#) && events.contains(r#""try_number":1"#), "{events}");
    sqlx::query("update task_instance set state = 'success', ended_at = now() where attempt = $1")
        .bind(lease.attempt)
        .execute(&mut db)
        .await
        .unwrap();
    sqlx::raw_sql("update dag_run set state = 'failed', ended_at = now()").execute(&mut db).await.unwrap();
    let mut events = String::new();
    while !events.contains(r#""state":"failed""#) {
        events += &next(&mut all).await.expect("it goes on");
    }
    assert_eq!(events.matches(r#""state":"success""#).count(), 1, "{events}");
    // Problems with data are sent to clients that follow all events.
    crate::quality::look(&web, [2, 0, 0]).await;
    sqlx::query("insert into asset (uri, name, stale_since) values ('lake://late', 'late', now())")
        .execute(&mut db)
        .await
        .unwrap();
    let mut events = String::new();
    while !events.contains("event: check") || !events.contains("event: stale") {
        events += &next(&mut all).await.expect("it goes on");
    }
    assert!(events.contains(r#""outcome":"fail""#) && events.contains(r#""rows_bad":2"#), "{events}");
    assert!(events.contains(r#""uri":"lake://late""#) && !events.contains(r#""outcome":"pass""#), "{events}");
    drop(all);
    let answer =
        web.post("/api/v2/dags/params/dagRuns", &json!({ "logical_date": null, "conf": { "table": "a" } })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let first = next_of(&mut others, "run").await;
    assert!(first.contains(r#""dag_id":"params""#) && !first.contains("chain"), "{first}");
}

#[tokio::test]
async fn one_user_follows_so_many_pages_and_others_still_can() {
    let web = Web::new().await;
    web.add_user("ada", "viewer").await;
    let browser = Browser::logged_in(&web).await;
    let mut open = Vec::new();
    for _ in 0..50 {
        open.push(self::open(&web, &browser, "/events", "").await);
    }
    let refused = web.open(browser.request(Method::GET, "/events", String::new(), &[])).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    let run = web.trigger("chain").await;
    let waits = format!("/api/v2/dags/chain/dagRuns/{run}/wait?interval=1");
    assert_eq!(web.get(&waits).await.status, StatusCode::TOO_MANY_REQUESTS, "a wait counts too");
    let trigger = "/api/orch/v1/dags/chain/trigger?wait=";
    let refused = web.post(&format!("{trigger}1"), &json!({ "dag_run_id": "refused" })).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.body);
    let missing = web.get("/api/v2/dags/chain/dagRuns/refused").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND, "a refused request creates no run");
    assert_eq!(web.post(&format!("{trigger}0"), &json!({})).await.status, StatusCode::ACCEPTED);
    let records = web.get("/api/orch/v1/topics/t/records?partition=0&wait=1").await;
    assert_eq!(records.status, StatusCode::TOO_MANY_REQUESTS, "{}", records.body);
    let mut ada = Browser::new(&web);
    ada.log_in("ada", crate::fixture::PASSWORD, "/").await;
    drop(self::open(&web, &ada, "/events", "").await);
    open.pop();
    drop(self::open(&web, &browser, "/events", "").await);
}

#[tokio::test]
async fn the_grid_and_the_graph_of_a_dag_hear_of_its_tasks_and_go_on_while_something_runs() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (_, lease) = running(&web, &mut db).await;
    let mut browser = Browser::logged_in(&web).await;
    for page in ["/dags/chain", "/dags/chain/graph"] {
        let page = browser.get(page).await;
        assert!(page.has(r#"data-changes="/dags/chain/events""#) && page.has("/changes.js"), "{}", page.html);
    }
    // An alias works too.
    let mut stream = open(&web, &browser, "/dags/old_chain/events", "").await;
    let first = next_of(&mut stream, "changed").await;
    // The event is repeated without new records, because an attempt may have started and durations grow.
    assert_eq!(next_of(&mut stream, "changed").await, first);
    web.end(&mut db, lease, TaskState::Success, &[]).await;
    loop {
        let event = next_of(&mut stream, "changed").await;
        if event != first {
            break;
        }
    }
    let missing = browser.get("/dags/nothing/events").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn pages_of_backfills_hear_when_one_is_over() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let wish = json!({ "dag_id": "params", "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-01T12:00:00Z",
        "max_active_runs": 1, "dag_run_conf": { "table": "orders" } });
    let id = web.post("/api/v2/backfills", &wish).await.body["id"].as_i64().expect("a number");
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get(&format!("/backfills/{id}")).await;
    assert!(page.has(r#"<div class="actions" data-part="actions"><form"#) && page.has("Pause"), "{}", page.html);
    let mut stream = open(&web, &browser, "/events", "").await;
    assert!(next(&mut stream).await.is_some());
    sqlx::raw_sql("update backfill set completed_at = now()").execute(&mut db).await.unwrap();
    next_of(&mut stream, "changed").await;
    // The part that replaces the buttons of the page has no buttons.
    let over = browser.get(&format!("/backfills/{id}")).await;
    assert!(over.has(r#"<div class="actions" data-part="actions"></div>"#) && !over.has("Pause"), "{}", over.html);
    assert!(over.has(r#"<div data-part="end"></div>"#), "{}", over.html);
}
