//! The reasons of failures that pages and the API show for a run and for a task, and that they are right.

use crate::browser::Browser;
use crate::fixture::{Web, dag};
use axum::http::Method;
use chrono::TimeDelta;
use orch_spec::state::TaskState;
use orch_store::locks::Locks;
use orch_store::registry::{NewBundle, register_bundle};
use orch_store::run::{get_run, time_out_run};
use orch_store::version::Versions;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

pub(crate) fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

pub(crate) async fn key_of(db: &mut PgConnection, dag_id: &str, run_id: &str) -> Uuid {
    get_run(db, dag_id, run_id).await.expect("it can be read").expect("it is there").id
}

#[tokio::test]
async fn every_page_says_the_error_and_not_only_what_was_tried() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let run_id = web.trigger("chain").await;
    let run = key_of(&mut db, "chain", &run_id).await;
    let lease = web.claim(&mut db, run).await;
    web.end(&mut db, lease, TaskState::Failed, &["exit code 1", "ValueError: no such table"]).await;
    let mut browser = Browser::logged_in(&web).await;
    let of_run = format!("/dags/chain/runs/{}", encoded(&run_id));
    for page in ["/", &of_run, &format!("{of_run}/tasks/t0")] {
        let page = browser.get(page).await;
        assert!(page.has("exit code 1: ValueError: no such table"), "{}", page.html);
    }
    let why = web.get(&format!("/api/orch/v1/dags/chain/runs/{}/tasks/t0/why", encoded(&run_id))).await.body;
    assert_eq!(why["summary"], "exit code 1: ValueError: no such table");
}

#[tokio::test]
async fn a_worker_that_was_lost_on_the_way_is_not_the_reason() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let run_id = web.trigger("chain").await;
    let run = key_of(&mut db, "chain", &run_id).await;
    let lease = web.claim(&mut db, run).await;
    sqlx::query(
        "insert into failure (run, attempt, lease_no, kind, causes, created_at)
        values ($1, $2, 0, 'lost', '{the worker was lost}', now() - interval '1 min')",
    )
    .bind(run)
    .bind(lease.attempt)
    .execute(&mut db)
    .await
    .unwrap();
    web.end(&mut db, lease, TaskState::Failed, &["disk full"]).await;
    let mut browser = Browser::logged_in(&web).await;
    for page in ["/".to_string(), format!("/dags/chain/runs/{}", encoded(&run_id))] {
        let page = browser.get(&page).await;
        assert!(page.has("disk full") && !page.has("the worker was lost"), "{}", page.html);
    }
}

#[tokio::test]
async fn a_mapped_task_that_failed_says_how_many_elements_did_and_the_first_error() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let wide = dag(json!({ "dag_id": "wide", "paused_at_creation": false, "runbook": "Ask **Ada** first.", "tasks": [
        { "task_id": "each", "kind": "rust", "map": { "each": { "value": [1, 2, 3] } } } ] }));
    register_bundle(&mut db, &NewBundle { name: "wide".into(), dags: vec![wide] }, false).await.expect("it registers");
    let run_id = web.trigger("wide").await;
    let run = key_of(&mut db, "wide", &run_id).await;
    let of_run = format!("/dags/wide/runs/{}", encoded(&run_id));
    let mut browser = Browser::logged_in(&web).await;
    assert!(!browser.get(&of_run).await.has("Ada"), "nothing failed yet");
    for ended in 0..3 {
        let going = browser.get(&format!("{of_run}/tasks/each")).await;
        assert!(going.has(&format!("{ended} of 3 elements are over")) && !going.has("Try 0"), "{}", going.html);
        let lease = web.claim(&mut db, run).await;
        match lease.map_index {
            0 => web.end(&mut db, lease, TaskState::Success, &[]).await,
            index => web.end(&mut db, lease, TaskState::Failed, &[&format!("boom {index}")]).await,
        }
    }
    let task = browser.get(&format!("{of_run}/tasks/each")).await;
    assert!(task.has("2 of 3 elements failed.") && task.has("The first error, of element 1: boom 1"), "{}", task.html);
    assert!(!task.has("marked"), "{}", task.html);
    let drawn: Vec<_> =
        task.html.split(r#"<a class="cell s-"#).skip(1).filter_map(|cell| cell.split(' ').next()).collect();
    assert_eq!(drawn, ["failed", "failed", "success"], "those that failed come first: {}", task.html);
    assert!(task.has(r#"/tasks/each/2" title="[2]: failed, "#), "{}", task.html);
    assert!(!task.has("In the last"), "there is one run: {}", task.html);
    let again = web.trigger("wide").await;
    let again = key_of(&mut db, "wide", &again).await;
    let lease = web.claim(&mut db, again).await;
    web.end(&mut db, lease, TaskState::Success, &[]).await;
    let task = browser.get(&format!("{of_run}/tasks/each")).await;
    assert!(
        task.has("In the last 2 runs") && task.has(&format!(r#"href="{of_run}/tasks/each" aria-label="#)),
        "{}",
        task.html
    );
    let banner = browser.get(&of_run).await;
    assert!(banner.has("each failed: 2 of 3 elements.") && banner.has("of element 1: boom 1"), "{}", banner.html);
    assert!(banner.has("Ask <strong>Ada</strong> first."), "{}", banner.html);
    let graph = browser.get(&format!("/dags/wide/graph?run={}", encoded(&run_id))).await;
    assert!(graph.has(">2 of 3 failed</text>"), "{}", graph.html);
    assert!(task.has("orch tasks clear wide -t") && !task.has("--map-index"), "it clears all: {}", task.html);
    let element = browser.get(&format!("{of_run}/tasks/each/1")).await;
    assert!(element.has("&#39;^each$&#39; --map-index 1 --run-id"), "{}", element.html);
    for (choice, indices) in
        [("task=each&map_index=1", vec![1]), ("pick=0.1&pick=0.2", vec![1, 2]), ("task=each&map_index=-1", vec![])]
    {
        let clear = browser.get(&format!("{of_run}/clear?{choice}")).await;
        assert_eq!(clear.html.matches("orch tasks clear wide").count(), indices.len().max(1), "{}", clear.html);
        assert_eq!(clear.html.matches("--map-index").count(), indices.len(), "{}", clear.html);
        for index in indices {
            assert!(clear.has(&format!("--map-index {index} ")), "{}", clear.html);
        }
    }
    let home = browser.get("/").await;
    assert!(home.has("2 of 3 elements failed, first [1]: boom 1"), "{}", home.html);
}

#[tokio::test]
async fn a_success_in_which_tasks_failed_says_so_on_every_page() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let (good, partly) = (web.trigger("chain").await, web.trigger("chain").await);
    let run = key_of(&mut db, "chain", &good).await;
    let lease = web.claim(&mut db, run).await;
    web.end(&mut db, lease, TaskState::Success, &[]).await;
    for (run_id, codes) in [(&good, [5_i16; 5]), (&partly, [5, 6, 8, 6, 5])] {
        let run = key_of(&mut db, "chain", run_id).await;
        sqlx::query(
            "update dag_run set state = 'success', started_at = coalesce(started_at, now()), ended_at = now(), ledger = $2
            where id = $1",
        )
        .bind(run)
        .bind(codes.to_vec())
        .execute(&mut db)
        .await
        .unwrap();
    }
    sqlx::query("insert into process (role, hostname, pid) values ('scheduler', 'h', 1)")
        .execute(&mut db)
        .await
        .unwrap();
    web.clock.advance(TimeDelta::seconds(2));
    let mut browser = Browser::logged_in(&web).await;
    let of_run = format!("/dags/chain/runs/{}", encoded(&partly));
    let of_good = format!("/dags/chain/runs/{}", encoded(&good));
    let choice = format!("/dags/chain?at={}", encoded(&partly));
    for (path, words) in [
        (of_run.as_str(), vec!["The run succeeded although 2 tasks failed:", ">t1</a>, <a class=\"link\"", ">t3</a>."]),
        (
            "/dags/chain",
            vec![
                ", success although tasks failed, ",
                "2 success (1 although tasks failed), 0 failed",
                "s-up_for_retry",
            ],
        ),
        (choice.as_str(), vec!["It succeeded although 2 tasks failed.", "t1, t3"]),
        (
            "/dags/chain/overview",
            vec![
                "Its last run succeeded",
                ", although 2 tasks failed.",
                "Tasks that fail <span class=\"n\">2</span>",
                "once in 2 runs",
                "<dt>Went well</dt><dd>1 of the last 2</dd>",
                "1 of the last 2, which succeeded although tasks failed",
                ", success although tasks failed, ",
            ],
        ),
        ("/dags", vec!["<title>success although tasks failed, "]),
        ("/runs", vec![">tasks failed</span>"]),
        ("/dags/chain/runs", vec![">tasks failed</span>"]),
        (
            "/",
            vec![
                "One DAG succeeds although tasks fail.",
                "Needs you <span class=\"n\">1</span>",
                "2 tasks failed: t1, t3",
            ],
        ),
    ] {
        let page = browser.get(path).await;
        for words in words {
            assert!(page.has(words), "{path}: {words}: {}", page.html);
        }
    }
    let page = browser.get(&of_good).await;
    assert!(!page.has("although"), "{}", page.html);
    assert_eq!(browser.get("/runs").await.html.matches(">tasks failed</span>").count(), 1);
}

#[tokio::test]
async fn what_was_ended_from_outside_says_by_whom() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let mut browser = Browser::logged_in(&web).await;
    let marked = web.trigger("chain").await;
    let run = key_of(&mut db, "chain", &marked).await;
    web.claim(&mut db, run).await;
    let path = format!("/api/v2/dags/chain/dagRuns/{marked}");
    let answer = web.change(Method::PATCH, &path, &json!({ "state": "failed" })).await;
    assert!(answer.status.is_success(), "{}", answer.body);
    let of_run = format!("/dags/chain/runs/{}", encoded(&marked));
    for page in ["/", &of_run, &format!("{of_run}/tasks/t0")] {
        let page = browser.get(page).await;
        assert!(page.has("admin marked the run as failed."), "{}", page.html);
    }
    let task = browser.get(&format!("{of_run}/tasks/t0")).await;
    assert!(task.has("No try of it failed."), "{}", task.html);

    let late = web.trigger("chain").await;
    let run = key_of(&mut db, "chain", &late).await;
    web.claim(&mut db, run).await;
    time_out_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run).await.expect("it ends");
    for page in ["/".to_string(), format!("/dags/chain/runs/{}", encoded(&late))] {
        let page = browser.get(&page).await;
        assert!(page.has("The run ran out of time.") && !page.has("marked"), "{}", page.html);
    }

    let task = web.trigger("chain").await;
    key_of(&mut db, "chain", &task).await;
    let path = format!("/api/v2/dags/chain/dagRuns/{task}/taskInstances/t0");
    let answer = web.change(Method::PATCH, &path, &json!({ "new_state": "failed" })).await;
    assert!(answer.status.is_success(), "{}", answer.body);
    let page = browser.get(&format!("/dags/chain/runs/{}/tasks/t0", encoded(&task))).await;
    assert!(page.has("admin marked t0 as failed."), "{}", page.html);
}

#[tokio::test]
async fn a_map_that_is_too_long_says_so_on_every_page() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let list = json!({ "value": (0..1_001).collect::<Vec<_>>() });
    let wide = dag(json!({ "dag_id": "wide", "paused_at_creation": false, "tasks": [
        { "task_id": "each", "kind": "rust", "map": { "cross": [list.clone(), list] } } ] }));
    register_bundle(&mut db, &NewBundle { name: "wide".into(), dags: vec![wide] }, false).await.expect("it registers");
    let run_id = web.trigger("wide").await;
    let mut browser = Browser::logged_in(&web).await;
    let of_run = format!("/dags/wide/runs/{}", encoded(&run_id));
    for page in ["/", &of_run, &format!("{of_run}/tasks/each")] {
        let page = browser.get(page).await;
        assert!(page.has("has 1,002,001 elements; the maximum is 1,000,000"), "{}", page.html);
    }
    let why = web.get(&format!("/api/orch/v1/dags/wide/runs/{}/tasks/each/why", encoded(&run_id))).await.body;
    assert!(why["summary"].as_str().is_some_and(|text| text.contains("1,002,001 elements")), "{why}");
}
