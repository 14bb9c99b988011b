//! The home page: what it counts as needing attention, and the first steps that it suggests.

use crate::approvals::ask;
use crate::browser::Browser;
use crate::fixture::{PASSWORD, Web, dag};
use chrono::TimeDelta;
use orch_spec::approval::Question;
use orch_spec::check::FileProblem;
use orch_store::import_error::set_import_errors;
use orch_store::registry::{NewBundle, register_bundle};
use orch_web::FLAGSHIP;
use serde_json::json;
use std::collections::BTreeMap;

#[tokio::test]
async fn home_counts_approvals_and_runs_that_wait() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let mut browser = Browser::logged_in(&web).await;
    ask(&web, &mut db, &Question::approval("Publish it?")).await;
    sqlx::query("insert into process (role, hostname, pid) values ('scheduler', 'h', 1)")
        .execute(&mut db)
        .await
        .unwrap();
    web.trigger("paused").await;
    web.clock.advance(TimeDelta::seconds(2));
    let soon = browser.get("/").await;
    assert!(soon.has("One approval waits for you. <em>Nothing fails.</em>"), "{}", soon.html);
    web.clock.advance(TimeDelta::minutes(6));
    let page = browser.get("/").await;
    for text in [
        "One approval waits for you and one run waits. <em>Nothing fails.</em>",
        "Needs you <span class=\"n\">2</span>",
        "<a class=\"name\" href=\"/approvals\" data-open-row>1 approval waits for you</a>",
        "Publish it?",
        "<a class=\"name\" href=\"/runs?state=queued\" data-open-row>1 run waits</a>",
        "its DAG is paused",
    ] {
        assert!(page.has(text), "{text}: {}", page.html);
    }
    // A user who may not start runs gets no questions.
    web.add_user("vera", "viewer").await;
    let mut viewer = Browser::new(&web);
    viewer.log_in("vera", PASSWORD, "/").await;
    let page = viewer.get("/").await;
    assert!(page.has("One run waits. <em>Nothing fails.</em>") && !page.has("for you"), "{}", page.html);
}

#[tokio::test]
async fn the_headline_counts_broken_files_stale_assets_and_alerts_that_were_not_delivered() {
    let web = Web::new().await;
    let mut db = web.db().await;
    ask(&web, &mut db, &Question::approval("Publish it?")).await;
    let problem = FileProblem {
        file: "sales.yaml".into(),
        line: 3,
        column: 5,
        message: "a task has no key `bsh`".into(),
        hint: String::new(),
    };
    let broken = BTreeMap::from([("sales.yaml".to_string(), vec![problem])]);
    set_import_errors(&mut db, "dags-folder", &broken).await.unwrap();
    for text in [
        "insert into process (role, hostname, pid) values ('scheduler', 'h', 1)",
        "insert into asset (uri, name, stale_since) values ('lake://late', 'late', now())",
        "insert into alert (key, kind, notifier, facts, state, at, ended_at) values
          ('new', 'test', '{}', '{}', 'failed', now(), now()),
          ('old', 'test', '{}', '{}', 'failed', now() - interval '2 days', now())",
    ] {
        sqlx::query(text).execute(&mut db).await.unwrap();
    }
    web.clock.advance(TimeDelta::seconds(2));
    let page = Browser::logged_in(&web).await.get("/").await;
    for text in [
        "One file is broken, one asset is stale, one alert was not delivered and one approval waits for you.",
        "Needs you <span class=\"n\">3</span>",
        "<a class=\"name\" href=\"/alerts?state=failed\" data-open-row>1 alert not delivered</a>",
    ] {
        assert!(page.has(text), "{text}: {}", page.html);
    }
}

#[tokio::test]
async fn an_empty_home_says_where_to_begin() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let mut browser = Browser::logged_in(&web).await;
    let first = browser.get("/").await;
    let trigger = |dag_id: &str| format!("href=\"/dags/{dag_id}/trigger\">Trigger {dag_id}</a>");
    assert!(first.has("Nothing has run yet") && first.has(&trigger("chain")), "{}", first.html);
    let retail = dag(json!({ "dag_id": FLAGSHIP, "tasks": [{ "task_id": "t", "kind": "rust" }] }));
    register_bundle(&mut db, &NewBundle { name: "shop".into(), dags: vec![retail] }, false).await.unwrap();
    let flagship = browser.get("/").await;
    assert!(flagship.has(&trigger(FLAGSHIP)) && !flagship.has(&trigger("chain")), "{}", flagship.html);
    web.trigger("chain").await;
    let begun = browser.get("/").await;
    assert!(!begun.has("Nothing has run yet") && !begun.has(&trigger(FLAGSHIP)), "{}", begun.html);
    sqlx::query("update dag set is_stale = true").execute(&mut db).await.unwrap();
    web.clock.advance(TimeDelta::seconds(2));
    let none = browser.get("/").await;
    for text in ["There is no DAG yet.", "<code>orch-pipelines worker</code>", FLAGSHIP, "docs/guides/first-day.md"] {
        assert!(none.has(text), "{text}: {}", none.html);
    }
    // The page of DAGs contains the same instructions.
    let dags = browser.get("/dags").await;
    for text in ["No DAGs yet", "dag_id: hello", "<code>orch new my-pipelines</code>", "<code>ORCH_EXAMPLES</code>"] {
        assert!(none.has(text) && dags.has(text), "{text}: {}", dags.html);
    }
}

#[tokio::test]
async fn the_maintenance_of_the_lake_is_not_what_to_begin_with() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let mut browser = Browser::logged_in(&web).await;
    sqlx::query("update dag set is_stale = true").execute(&mut db).await.unwrap();
    let adopt = dag(json!({ "dag_id": "lake_adopt", "tasks": [{ "task_id": "t", "kind": "rust" }] }));
    register_bundle(&mut db, &NewBundle { name: "pipelines".into(), dags: vec![adopt] }, false).await.unwrap();
    web.clock.advance(TimeDelta::seconds(2));
    let page = browser.get("/").await;
    assert!(page.has("No DAGs yet") && !page.has("Trigger lake_adopt"), "{}", page.html);
}
