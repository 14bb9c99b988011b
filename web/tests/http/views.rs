//! Ways of looking: the tabs of a DAG, the graph's query, the zone of times, the keys.

use crate::browser::Browser;
use crate::fixture::{Web, dag};
use axum::http::StatusCode;
use orch_store::registry::{NewBundle, register_bundle};
use serde_json::json;
use sqlx::PgConnection;

/// A second version of `chain`, with a task more and one less.
async fn change_chain(db: &mut PgConnection) {
    let task = |id: &str, after: &[&str]| json!({ "task_id": id, "kind": "rust", "after": after });
    let tasks = [task("t0", &[]), task("t1", &["t0"]), task("t2", &["t1"]), task("report", &["t2"])];
    let chain =
        dag(json!({ "dag_id": "chain", "aliases": ["old_chain"], "tags": ["x"], "owners": ["ada"], "tasks": tasks }));
    register_bundle(db, &NewBundle { name: "test".into(), dags: vec![chain] }, false).await.expect("it registers");
}

async fn end_last_run(db: &mut PgConnection, state: &str, ledger: &str) {
    let text = format!(
        "update dag_run set state = '{state}', started_at = now() - interval '9 s', ended_at = now(),
        ledger = array[{ledger}]::smallint[] where id = (select id from dag_run order by id desc limit 1)"
    );
    sqlx::query(sqlx::AssertSqlSafe(text)).execute(db).await.unwrap();
}

#[tokio::test]
async fn the_overview_says_how_a_dag_is_and_which_task_fails() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get("/dags/chain/overview").await;
    assert!(page.has("It has not run yet.") && page.has("orch dags trigger chain"), "{}", page.html);
    for _ in 0..2 {
        web.trigger("chain").await;
        end_last_run(&mut db, "failed", "5, 6, 8, 8, 8").await;
    }
    let page = browser.get("/dags/chain/overview").await;
    assert!(page.has("Its last 2 runs failed, the last after 9.") && page.has("2 × in 2 runs"), "{}", page.html);
    assert!(page.has("<title>✕ chain · orch</title>") && page.has("favicon-failed.svg"), "{}", page.html);
    assert_eq!(page.html.matches(r#"<rect class="hit""#).count(), 2, "each run is a bar that leads to it");
    browser.submit("/dags/chain", "/dags/chain/paused", &[("paused", "true")]).await;
    assert!(browser.get("/dags/chain/overview").await.has("By admin, "));
    assert!(browser.get("/dags/params/overview").await.has("at 02:00 every day"));
}

#[tokio::test]
async fn the_tasks_of_a_dag_have_their_last_state_and_are_filtered() {
    let web = Web::new().await;
    let mut db = web.db().await;
    web.trigger("chain").await;
    end_last_run(&mut db, "failed", "5, 6, 8, 8, 8").await;
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get("/dags/chain/tasks").await;
    for words in [r#"id="t0""#, "1–5 of 5", "success</span>", "upstream failed</span>", "all success"] {
        assert!(page.has(words), "{words} {}", page.html);
    }
    let page = browser.get("/dags/chain/tasks?q=T3").await;
    assert!(page.has("1–1 of 1") && page.has(r#"id="t3""#) && !page.has(r#"id="t0""#));
    assert!(browser.get("/dags/chain/tasks?q=zzz").await.has("No task is like that"));
    assert!(browser.get("/dags/mapped/tasks").await.has(", mapped"));
}

#[tokio::test]
async fn a_version_says_what_it_changed_and_a_run_shows_the_graph_with_which_it_ran() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let old = web.trigger("chain").await;
    change_chain(&mut db).await;
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get("/dags/chain/code").await;
    assert!(page.has("Structure of version 2") && page.has("<dt>New</dt><dd>report</dd>"), "{}", page.html);
    assert!(page.has("<dt>Gone</dt><dd>t3, t4</dd>") && page.has("/dags/chain/code?version=1"), "{}", page.html);
    let page = browser.get("/dags/chain/code?version=1").await;
    assert!(page.has("This is version 1; runs begin with version 2"), "{}", page.html);
    for (query, status) in [("version=3", StatusCode::NOT_FOUND), ("version=x", StatusCode::BAD_REQUEST)] {
        assert_eq!(browser.get(&format!("/dags/chain/code?{query}")).await.status, status);
        assert_eq!(browser.get(&format!("/dags/chain/graph?{query}")).await.status, status);
    }
    let nodes = |html: &str| html.matches(r#"<a class="node"#).count();
    let run: String = form_urlencoded::byte_serialize(old.as_bytes()).collect();
    for (query, count) in [
        (format!("run={run}"), 5),
        (format!("run={run}&version=2"), 5),
        ("version=2".into(), 4),
        ("version=1".into(), 5),
    ] {
        assert_eq!(nodes(&browser.get(&format!("/dags/chain/graph?{query}")).await.html), count, "{query}");
    }
}

#[tokio::test]
async fn a_graph_is_looked_at_from_all_sides_without_javascript() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let nodes = |html: &str| html.matches(r#"<a class="node"#).count();
    for (query, count) in [("task=t2", 5), ("task=t2&reach=up", 3), ("task=t1&reach=down", 4), ("task=t0&reach=up", 1)]
    {
        assert_eq!(nodes(&browser.get(&format!("/dags/chain/graph?{query}")).await.html), count, "{query}");
    }
    assert_eq!(browser.get("/dags/chain/graph?task=nothing").await.status, StatusCode::NOT_FOUND);
    let size = |html: &str| {
        let rest =
            html.split(r#"<div class="canvas""#).nth(1).unwrap().split(r#"<svg width=""#).nth(1).unwrap().to_string();
        let mut numbers = rest.split('"').filter_map(|text| text.parse::<i32>().ok());
        (numbers.next().unwrap(), numbers.next().unwrap())
    };
    let (width, height) = size(&browser.get("/dags/chain/graph").await.html);
    assert!(width > height, "time goes right");
    let page = browser.get("/dags/chain/graph?dir=down&zoom=200").await;
    let (narrow, tall) = size(&page.html);
    assert!(narrow < tall && tall > 2 * height, "time goes down, twice as large: {narrow} {tall}");
    assert!(page.has("zoom=150") && page.has(r#"data-key="-""#) && !page.has(r#"data-key="+""#), "{}", page.html);
}

#[tokio::test]
async fn times_are_written_in_the_zone_that_was_chosen() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let run_id = web.trigger("chain").await;
    sqlx::query("update dag_run set started_at = '2026-01-31 22:30:00+00', run_after = '2026-01-31 22:30:00+00'")
        .execute(&mut db)
        .await
        .unwrap();
    let run = format!("/dags/chain/runs/{}", form_urlencoded::byte_serialize(run_id.as_bytes()).collect::<String>());
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get(&run).await;
    assert!(page.has("Run of 31 Jan, 22:30:00") && page.has(r#"data-zone="UTC""#), "{}", page.html);
    let back = browser.submit(&run, "/zone", &[("zone", "other"), ("name", "Asia/Kolkata"), ("back", &run)]).await;
    assert_eq!((back.status, back.location()), (StatusCode::SEE_OTHER, run.as_str()));
    let page = browser.get(&run).await;
    assert!(
        page.has("Run of 1 Feb, 04:00:00") && page.has("Kolkata +5:30") && !page.has("data-zone="),
        "{}",
        page.html
    );
    assert!(page.has(r#"title="2026-01-31 22:30:00.000 UTC">2026-02-01 04:00:00 +05:30</time>"#), "{}", page.html);
    for (fields, cookie) in [
        (vec![("zone", "UTC")], "UTC"),
        (vec![("zone", "browser"), ("browser", "Europe/Berlin")], "~Europe/Berlin"),
        (vec![("zone", "browser"), ("browser", "x; Path=/evil")], "~UTC"),
    ] {
        browser.submit(&run, "/zone", &fields).await;
        assert_eq!(browser.cookies["zone"], cookie);
    }
    let answer = browser.submit(&run, "/zone", &[("zone", "other"), ("name", "Mars/Olympus")]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.has("Europe/Berlin"), "{}", answer.html);
    browser.cookies.insert("zone".into(), "\"><script>".into());
    assert!(browser.get(&run).await.has(r#"data-zone="UTC""#));
}

#[tokio::test]
async fn every_key_of_a_page_is_on_something_that_works_without_it() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let keys = |html: &str| -> Vec<String> {
        html.split(r#"data-key=""#).skip(1).filter_map(|rest| rest.split('"').next()).map(Into::into).collect()
    };
    let page = browser.get("/dags").await;
    assert!(page.has("data-rows") && page.has(r#"href="/keys" data-keys"#));
    for key in ["/", "p", "t", "?"] {
        assert!(keys(&page.html).contains(&key.to_string()), "{key}");
    }
    let all = browser.get("/keys").await;
    for path in ["/dags", "/dags/chain", "/dags/chain/graph", "/dags/chain/tasks", "/runs"] {
        for key in keys(&browser.get(path).await.html) {
            let key = key.replace('-', "−");
            assert!(all.has(&format!("<kbd>{key}</kbd>")), "`{key}` of {path} stands on /keys");
        }
    }
}
