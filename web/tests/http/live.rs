//! Pages that are kept up to date: what their stream says, and when it ends.

use crate::browser::Browser;
use crate::fixture::Web;
use axum::body::Body;
use axum::http::{Method, StatusCode};
use chrono::TimeDelta;
use http_body_util::BodyExt;
use std::time::Duration;

/// The next event; none at the end of the stream.
async fn next(stream: &mut Body) -> Option<String> {
    let frame = tokio::time::timeout(Duration::from_secs(20), stream.frame()).await.expect("something happens");
    let bytes = frame?.expect("it can be read").into_data().expect("data");
    Some(String::from_utf8(bytes.to_vec()).expect("text"))
}

async fn follow(web: &Web, browser: &Browser<'_>, run: &str) -> Body {
    let request = browser.request(Method::GET, &format!("/dags/chain/runs/{run}/events"), String::new(), &[]);
    let response = web.open(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body()
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
    assert_eq!(next(&mut stream).await.as_deref(), Some("event: changed\ndata: 7\n\n"));
    sqlx::raw_sql("update dag_run set state = 'success'").execute(&mut db).await.unwrap();
    let mut last = next(&mut stream).await;
    while last.as_deref() == Some("event: changed\ndata: 7\n\n") {
        last = next(&mut stream).await;
    }
    assert_eq!(last.as_deref(), Some("event: over\ndata: \n\n"));
    assert_eq!(next(&mut stream).await, None);
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
    while let Some(event) = next(&mut stream).await {
        assert!(event.starts_with("event: changed"), "{event}");
    }
}
