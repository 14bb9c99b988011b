//! The monitoring page, without any runs and with some.

use crate::browser::Browser;
use crate::fixture::{PASSWORD, Web, dag};
use crate::quality::look;
use chrono::TimeDelta;
use orch_store::registry::{NewBundle, register_bundle};
use serde_json::json;

#[tokio::test]
async fn what_went_wrong_is_on_the_page_of_monitoring() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let empty = browser.get("/monitoring").await;
    for text in
        ["No run has ended in four weeks", "No stream runs", "No checks in four weeks", "No alerts in four weeks"]
    {
        assert!(empty.has(text), "{text}: {}", empty.html);
    }

    look(&web, [2, 1, 0]).await;
    web.trigger("chain").await;
    for _ in 0..3 {
        web.trigger("mapped").await;
    }
    let mut db = web.db().await;
    let ended = "update dag_run set state = 'success', started_at = now() - interval '61 seconds', ended_at = now();
        update dag_run set state = 'failed' where id = (select id from dag_run order by id desc limit 1);
        insert into deadline (run, nth, counts_from, after_ms, due_at, state)
            select id, 0, 'queued', 1, now(), 'missed' from dag_run where dag_id = 'mapped' order by id limit 1;
        insert into asset_event (uri, rows, source_run) select 'lake://retail/orders', 1200, id from dag_run limit 1;
        insert into stream (name, bundle, spec, is_paused) values ('readings', 'b', '{}', false);
        insert into stream_minute (stream, minute, records, quarantined, lag) values ('readings', now(), 800, 5, 0)";
    sqlx::raw_sql(ended).execute(&mut db).await.unwrap();
    let alive = "insert into process (role, hostname, pid, binary_version, memory_mb) values ('web', 'host', 3, 'v', 64);
        insert into process (role, hostname, pid, binary_version, memory_mb, heartbeat_at)
            values ('scheduler', 'gone', 2, 'v', 900, now() - interval '1 minute');
        insert into worker (name, hostname, pid, bundle, binary_version, queues, versions, slots, running, memory_mb, expires_at)
            values ('one', 'host', 3, 'b', 'v', '{}', '{}', 8, 2, 70, now() + interval '1 minute')";
    sqlx::raw_sql(alive).execute(&mut db).await.unwrap();
    let page = browser.get("/monitoring").await;
    for text in [
        "3 runs",
        "1 failed, 1 late",
        "95 % in 1 m 01 s",
        "2,000</span>",
        "Rows that tasks wrote, hour by hour",
        "Records that streams published, hour by hour",
        "Runs that failed, hour by hour",
        "href=\"/streams/readings\"",
        "web, worker</a><span class=\"meta\">host, process 3</span>",
        "<td class=\"num\">70 MB</td>",
        "<td class=\"num\">2 of 8</td>",
    ] {
        assert!(page.has(text), "{text}: {}", page.html);
    }
    let place =
        |dag: &str| page.html.find(&format!("href=\"/dags/{dag}\"")).unwrap_or_else(|| panic!("{dag}: {}", page.html));
    assert!(place("mapped") < place("chain"), "what had trouble is first, and what went well follows");
    assert!(!page.has("No checks in four weeks") && !page.has("gone, process 2"));
}

#[tokio::test]
async fn an_asset_without_updates_is_not_called_fresh() {
    let web = Web::new().await;
    let hourly = dag(json!({ "dag_id": "hourly", "tasks": [{ "task_id": "t", "kind": "rust",
        "outlets": [{ "uri": "lake://raw/orders", "fresh_within_ms": 3_600_000 }] }] }));
    let mut db = web.db().await;
    register_bundle(&mut db, &NewBundle { name: "hourly".into(), dags: vec![hourly] }, false).await.unwrap();
    let mut browser = Browser::logged_in(&web).await;
    let new = browser.get("/monitoring").await;
    assert!(new.has("not updated yet") && !new.has(">fresh<") && !new.has("</svg>fresh"), "{}", new.html);
    let quality = browser.get("/quality").await;
    assert!(quality.has("never updated") && !quality.has("</svg>fresh"), "{}", quality.html);
    let update = "update asset set last_event_at = now() where uri = 'lake://raw/orders'";
    sqlx::raw_sql(update).execute(&mut db).await.unwrap();
    let updated = browser.get("/monitoring").await;
    assert!(!updated.has("not updated yet") && updated.has("</svg>fresh"), "{}", updated.html);
    assert!(browser.get("/quality").await.has("</svg>fresh"));
}

/// Weeks are in UTC: Monday in UTC is still Sunday in New York.
#[tokio::test]
async fn a_week_has_the_name_of_its_monday_in_every_zone() {
    let web = Web::new().await;
    web.trigger("chain").await;
    let mut db = web.db().await;
    let ended = "update dag_run set state = 'success', started_at = now(), ended_at = now()";
    sqlx::raw_sql(ended).execute(&mut db).await.unwrap();
    let monday = "select to_char(date_trunc('week', now() at time zone 'UTC'), 'FMDD Mon')";
    let monday: String = sqlx::query_scalar(monday).fetch_one(&mut db).await.unwrap();
    let mut browser = Browser::logged_in(&web).await;
    for zone in ["UTC", "America/New_York", "Asia/Tokyo"] {
        browser.cookies.insert("zone".into(), zone.into());
        let page = browser.get("/monitoring").await;
        assert!(page.has(&format!(">Week of {monday}<")), "{zone}: {}", page.html);
    }
}

#[tokio::test]
async fn operators_see_the_session_of_an_old_transaction_and_how_to_end_it() {
    let web = Web::new().await;
    web.add_user("eve", "viewer").await;
    let mut db = web.db().await;
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut db).await.unwrap();
    sqlx::raw_sql("begin; select 1").execute(&mut db).await.unwrap();
    let end = format!("<code>select pg_terminate_backend({pid})</code>");
    let young = Browser::logged_in(&web).await.get("/monitoring").await;
    assert!(!young.has("pg_terminate_backend"), "{}", young.html);

    web.clock.advance(TimeDelta::minutes(6));
    let old = Browser::logged_in(&web).await.get("/monitoring").await;
    let session = format!("Process {pid}, user ");
    for text in ["has been open for 6 m ", &session, "application test, client ", "state idle in transaction.", &end] {
        assert!(old.has(text), "{text}: {}", old.html);
    }
    let mut viewer = Browser::new(&web);
    viewer.log_in("eve", PASSWORD, "/").await;
    let hidden = viewer.get("/monitoring").await;
    assert!(hidden.has("Service levels") && !hidden.has("pg_terminate_backend"), "{}", hidden.html);

    sqlx::raw_sql("rollback").execute(&mut db).await.unwrap();
    let ended = Browser::logged_in(&web).await.get("/monitoring").await;
    assert!(!ended.has(&end), "{}", ended.html);
}
