//! The audit log and the processes, as users see them.

use crate::browser::Browser;
use crate::fixture::{PASSWORD, Web};
use axum::http::{Method, StatusCode};
use orch_store::process::{Role, register_process};

#[tokio::test]
async fn the_audit_log_is_filtered_by_who_what_dag_and_time() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    assert!(browser.get("/audit").await.has("log in"));
    let run = web.trigger("chain").await;
    let run = run.replace(':', "%3A").replace('+', "%2B");
    browser.submit("/dags", "/dags/paused/paused", &[("paused", "false")]).await;
    let all = browser.get("/audit").await;
    assert!(all.has("trigger dag run") && all.has("unpause dag"), "{}", all.html);
    assert!(all.has(&format!(r#"href="/dags/chain/runs/{run}""#)), "{}", all.html);
    for (query, trigger, unpause) in [
        ("who=admin", true, true),
        ("who=nobody", false, false),
        ("what=trigger", true, false),
        ("what=unpause%20dag", false, true),
        ("dag=chain", true, false),
        ("after=2026-01-01T00:00", true, true),
        ("before=2026-01-01T00:00", false, false),
        ("page=2", false, false),
    ] {
        let page = browser.get(&format!("/audit?{query}")).await;
        assert_eq!(page.status, StatusCode::OK, "{query}");
        let lines = page.html.split("<tbody>").nth(1).unwrap_or_default().to_string();
        assert_eq!((lines.contains("trigger dag run"), lines.contains("unpause dag")), (trigger, unpause), "{query}");
    }
    assert_eq!(browser.get("/audit?after=yesterday").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn entries_of_schedulers_are_not_from_the_command_line() {
    let web = Web::new().await;
    let entries = "insert into audit (actor, event) values ('scheduler', 'asset_stale'), ('root', 'create_user')";
    sqlx::raw_sql(entries).execute(&mut web.db().await).await.unwrap();
    let mut browser = Browser::logged_in(&web).await;
    for (event, from) in [("asset%20stale", "–"), ("create%20user", "command line")] {
        let page = browser.get(&format!("/audit?what={event}")).await;
        assert!(page.has(&format!(r#"<td class="only-wide mono">{from}</td>"#)), "{event}: {}", page.html);
    }
}

#[tokio::test]
async fn filters_are_in_the_zone_of_the_page_and_a_date_is_the_whole_day() {
    let web = Web::new().await;
    web.trigger("chain").await;
    let times = "alter table audit disable trigger audit_is_kept; update audit set at = '2026-11-20 23:30:00+00';
        alter table audit enable trigger audit_is_kept; update dag_run set run_after = '2026-11-20 23:30:00+00'";
    sqlx::raw_sql(times).execute(&mut web.db().await).await.unwrap();
    let mut browser = Browser::logged_in(&web).await;
    for (zone, day, before, shown) in [
        ("UTC", "2026-11-20", "2026-11-19", "2026-11-20 23:30:00"),
        ("Europe/Berlin", "2026-11-21", "2026-11-20", "2026-11-21 00:30:00"),
        ("America/New_York", "2026-11-20", "2026-11-19", "2026-11-20 18:30:00"),
    ] {
        browser.cookies.insert("zone".into(), zone.into());
        let page = browser.get(&format!("/audit?what=trigger&after={day}&before={day}")).await;
        assert!(page.has(shown) && page.has(&format!("Times are in the zone {zone}.")), "{zone}: {}", page.html);
        assert!(page.has(&format!(r#"name="after" value="{day}T00:00:00""#)), "{zone}: {}", page.html);
        let exact = shown.replace(' ', "T");
        assert!(browser.get(&format!("/audit?what=trigger&after={exact}&before={exact}")).await.has(shown), "{zone}");
        assert!(!browser.get(&format!("/audit?what=trigger&before={before}")).await.has(shown), "{zone}");
        for (query, found) in [
            (format!("run_after_gte={day}&run_after_lte={day}"), true),
            (format!("run_after_lte={before}"), false),
            (format!("run_after_gt={day}"), false),
            (format!("run_after_lt={day}"), false),
            ("run_after_gte=2026-11-20T23:30:00Z".into(), true),
        ] {
            let page = browser.get(&format!("/runs?{query}")).await;
            assert_eq!(page.has("/dags/chain/runs/"), found, "{zone} {query}: {}", page.html);
        }
        let page = browser.get("/runs?run_after_gte=2026-11-20T23:30:00Z").await;
        assert!(page.has(&format!(r#"value="{exact}""#)), "{zone}: {}", page.html);
    }
}

#[tokio::test]
async fn from_where_people_act_is_for_operators() {
    let web = Web::new().await;
    web.trigger("chain").await;
    for (name, role, sees) in [("a", "viewer", false), ("b", "user", false), ("c", "op", true), ("d", "admin", true)] {
        web.add_user(name, role).await;
        let mut browser = Browser::new(&web);
        browser.log_in(name, PASSWORD, "/").await;
        assert_eq!(browser.get("/audit").await.has("127.0.0.1"), sees, "{role}");
        let token = web.log_in(name, PASSWORD).await.unwrap();
        for path in ["/api/v2/eventLogs", "/api/v2/eventLogs/1"] {
            let answer = web.send(Method::GET, path, Some(&token), None).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.body.to_string().contains("127.0.0.1"), sees, "{role} {path}");
        }
    }
}

#[tokio::test]
async fn workers_are_shown_with_what_they_run() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let none = browser.get("/workers").await;
    assert!(
        none.has("No worker is running") && none.has("No scheduler is running") && none.has("orch worker"),
        "{}",
        none.html
    );
    assert!(!none.has("Time until a task began"), "{}", none.html);
    let mut db = web.db().await;
    let run = web.trigger("chain").await;
    let run = run.replace(':', "%3A").replace('+', "%2B");
    let id: uuid::Uuid = sqlx::query_scalar("select id from dag_run").fetch_one(&mut db).await.unwrap();
    web.claim(&mut db, id).await;
    register_process(&mut db, Role::Scheduler, "there", 8).await.unwrap();
    let page = browser.get("/workers").await;
    assert!(page.has("here · pid 7") && page.has("0 of 1") && page.has("there · pid 8"), "{}", page.html);
    assert!(page.has(&format!(r#"<a class="mono" href="/dags/chain/runs/{run}/tasks/t0">t0</a>"#)), "{}", page.html);
    assert!(page.has("Time until a task began") && page.has("95 % within"), "{}", page.html);
}
