//! Pages: their contents, that all their links work, and that no content becomes markup.

use crate::browser::{Browser, Page};
use crate::fixture::{Web, dag};
use axum::http::StatusCode;
use chrono::TimeDelta;
use orch_store::log::{NewChunk, append};
use orch_store::registry::{NewBundle, register_bundle};
use serde_json::json;
use sqlx::PgConnection;
use std::collections::BTreeSet;
use uuid::Uuid;

pub(crate) const EVIL: &str = "\"><svg onload=x>'</script>";

/// Creates a run of `chain` whose first task failed with a log and whose second task waits.
pub(crate) async fn failed_run(web: &Web, db: &mut PgConnection, words: &str) -> String {
    let run_id = web.trigger("chain").await;
    let run: Uuid =
        sqlx::query_scalar("select id from dag_run where run_id = $1").bind(&run_id).fetch_one(&mut *db).await.unwrap();
    let attempt: Uuid = sqlx::query_scalar("delete from ready where run = $1 returning attempt")
        .bind(run)
        .fetch_one(&mut *db)
        .await
        .unwrap();
    sqlx::query(
        "insert into task_instance (run, attempt, map_index, task, try_no, max_tries, lease_no, state, queued_at,
          started_at, ended_at) values ($1, $2, -1, 0, 3, 2, 1, 'failed', now(), now(), now() + interval '2 s')",
    )
    .bind(run)
    .bind(attempt)
    .execute(&mut *db)
    .await
    .unwrap();
    sqlx::query("insert into failure (run, attempt, lease_no, kind, causes) values ($1, $2, 1, 'fatal', $3)")
        .bind(run)
        .bind(attempt)
        .bind(vec![words.to_string(), "because".into()])
        .execute(&mut *db)
        .await
        .unwrap();
    sqlx::query("update dag_run set state = 'failed', ended_at = now(), ledger = array[6, 8, 8, 8, 8]::smallint[] where id = $1")
        .bind(run)
        .execute(&mut *db)
        .await
        .unwrap();
    let line = |level: &str, event: &str| {
        json!({ "timestamp": "2026-11-20T05:37:52.004Z", "level": level, "logger": "x", "event": event }).to_string()
    };
    let body = [line("info", "\u{1b}[32mread\u{1b}[0m 3 rows"), line("error", words)].join("\n");
    append(db, &[NewChunk { run, attempt, lease_no: 1, seq: 0, lines: 2, body }]).await.unwrap();
    run_id
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[tokio::test]
async fn every_link_of_every_page_leads_to_a_page() {
    let web = Web::new().await;
    let mut db = web.db().await;
    failed_run(&web, &mut db, "no").await;
    web.trigger("mapped").await;
    web.trigger("paused").await;
    let mut browser = Browser::logged_in(&web).await;
    let (mut seen, mut open) = (BTreeSet::new(), vec!["/".to_string()]);
    while let Some(path) = open.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let page = browser.get(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(seen.len() < 3_000, "there is no end to the links");
        if page.headers["content-type"] == "text/html; charset=utf-8" {
            assert!(page.has("<main") && page.has("<title>") && !page.has("style="), "{path}");
            open.extend(page.links());
        }
    }
    for page in
        ["/dags", "/runs", "/dags/chain", "/dags/chain/trigger", "/dags/chain/details", "/dags/mapped/runs", "/keys"]
    {
        assert!(seen.contains(page), "{page} is linked to by none of {seen:?}");
    }
    assert!(seen.iter().any(|path| path.ends_with("/-1/log?try=3")), "{seen:?}");
}

#[tokio::test]
async fn home_says_what_fails_and_leads_to_its_cause() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get("/").await;
    assert!(page.has("No worker answers: no task runs until one starts."), "{}", page.html);
    assert!(page.has("Nothing has run yet"));
    let run_id = failed_run(&web, &mut db, "no such table").await;
    sqlx::query(
        "insert into worker (name, hostname, pid, bundle, binary_version, queues, versions, slots, expires_at)
        values ('w', 'h', 1, 'test', '0', '{}', '{}', 8, now() + interval '1 h')",
    )
    .execute(&mut db)
    .await
    .unwrap();
    sqlx::query("insert into process (role, hostname, pid) values ('scheduler', 'h', 1)")
        .execute(&mut db)
        .await
        .unwrap();
    web.clock.advance(TimeDelta::seconds(1));
    let page = browser.get("/").await;
    assert!(page.has("One DAG fails. <em>The rest is on time.</em>"), "{}", page.html);
    assert!(page.has("<title>✕ 1 failing · Home · orch</title>") && page.has("no such table"));
    let cause = format!("/dags/chain/runs/{}/tasks/t0", encoded(&run_id));
    assert!(page.links().contains(&cause), "{:?}", page.links());
}

#[tokio::test]
async fn the_list_of_dags_is_filtered_by_its_query() {
    let web = Web::new().await;
    let mut db = web.db().await;
    failed_run(&web, &mut db, "no").await;
    let mut browser = Browser::logged_in(&web).await;
    let shown = |page: &Page| {
        let names = ["chain", "mapped", "params", "paused"];
        names
            .into_iter()
            .filter(|name| page.has(&format!(r#"<a class="name" href="/dags/{name}""#)))
            .collect::<Vec<_>>()
    };
    for (query, expected) in [
        ("", vec!["chain", "mapped", "params", "paused"]),
        ("?q=ma", vec!["mapped"]),
        ("?q=OLD_chain", vec!["chain"]),
        ("?q=tag:x", vec!["chain", "paused"]),
        ("?q=tag:x+owner:ada+pau", vec!["paused"]),
        ("?q=%25", vec![]),
        ("?state=paused", vec!["paused"]),
        ("?state=failing", vec!["chain"]),
        ("?state=running", vec![]),
        ("?state=", vec!["chain", "mapped", "params", "paused"]),
        ("?page=7", vec![]),
    ] {
        let page = browser.get(&format!("/dags{query}")).await;
        assert_eq!((page.status, shown(&page)), (StatusCode::OK, expected), "{query}");
    }
    assert!(browser.get("/dags?q=zzz").await.has("No matching DAGs"));
    assert!(browser.get("/dags?page=x").await.status.is_client_error());
}

#[tokio::test]
async fn a_dag_is_paused_and_unpaused_and_somebody_is_named_for_it() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let mut browser = Browser::logged_in(&web).await;
    let waiting = web.trigger("paused").await;
    let answer = browser.submit("/dags", "/dags/paused/paused", &[("paused", "false"), ("back", "/dags?q=p")]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/dags?q=p"));
    let state: String = sqlx::query_scalar("select state::text from dag_run where run_id = $1")
        .bind(&waiting)
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!(state, "running", "what waited begins");
    browser.submit("/dags", "/dags/old_chain/paused", &[("paused", "true")]).await;
    assert!(browser.get("/dags/chain").await.has(r#"aria-label="chain is paused""#));
    let deeds: Vec<(String, String, String)> =
        sqlx::query_as("select actor, event, dag_id from audit where event like '%pause%' order by id")
            .fetch_all(&mut db)
            .await
            .unwrap();
    let deed = |event: &str, dag: &str| ("admin".to_string(), event.to_string(), dag.to_string());
    assert_eq!(deeds, [deed("unpause_dag", "paused"), deed("pause_dag", "chain")]);
    for paused in ["maybe", ""] {
        let answer = browser.submit("/dags", "/dags/chain/paused", &[("paused", paused)]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(
        browser.submit("/dags", "/dags/nothing/paused", &[("paused", "true")]).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn the_star_of_a_dag_makes_it_a_favourite() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    assert!(browser.get("/dags?state=favorites").await.has("The star in the row of a DAG makes it one of yours."));
    let answer =
        browser.submit("/dags", "/dags/old_chain/favorite", &[("favorite", "true"), ("back", "/dags?q=c")]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/dags?q=c"));
    let page = browser.get("/dags?state=favorites").await;
    assert!(page.has(r#"aria-label="chain is a favourite""#) && !page.has("mapped"), "{}", page.html);
    browser.submit("/dags", "/dags/chain/favorite", &[("favorite", "false")]).await;
    assert!(browser.get("/dags").await.has(r#"aria-label="chain is not a favourite""#));
    let answer = browser.submit("/dags", "/dags/chain/favorite", &[("favorite", "perhaps")]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_dag_is_deleted_after_a_question() {
    let web = Web::new().await;
    let mut db = web.db().await;
    failed_run(&web, &mut db, "no").await;
    let mut browser = Browser::logged_in(&web).await;
    assert!(browser.get("/dags/chain/details").await.links().contains(&"/dags/chain/delete".into()));
    let asked = browser.get("/dags/chain/delete").await;
    assert!(asked.has("All its runs go, with their logs, outputs and notes"), "{}", asked.html);
    let answer = browser.submit("/dags/chain/delete", "/dags/chain/delete", &[]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/dags"));
    assert_eq!(browser.get("/dags/chain").await.status, StatusCode::NOT_FOUND);
    let deed: (String, String) = sqlx::query_as("select actor, extra ->> 'runs' from audit where event = 'delete_dag'")
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!(deed, ("admin".into(), "1".into()));
}

#[tokio::test]
async fn a_dag_that_is_not_there_is_answered_with_names_that_are() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    for path in ["/dags/chains", "/dags/chains/runs", "/dags/chains/trigger", "/dags/chains/runs/x/tasks/t0"] {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND);
        assert!(page.has(r#"<a class="name" href="/dags/chain">chain</a>"#) && page.has(r#"class="app""#), "{path}");
    }
}

#[tokio::test]
async fn the_grid_has_a_column_for_each_run_and_a_row_for_each_task() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let mut browser = Browser::logged_in(&web).await;
    assert!(browser.get("/dags/chain").await.has("It has not run yet"));
    failed_run(&web, &mut db, "no").await;
    web.trigger("chain").await;
    let page = browser.get("/dags/chain").await;
    assert_eq!(page.html.matches(r#"class="cell s-"#).count(), 10);
    for (state, count) in [("failed", 1), ("upstream_failed", 4), ("queued", 1), ("no_status", 4)] {
        assert_eq!(page.html.matches(&format!(r#"class="cell s-{state}""#)).count(), count, "{state}");
    }
    assert!(browser.get("/dags/chain?type=scheduled").await.has("No scheduled run"));
    assert_eq!(browser.get("/dags/old_chain").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_palette_finds_dags_pages_and_actions() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let places = |page: &Page| -> Vec<String> {
        let parts = page.html.split(r#"data-href=""#).skip(1).filter_map(|rest| rest.split('"').next());
        parts.map(Into::into).collect()
    };
    let found = browser.get("/palette?q=para").await;
    assert_eq!(places(&found), ["/dags/params", "/dags/params/trigger"]);
    let all = places(&browser.get("/palette").await);
    for place in ["/", "/dags", "/runs", "/dags?state=failing", "/dags/chain"] {
        assert!(all.contains(&place.to_string()), "{place} {all:?}");
    }
    for place in all {
        assert_eq!(browser.get(&place).await.status, StatusCode::OK, "{place}");
    }
    assert!(browser.get("/palette?q=zzzz").await.has("No matches"));
}

#[tokio::test]
async fn the_graph_shows_the_states_of_a_run_and_the_way_of_a_failure() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let mut browser = Browser::logged_in(&web).await;
    let bare = browser.get("/dags/chain/graph").await;
    assert_eq!(
        (bare.html.matches(r#"class="node s-ink""#).count(), bare.html.matches(r#"class="wire""#).count()),
        (5, 4)
    );
    let run_id = failed_run(&web, &mut db, "no").await;
    web.trigger("chain").await;
    let latest = browser.get("/dags/chain/graph").await;
    assert_eq!(latest.html.matches(r#"class="node s-queued""#).count(), 1, "{}", latest.html);
    let failed = browser.get(&format!("/dags/chain/graph?run={}", encoded(&run_id))).await;
    assert_eq!(failed.html.matches(r#"class="node s-upstream_failed""#).count(), 4);
    assert_eq!(failed.html.matches(r#"class="wire hot""#).count(), 4);
    assert_eq!(browser.get("/dags/chain/graph?run=nothing").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_run_of_the_form_has_a_logical_date_unless_its_field_is_emptied() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    browser.cookies.insert("zone".into(), "Europe/Berlin".into());
    let to = "/dags/chain/trigger";
    let form = browser.get(to).await;
    assert!(form.has("Logical date <small>Europe/Berlin, optional</small>"), "{}", form.html);
    assert!(!form.has("--logical-date") && !form.has(r#"<details class="more" open>"#), "{}", form.html);
    let offered = form.html.split(r#"name="offered_date" value=""#).nth(1).and_then(|rest| rest.split('"').next());
    let offered = offered.expect("the form offers a date").to_owned();
    for date in [offered.as_str(), offered.as_str(), "", "2026-11-20T06:00"] {
        let fields = [("as", "json"), ("do", "trigger"), ("logical_date", date), ("offered_date", offered.as_str())];
        let done = browser.submit(to, to, &fields).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{date}: {}", done.html);
    }
    let dates = "select count(*) filter (where abs(extract(epoch from logical_date - run_after)) < 60),
        count(*) filter (where logical_date is null), count(*) filter (where logical_date = '2026-11-20 05:00:00+00')
        from dag_run";
    let dates: (i64, i64, i64) = sqlx::query_as(dates).fetch_one(&mut web.db().await).await.unwrap();
    assert_eq!(dates, (2, 1, 1));
}

#[tokio::test]
async fn the_trigger_form_says_what_is_wrong_and_loses_nothing() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let to = "/dags/params/trigger";
    let form = browser.get(to).await;
    assert!(form.has(r#"name="p.limit" inputmode="numeric" value="10""#), "{}", form.html);
    let typed = [("as", "form"), ("do", "trigger"), ("p.table", ""), ("p.limit", "many"), ("note", EVIL)];
    let refused = browser.submit(to, to, &typed).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.has("This is a string, not an integer.") && refused.has("This is missing"), "{}", refused.html);
    assert!(refused.has(r#"value="many""#) && refused.has("&#34;&#62;&#60;svg onload=x&#62;"));
    // The form is converted to JSON and back.
    let json = browser.submit(to, to, &[("as", "form"), ("do", "json"), ("p.table", "orders"), ("p.limit", "7")]).await;
    assert!(json.has("&#34;table&#34;: &#34;orders&#34;") && json.has("&#34;limit&#34;: 7"), "{}", json.html);
    let wrong = browser.submit(to, to, &[("as", "json"), ("do", "form"), ("conf", "{\"table\": ")]).await;
    assert!(wrong.has("the conf is not JSON") && wrong.has("{&#34;table&#34;: "), "{}", wrong.html);
    let back = browser.submit(to, to, &[("as", "json"), ("do", "form"), ("conf", "{\"table\": \"orders\"}")]).await;
    assert!(back.has(r#"name="p.table" type="text" value="orders""#));
    let typed = [
        ("as", "form"),
        ("do", "trigger"),
        ("p.table", "orders"),
        ("p.limit", "10"),
        ("note", "why"),
        ("run_id", "mine"),
    ];
    let gone = browser.submit(to, to, &typed).await;
    assert_eq!((gone.status, gone.location()), (StatusCode::SEE_OTHER, "/dags/params/runs/mine"));
    let run = browser.get("/dags/params/runs/mine").await;
    assert!(run.has("why") && run.has("&#34;table&#34;: &#34;orders&#34;") && !run.has("limit"), "{}", run.html);
    assert!(run.has("admin, ui"));
    let again = browser.submit(to, to, &typed).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(again.has("The DAG has a run of that id already.") && again.has(r#"value="mine""#));
    for (run_id, date, why) in
        [("a b", "", "run id"), ("scheduled__x", "", "scheduled"), ("", "yesterday", "no moment")]
    {
        let typed = [("as", "form"), ("p.table", "x"), ("run_id", run_id), ("logical_date", date)];
        let refused = browser.submit(to, to, &typed).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{run_id} {date}");
        assert!(refused.html.to_lowercase().contains(why), "{why}");
    }
}

#[tokio::test]
async fn a_run_shows_why_it_failed_and_its_task_shows_the_log() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let run_id = failed_run(&web, &mut db, "no such table").await;
    let mut browser = Browser::logged_in(&web).await;
    let run = format!("/dags/chain/runs/{}", encoded(&run_id));
    let page = browser.get(&run).await;
    assert!(page.has("<strong>t0 failed.</strong> <span class=\"said\">no such table: because"), "{}", page.html);
    assert_eq!(page.html.matches(r#"<svg class="row" role="img""#).count(), 5);
    assert_eq!(
        browser.get(&format!("{run}?state=failed")).await.html.matches(r#"<svg class="row" role="img""#).count(),
        1
    );
    let task = browser.get(&format!("{run}/tasks/t0")).await;
    assert!(
        task.has(r#"<span class="ansi-g">read</span> 3 rows"#) && task.has(r#"<li class="error" id="L2">"#),
        "{}",
        task.html
    );
    assert!(task.has("It failed.") && task.has("no such table: because"));
    let waits = browser.get(&format!("{run}/tasks/t1")).await;
    assert!(waits.has("Did not start because t0 failed."), "{}", waits.html);
    let log = browser.get(&format!("{run}/tasks/t0/-1/log")).await;
    assert_eq!(log.headers["content-type"], "text/plain; charset=utf-8");
    assert!(log.headers["content-disposition"].to_str().unwrap().contains("chain-t0-try3.log"));
    assert_eq!(log.html.lines().count(), 2);
    for wrong in ["/tasks/nothing", "/tasks/t0/4", "/tasks/t0/x", "/tasks/t0/-1/log?try=9", "/tasks/t1/-1/log"] {
        assert!(browser.get(&format!("{run}{wrong}")).await.status.is_client_error(), "{wrong}");
    }
}

#[tokio::test]
async fn a_change_says_first_what_it_will_change() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let run_id = failed_run(&web, &mut db, "no").await;
    let mut browser = Browser::logged_in(&web).await;
    let run = format!("/dags/chain/runs/{}", encoded(&run_id));
    let clear = format!("{run}/clear");
    let preview = browser.get(&clear).await;
    assert!(
        preview.has("1 task instance will run again, and the run restarts") && preview.has("Clear 1"),
        "{}",
        preview.html
    );
    let cleared = browser.submit(&clear, &clear, &[("only_failed", "on")]).await;
    assert_eq!(cleared.location(), run);
    assert!(browser.get(&run).await.has("<span>running</span>") || browser.get(&run).await.has("running"));
    let waiting: i64 = sqlx::query_scalar("select count(*) from ready").fetch_one(&mut db).await.unwrap();
    assert_eq!(waiting, 1);
    let cancel = format!("{run}/cancel");
    let stop = browser.get(&cancel).await;
    assert!(stop.has("Stop the run") && stop.has("1 active task instance is stopped"), "{}", stop.html);
    assert_eq!(browser.submit(&cancel, &cancel, &[("do", "stop")]).await.location(), run);
    let state = "select state::text from dag_run where dag_id = 'chain'";
    assert_eq!(sqlx::query_scalar::<_, String>(state).fetch_one(&mut db).await.unwrap(), "failed");
    let mark = format!("{run}/mark");
    browser.submit(&mark, &mark, &[("do", "success")]).await;
    assert_eq!(sqlx::query_scalar::<_, String>(state).fetch_one(&mut db).await.unwrap(), "success");
    let events: Vec<String> = sqlx::query_scalar("select event from audit where run_id = $1 order by id")
        .bind(&run_id)
        .fetch_all(&mut db)
        .await
        .unwrap();
    assert!(events.ends_with(&["clear_dag_run".into(), "cancel_run".into(), "mark_dag_run".into()]), "{events:?}");
    assert_eq!(browser.submit(&mark, &mark, &[("do", "paused")]).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_instance_is_marked_and_what_follows_begins() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let run = format!("/dags/chain/runs/{}", encoded(&web.trigger("chain").await));
    let mut browser = Browser::logged_in(&web).await;
    let mark = format!("{run}/tasks/t0/-1/mark");
    let asked = browser.get(&mark).await;
    assert!(
        asked.has("It is queued now. It does not begin any more.") && asked.has("Mark as skipped"),
        "{}",
        asked.html
    );
    let done = browser.submit(&mark, &mark, &[("do", "success")]).await;
    assert_eq!(done.location(), format!("{run}/tasks/t0"));
    assert!(browser.get(&format!("{run}/tasks/t0")).await.has("Done"));
    assert!(browser.get(&format!("{run}/tasks/t1")).await.has("Waits for a worker"));
    assert_eq!(browser.submit(&mark, &mark, &[("do", "running")]).await.status, StatusCode::BAD_REQUEST);
    for wrong in ["/tasks/nothing/-1/mark", "/tasks/t0/7/mark"] {
        assert_eq!(browser.get(&format!("{run}{wrong}")).await.status, StatusCode::NOT_FOUND);
    }
    let event = "select event from audit where task_id = 't0'";
    assert_eq!(sqlx::query_scalar::<_, String>(event).fetch_one(&mut db).await.unwrap(), "mark_task_instance");
}

#[tokio::test]
async fn nothing_that_a_page_shows_becomes_markup() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let evil = dag(json!({ "dag_id": "evil", "description": EVIL, "tags": [EVIL], "owners": [EVIL], "aliases": [],
        "tasks": [{ "task_id": "a", "kind": EVIL, "doc": EVIL }],
        "params_schema": { "properties": { EVIL: { "type": "string", "default": EVIL, "description": EVIL, "title": EVIL },
            "e": { "enum": [EVIL, "b"] } } } }));
    register_bundle(&mut db, &NewBundle { name: EVIL.into(), dags: vec![evil] }, false).await.expect("it registers");
    let run_id = failed_run(&web, &mut db, EVIL).await;
    sqlx::query("insert into dag_run_detail (run, conf, note) select id, json_build_object('k', $1), $1 from dag_run")
        .bind(EVIL)
        .execute(&mut db)
        .await
        .unwrap();
    let mut browser = Browser::logged_in(&web).await;
    let run = format!("/dags/chain/runs/{}", encoded(&run_id));
    let paths = [
        "/",
        "/dags",
        "/runs",
        "/dags/evil",
        "/dags/evil/details",
        "/dags/evil/trigger",
        "/dags/chain",
        "/dags/chain/runs",
    ];
    let mut paths: Vec<String> = paths.into_iter().map(Into::into).collect();
    paths.extend([run.clone(), format!("{run}/tasks/t0"), format!("{run}/clear")]);
    let query = encoded(EVIL);
    paths.extend([format!("/dags?q={query}&state={query}"), format!("/runs?q={query}"), format!("{run}?task={query}")]);
    paths.extend([format!("/dags/{query}"), format!("{run}/clear?task={query}"), format!("/login?next={query}")]);
    for path in paths {
        let page = browser.get(&path).await;
        assert!(!page.status.is_server_error(), "{path}: {}", page.html);
        for markup in ["<svg onload", "'</script>", "onload=x>'<"] {
            assert!(!page.has(markup), "{path}: {}", page.html);
        }
    }
}

#[tokio::test]
async fn what_one_may_not_do_is_not_offered() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let run_id = failed_run(&web, &mut db, "no").await;
    sqlx::query("update api_user set role = 'viewer'").execute(&mut db).await.unwrap();
    web.clock.advance(TimeDelta::seconds(1));
    let mut browser = Browser::logged_in(&web).await;
    let run = format!("/dags/chain/runs/{}", encoded(&run_id));
    for path in ["/dags", "/dags/chain", &run, &format!("{run}/tasks/t0")] {
        let page = browser.get(path).await;
        for offer in ["/trigger", "/clear", "/mark", "/cancel", r#"role="switch""#] {
            assert!(!page.has(offer), "{path} offers {offer}");
        }
    }
    for path in ["/dags/chain/trigger".to_string(), format!("{run}/clear")] {
        assert_eq!(browser.get(&path).await.status, StatusCode::FORBIDDEN);
    }
}
