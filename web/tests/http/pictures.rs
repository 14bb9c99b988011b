//! Pictures of a DAG: folded groups, the path to a failed task, and the selection next to the grid.

use crate::browser::Browser;
use crate::failures::{encoded, key_of};
use crate::fixture::{Web, dag};
use orch_spec::state::TaskState;
use orch_store::registry::{NewBundle, register_bundle};
use serde_json::{Value, json};
use sqlx::PgConnection;

/// Registers a task and three groups of fifteen tasks that wait for it.
async fn register_large(db: &mut PgConnection) {
    let task = |id: String, after: &[String], group: Option<&str>| -> Value {
        json!({ "task_id": id, "kind": "rust", "after": after, "group_id": group })
    };
    let mut tasks = vec![task("start".into(), &[], None)];
    for group in ["extract", "load", "check"] {
        let ids: Vec<String> = (0..15).map(|n| format!("{group}.t{n}")).collect();
        for (n, id) in ids.iter().enumerate() {
            let after = if n == 0 { "start".to_string() } else { ids[n - 1].clone() };
            tasks.push(task(id.clone(), &[after], Some(group)));
        }
    }
    let large = dag(json!({ "dag_id": "large", "paused_at_creation": false, "tasks": tasks }));
    register_bundle(db, &NewBundle { name: "large".into(), dags: vec![large] }, false).await.expect("it registers");
}

#[tokio::test]
async fn a_large_graph_folds_its_groups_and_opens_the_one_in_which_a_task_failed() {
    let web = Web::new().await;
    let mut db = web.db().await;
    register_large(&mut db).await;
    let mut browser = Browser::logged_in(&web).await;
    let nodes = |html: &str| html.matches(r#"<a class="node"#).count();
    let folded = browser.get("/dags/large/graph").await;
    assert_eq!(nodes(&folded.html), 4, "{}", folded.html);
    assert!(
        folded.has(">15 tasks</text>") && folded.has("/dags/large/graph?open=load") && folded.has(r#"class="fit""#)
    );
    let open = browser.get("/dags/large/graph?open=load").await;
    assert_eq!(nodes(&open.html), 18, "{}", open.html);
    assert!(open.has("<title>Fold load</title>") && open.has("graph?open=check&#38;open=load"), "{}", open.html);
    assert_eq!(nodes(&browser.get("/dags/large/graph?open=*").await.html), 46);
    let around = browser.get("/dags/large/graph?task=load.t3&reach=both").await;
    assert_eq!(nodes(&around.html), 16, "what stands around one task is few enough: {}", around.html);

    let run_id = web.trigger("large").await;
    let run = key_of(&mut db, "large", &run_id).await;
    let lease = web.claim(&mut db, run).await;
    web.end(&mut db, lease, TaskState::Success, &[]).await;
    let lease = web.claim(&mut db, run).await;
    web.end(&mut db, lease, TaskState::Failed, &["disk full"]).await;
    let failed = browser.get("/dags/large/graph").await;
    assert_eq!(nodes(&failed.html), 18, "{}", failed.html);
    assert!(failed.has(r#"id="failed""#) && failed.has(r##"href="#failed""##), "{}", failed.html);
    assert!(failed.has("s-upstream_failed"), "{}", failed.html);
    let closed = browser.get("/dags/large/graph?open=").await;
    assert_eq!(nodes(&closed.html), 4, "{}", closed.html);
    assert!(closed.has(r#"<a class="node s-failed" id="failed""#), "a group is as its worst task: {}", closed.html);
    assert!(closed.has(">1 of 15 failed</text>") && closed.has(">15 tasks</text>"), "{}", closed.html);
}

#[tokio::test]
async fn tasks_of_a_group_stand_below_it_over_time() {
    let web = Web::new().await;
    let mut db = web.db().await;
    register_large(&mut db).await;
    let run_id = web.trigger("large").await;
    let run = key_of(&mut db, "large", &run_id).await;
    for _ in 0..2 {
        let lease = web.claim(&mut db, run).await;
        web.end(&mut db, lease, TaskState::Success, &[]).await;
    }
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get(&format!("/dags/large/runs/{}", encoded(&run_id))).await;
    let rows = page.html.split(r#"<table class="gantt""#).nth(1).expect("it is drawn");
    let groups: Vec<_> = rows.match_indices("15 tasks</span>").map(|(at, _)| at).collect();
    assert_eq!(groups.len(), 3, "{}", page.html);
    let first = rows.find(">extract.t0").or_else(|| rows.find("extract.t0")).expect("its first task");
    assert!(first > groups[0] && first < groups[1], "{}", page.html);
    assert!(
        rows.contains(r#"<span class="cut" title="extract.t0">extract.t0</span>"#),
        "a long name is cut: {}",
        page.html
    );
    assert!(rows.contains("of them began") && rows.contains("/dags/large/graph?run="), "{}", page.html);
}

#[tokio::test]
async fn what_is_chosen_in_the_grid_stands_beside_it() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let run_id = web.trigger("chain").await;
    let run = key_of(&mut db, "chain", &run_id).await;
    let lease = web.claim(&mut db, run).await;
    web.end(&mut db, lease, TaskState::Failed, &["disk full"]).await;
    let mut browser = Browser::logged_in(&web).await;
    let at = format!("at={}", encoded(&run_id));
    let grid = browser.get("/dags/chain?runs=100").await;
    assert!(grid.has("<h2 id=\"now\">Now</h2>") && grid.has(r#"class="grid n24""#), "{}", grid.html);
    assert!(grid.has(&format!("/dags/chain?type=all&#38;runs=100&#38;{at}&#38;task=t0")), "{}", grid.html);
    let chosen = browser.get(&format!("/dags/chain?type=all&runs=100&{at}&task=t0")).await;
    assert!(chosen.has("<h2 id=\"now\">t0</h2>") && chosen.has("disk full"), "{}", chosen.html);
    assert!(chosen.has(&format!("/dags/chain/runs/{}/tasks/t0", encoded(&run_id))) && chosen.has("Open with its log"));
    assert_eq!(chosen.html.matches(r#"aria-current="true" aria-label="t0, "#).count(), 1, "{}", chosen.html);
    let of_run = browser.get(&format!("/dags/chain?{at}")).await;
    assert!(of_run.has("Open the run") && of_run.has("t0 failed."), "{}", of_run.html);
    let gone = browser.get("/dags/chain?at=gone&task=t0").await;
    assert!(gone.has("<h2 id=\"now\">Now</h2>"), "a run that is not in the grid is not chosen: {}", gone.html);
    assert!(gone.has(", took ") && chosen.has("<dt>Took</dt>") && of_run.has("<dt>Took</dt>"), "{}", gone.html);
    let running = web.trigger("chain").await;
    let run = key_of(&mut db, "chain", &running).await;
    web.claim(&mut db, run).await;
    let at = format!("at={}", encoded(&running));
    let now = browser.get("/dags/chain").await;
    assert!(now.has(", running for ") && !now.has(", took "), "{}", now.html);
    for choice in [at.clone(), format!("{at}&task=t0")] {
        let page = browser.get(&format!("/dags/chain?{choice}")).await;
        assert!(page.has("<dt>Running for</dt>") && !page.has("<dt>Took</dt>"), "{}", page.html);
    }
}
