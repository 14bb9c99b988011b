//! Views: the tabs of a DAG, the query of the graph, the time zone, and the keyboard shortcuts.

use crate::browser::Browser;
use crate::fixture::{Web, dag};
use axum::http::StatusCode;
use orch_store::registry::{NewBundle, register_bundle};
use serde_json::json;
use sqlx::PgConnection;

/// Registers a second version of `chain`, with one task added and two removed.
pub(crate) async fn change_chain(db: &mut PgConnection) {
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
async fn what_is_usual_is_the_same_number_on_every_page() {
    let web = Web::new().await;
    for _ in 0..27 {
        web.trigger("chain").await;
    }
    // The newest run is running, the twelve before it took ten seconds, and the older ones a minute.
    let ended = "update dag_run d set state = case when n = 1 then 'running' else 'success' end::run_state,
        ended_at = case when n > 1 then now() end,
        started_at = now() - make_interval(secs => case when n = 1 then 5 when n <= 13 then 10 else 60 end)
        from (select id, row_number() over (order by run_after desc, id desc) as n from dag_run) r where r.id = d.id";
    sqlx::raw_sql(ended).execute(&mut web.db().await).await.unwrap();
    let mut browser = Browser::logged_in(&web).await;
    for (page, said) in [
        ("/", "of ~10 s"),
        ("/dags/chain", "usually 10 s"),
        ("/dags/chain?runs=50", "usually 10 s"),
        ("/dags/chain/overview", "usually 10 s"),
        ("/dags/chain/trigger", "Usually takes</dt><dd>10 s"),
    ] {
        let page = browser.get(page).await;
        assert!(page.has(said), "{}", page.html);
    }
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
async fn the_calendar_shows_each_day_and_leads_to_bad_ones() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get("/dags/chain/calendar").await;
    assert!(
        page.has("No runs in this year") && page.has("0 runs on 0 days, 0 days with a failed run"),
        "{}",
        page.html
    );
    // One run per day back from today. The third one failed, and the logical date of one lies days before its run.
    for _ in 0..4 {
        web.trigger("chain").await;
    }
    let ended = "update dag_run d set run_after = now() - make_interval(days => n::int - 1),
        logical_date = case when n = 4 then now() - interval '10 days' end,
        state = case when n = 1 then 'running' when n = 3 then 'failed' else 'success' end::run_state
        from (select id, row_number() over (order by id desc) as n from dag_run) r where r.id = d.id";
    sqlx::raw_sql(ended).execute(&mut db).await.unwrap();
    let days: Vec<String> = sqlx::query_scalar(
        "select to_char((now() at time zone 'UTC')::date - day, 'YYYY-MM-DD') from unnest(array[0, 2, 3, 10]) day",
    )
    .fetch_all(&mut db)
    .await
    .unwrap();
    let page = browser.get("/dags/chain/calendar").await;
    assert!(page.has("4 runs on 4 days, 1 day with a failed run"), "{}", page.html);
    for (day, said) in days.iter().zip(["1 run, 1 not over", "1 run, 1 failed", "no run", "1 run"]) {
        assert!(page.has(&format!("<title>{day}: {said}</title>")), "{day}: {said}: {}", page.html);
    }
    assert!(page.has(&format!("/dags/chain/runs?run_after_gte={0}&#38;run_after_lte={0}", days[1])), "{}", page.html);
    let evening =
        "update dag_run d set logical_date = date_trunc('day', now(), 'UTC') - make_interval(mins => 30 + n::int)
        from (select id, row_number() over (order by id) as n from dag_run) r where r.id = d.id";
    sqlx::raw_sql(evening).execute(&mut db).await.unwrap();
    browser.cookies.insert("zone".into(), "Asia/Kolkata".into());
    let page = browser.get("/dags/chain/calendar").await;
    let day = "select to_char((date_trunc('day', now(), 'UTC') at time zone 'UTC')::date, 'YYYY-MM-DD')";
    let day: String = sqlx::query_scalar(day).fetch_one(&mut db).await.unwrap();
    assert!(page.has("days in Asia/Kolkata") && page.has(&format!("<title>{day}: 4 runs")), "{}", page.html);
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
    assert!(browser.get("/dags/chain/tasks?q=zzz").await.has("No matching tasks"));
    assert!(browser.get("/dags/mapped/tasks").await.has(", mapped"));
}

#[tokio::test]
async fn the_history_of_a_dag_compares_any_two_versions() {
    let web = Web::new().await;
    let mut db = web.db().await;
    web.trigger("chain").await;
    change_chain(&mut db).await;
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get("/dags/chain/versions").await;
    for words in [
        "From version 1 to 2",
        "1 task added, 2 removed, 3 changed; 1 edge added, 2 removed",
        "<dt>New tasks</dt><dd><code>report</code></dd>",
        "<dt>Tasks that are gone</dt><dd><code>t3</code>, <code>t4</code></dd>",
        "<code>t2 → report</code>",
        "<code>t3 → t4</code>",
        r#"<td class="num">1 <span"#,
        "/dags/chain/graph?version=1",
    ] {
        assert!(page.has(words), "{words} {}", page.html);
    }
    let page = browser.get("/dags/chain/versions?from=2&to=1").await;
    assert!(page.has("From version 2 to 1") && page.has("2 tasks added, 1 removed"), "{}", page.html);
    let page = browser.get("/dags/chain/versions?from=2&to=2").await;
    assert!(!page.has("From version") && page.has("Version 1"), "{}", page.html);
    let page = browser.get("/dags/mapped/versions").await;
    assert!(!page.has("From version") && page.has("Version 1"), "one version is compared with nothing: {}", page.html);
    for (query, status) in [("to=3", StatusCode::NOT_FOUND), ("from=x", StatusCode::BAD_REQUEST)] {
        assert_eq!(browser.get(&format!("/dags/chain/versions?{query}")).await.status, status);
    }

    let listed = web.get("/api/orch/v1/dags/chain/versions").await;
    let lines = listed.body["versions"].as_array().unwrap();
    let line = |place: usize| json!([lines[place]["number"], lines[place]["runs"], lines[place]["is_newest"]]);
    assert_eq!([line(0), line(1)], [json!([2, 0, true]), json!([1, 1, false])], "{}", listed.body);
    assert_eq!(lines[0]["hash"].as_str().unwrap().len(), 32);
    let diff = web.get("/api/orch/v1/dags/chain/diff").await;
    assert_eq!((&diff.body["from"], &diff.body["to"]), (&json!(1), &json!(2)));
    assert_eq!(diff.body["tasks_removed"], json!(["t3", "t4"]));
    assert_eq!(diff.body["edges_added"], json!([{ "from": "t2", "to": "report" }]));
    assert_eq!(web.get("/api/orch/v1/dags/chain/diff?from=7").await.status, StatusCode::NOT_FOUND);
    assert_eq!(web.get("/api/orch/v1/dags/chain/diff?from=x").await.status, StatusCode::UNPROCESSABLE_ENTITY);
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

#[tokio::test]
async fn a_run_is_noted_and_begun_again_with_what_it_was_begun_with() {
    let web = Web::new().await;
    let body = json!({ "logical_date": null, "conf": { "table": "t'x", "limit": 7 } });
    let answer = web.post("/api/v2/dags/params/dagRuns", &body).await;
    let run_id: String =
        form_urlencoded::byte_serialize(answer.body["dag_run_id"].as_str().unwrap().as_bytes()).collect();
    let run = format!("/dags/params/runs/{run_id}");
    let mut browser = Browser::logged_in(&web).await;
    let done = browser.submit(&run, &format!("{run}/note"), &[("note", " for the <month> end ")]).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.html);
    assert!(browser.get(&run).await.has(r#"<p class="said">for the &#60;month&#62; end</p>"#));
    browser.submit(&run, &format!("{run}/note"), &[("note", "for the <month> end")]).await;
    let long = "x".repeat(1_001);
    let refused = browser.submit(&run, &format!("{run}/note"), &[("note", &long)]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(web.deeds().await.iter().filter(|deed| deed.starts_with("note_dag_run")).count(), 1);
    assert!(browser.get(&run).await.links().contains(&format!("/dags/params/trigger?like={run_id}")));
    let form = browser.get(&format!("/dags/params/trigger?like={run_id}")).await;
    assert!(form.has(r#"value="t&#39;x""#) && form.has(r#"value="7""#) && form.has("Filled in from"), "{}", form.html);
    assert!(form.has("Same as before") && form.has("for the &#60;month&#62; end</textarea>"), "{}", form.html);
    assert_eq!(browser.get("/dags/params/trigger?like=nothing").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_task_instance_is_noted() {
    let web = Web::new().await;
    let run_id: String = form_urlencoded::byte_serialize(web.trigger("chain").await.as_bytes()).collect();
    let task = format!("/dags/chain/runs/{run_id}/tasks/t0");
    let mut browser = Browser::logged_in(&web).await;
    let done = browser.submit(&task, &format!("{task}/-1/note"), &[("note", "waits for the <shop>")]).await;
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, task.as_str()), "{}", done.html);
    assert!(browser.get(&task).await.has(r#"<p class="said">waits for the &#60;shop&#62;</p>"#));
    browser.submit(&task, &format!("{task}/-1/note"), &[("note", "")]).await;
    assert!(browser.get(&task).await.has("Write one"));
    assert_eq!(web.deeds().await.iter().filter(|deed| deed.starts_with("note_task_instance")).count(), 2);
}

#[tokio::test]
async fn a_task_instance_says_what_it_was_called_with_and_where_it_ran() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let input = |name: &str, source: serde_json::Value| json!({ "name": name, "type": "u32", "source": source });
    let tasks = json!([
        { "task_id": "list", "kind": "rust" },
        { "task_id": "read", "kind": "rust", "inputs": [input("rows", json!({ "output": "list" })), input("all", json!("params")), input("fixed", json!({ "value": 5 }))] },
        { "task_id": "each", "kind": "rust", "map": { "each": { "value": ["a", "b<c"] } },
          "inputs": [input("one", json!({ "element": { "group": null, "part": null } }))] },
    ]);
    let inputs = dag(json!({ "dag_id": "inputs", "tasks": tasks }));
    register_bundle(&mut db, &NewBundle { name: "two".into(), dags: vec![inputs] }, false).await.expect("it registers");
    let run_id: String = form_urlencoded::byte_serialize(web.trigger("inputs").await.as_bytes()).collect();
    sqlx::query(
        "insert into output (run, task, map_index, key, parts, is_list, value)
        select id, 0, -1, 'return_value', 0, true, '[1,\"<x>\"]' from dag_run where dag_id = 'inputs'",
    )
    .execute(&mut db)
    .await
    .unwrap();
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get(&format!("/dags/inputs/runs/{run_id}/tasks/read")).await;
    for words in [
        ">rows</strong>",
        "what it gave",
        "&#60;x&#62;",
        "the run’s params",
        "written in the DAG",
        "<dt>Queue</dt><dd>default</dd>",
    ] {
        assert!(page.has(words), "{words} {}", page.html);
    }
    let page = browser.get(&format!("/dags/inputs/runs/{run_id}/tasks/each/1")).await;
    assert!(page.has("element 1") && page.has("&#34;b&#60;c&#34;"), "{}", page.html);
}

#[tokio::test]
async fn a_run_says_where_its_time_went() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let run_id: String = form_urlencoded::byte_serialize(web.trigger("chain").await.as_bytes()).collect();
    for text in [
        "delete from ready",
        "update dag_run set started_at = '2026-01-01 00:00:00+00', ended_at = '2026-01-01 00:01:00+00', state = 'success',
          ledger = array[5, 5, 5, 5, 5]::smallint[]",
        "insert into task_instance (run, attempt, map_index, task, try_no, max_tries, lease_no, state, queued_at,
          started_at, ended_at) select id, gen_random_uuid(), -1, t, 1, 2, 1, 'success',
          started_at + make_interval(secs => t * 12), started_at + make_interval(secs => t * 12 + 2),
          started_at + make_interval(secs => t * 12 + 12) from dag_run, generate_series(0, 4) t",
    ] {
        sqlx::query(text).execute(&mut db).await.unwrap();
    }
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get(&format!("/dags/chain/runs/{run_id}")).await;
    assert!(page.has("<dd>50 s, 83 %</dd>") && page.has("<dd>10 s, 17 %</dd>"), "{}", page.html);
    assert!(page.has("0 ms over 5 hand-overs"), "{}", page.html);
    assert_eq!(page.html.matches(r#"class="crit""#).count(), 5, "all of a chain is critical");
    assert!(page.has("<title>✓ chain, Run of"), "{}", page.html);
}
