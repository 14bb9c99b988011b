//! Lists on pages accept the filters of the API's lists, and keep them across pages.

use crate::browser::Browser;
use crate::dashboards::declare;
use crate::fake_lake::FakeLake;
use crate::fixture::{Web, chain};
use crate::quality::look;
use crate::views::change_chain;
use axum::http::StatusCode;
use orch_store::registry::{NewBundle, register_bundle};
use orch_store::stream::{NewStream, register_streams};
use serde_json::json;

#[tokio::test]
async fn a_list_is_narrowed_and_sorted_by_what_its_api_takes() {
    let web = Web::new().await;
    for (name, slots) in [("few", 1), ("many", 9), ("some", 5)] {
        web.change(axum::http::Method::POST, "/api/v2/pools", &json!({ "name": name, "slots": slots })).await;
    }
    let mut browser = Browser::logged_in(&web).await;
    let sorted = browser.get("/pools?order_by=-slots&pool_name_pattern=m&slots=").await;
    let place = |name: &str| sorted.html.find(&format!("/pools/edit?name={name}"));
    assert!(place("many") < place("some") && place("few").is_none() && place("many").is_some(), "{}", sorted.html);
    assert!(sorted.has("More filters <span class=\"n\">1</span>"), "{}", sorted.html);
    assert!(sorted.has("<option value=\"-slots\" selected>slots, descending</option>"), "{}", sorted.html);
    assert!(browser.get("/pools?pool_name_pattern=none").await.has("Change or remove the filters."));
    for (path, words) in [
        ("/runs?run_type=manual&run_type=scheduled", r#"<input type="hidden" name="run_type" value="manual">"#),
        ("/runs?run_type=manual&run_type=scheduled", r#"<option value="scheduled" selected>"#),
        ("/runs?run_type=manual&page=2", r#"href="/runs?state=failed&#38;run_type=manual""#),
        ("/runs?order_by=state,-run_after", r#"<option value="state,-run_after" selected>"#),
        ("/runs?run_after_lte=2026-11-20", r#"value="2026-11-20""#),
        ("/assets?state=stale&name_pattern=x", r#"<input type="hidden" name="state" value="stale">"#),
        ("/approvals?subject_search=x", "Nothing that fits the filter waits for you"),
        ("/backfills?dag_id=none", "No matching backfill"),
        ("/users?role=viewer", "Change or remove the filters."),
        ("/audit?dag_id_pattern=none", "No entry of the audit log fits the filter."),
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.html);
        assert!(page.has(words), "{path}: {}", page.html);
    }
    for path in
        ["/runs?run_type=odd", "/runs?duration_gte=long", "/runs?run_after_gte=yesterday", "/pools?order_by=size"]
    {
        assert!(browser.get(path).await.status.is_client_error(), "{path}");
    }
}

const SALES: &str = "title: Sales
panels:
  - {title: Best state, type: figure, sql: select state}
";

fn stream(name: &str) -> NewStream {
    NewStream {
        name: name.into(),
        version: "1".into(),
        spec: json!({ "topic": name, "table": format!("shop.{name}"), "mode": "append" }),
    }
}

#[tokio::test]
async fn lists_in_memory_and_versions_are_narrowed_and_sorted_too() {
    let mut web = Web::new().await;
    web.restart(|config| config.lake = FakeLake::door("CO"));
    let mut db = web.db().await;
    web.trigger("chain").await;
    change_chain(&mut db).await;
    register_streams(&mut db, "shop", &[stream("clicks"), stream("orders")], false).await.unwrap();
    let stock = SALES.replace("Sales", "Stock");
    declare(&web, "test", &[("sales.dashboard.yaml", SALES), ("stock.dashboard.yaml", &stock)]).await;
    look(&web, [0, 0, 0]).await;
    let late = "insert into asset (uri, name, fresh_within_ms, fresh_until, stale_since)
        values ('lake://gold/sales', 'sales', 60000, now(), now())";
    sqlx::query(late).execute(&mut db).await.unwrap();
    let mut browser = Browser::logged_in(&web).await;
    // The filter matches the second of two rows.
    for (list, filter, column, [low, high]) in [
        ("/streams", "name_pattern=ORD", "name", ["/streams/clicks", "/streams/orders"]),
        ("/lake", "name=orders", "name", ["/lake/retail/broken", "/lake/retail/orders"]),
        ("/dashboards", "title_pattern=sto", "title", ["/dashboards/sales", "/dashboards/stock"]),
        ("/quality", "uri_pattern=ORDERS", "uri", ["lake://gold/sales", "lake://retail/orders"]),
        ("/dags/chain/versions", "version_number=2", "version_number", ["/code?version=1", "/code?version=2"]),
    ] {
        let narrowed = browser.get(&format!("{list}?{filter}")).await;
        assert_eq!(narrowed.status, StatusCode::OK, "{list}: {}", narrowed.html);
        assert!(narrowed.has(high) && !narrowed.has(low), "{list}: {}", narrowed.html);
        assert!(narrowed.has("ilters <span class=\"n\">1</span>"), "{list}: {}", narrowed.html);
        for (order, first, last) in [(column.to_string(), low, high), (format!("-{column}"), high, low)] {
            let sorted = browser.get(&format!("{list}?order_by={order}")).await;
            let (first, last) = (sorted.html.find(first), sorted.html.find(last));
            assert!(first.is_some() && first < last, "{list} by {order}: {}", sorted.html);
        }
        for wrong in ["nonsense=1", "order_by=nonsense"] {
            assert_eq!(browser.get(&format!("{list}?{wrong}")).await.status, StatusCode::BAD_REQUEST, "{list}?{wrong}");
        }
    }
    for (path, words) in [
        ("/streams?state=paused", "Change or remove the filters."),
        ("/streams?q=none", "None has “none” in its name."),
        ("/lake?q=none", "None has “none” in its name."),
        ("/lake?written_at_lte=2020-01-01", "Change or remove the filters."),
        ("/lake?order_by=-rows", "Tables of all namespaces"),
        ("/dashboards?q=none", "None has “none” in its title."),
        ("/variables?order_by=key", "No variable yet"),
        ("/quality?outcome=fail", "Change or remove the filters."),
        ("/dags/chain/versions?bundle_name=none", "Change or remove the filters."),
        ("/dags/chain/versions", "<caption class=\"vh\">Versions, the newest first</caption>"),
        ("/dags/chain/versions?order_by=id", "<caption class=\"vh\">Versions</caption>"),
        ("/runs", "<caption class=\"vh\">Runs, the newest first</caption>"),
        ("/runs?order_by=run_id", "<caption class=\"vh\">Runs</caption>"),
    ] {
        let page = browser.get(path).await;
        assert!(page.has(words), "{path}: {}", page.html);
    }
    let trouble = browser.get("/quality?in_trouble=true").await;
    assert!(trouble.has("lake://gold/sales") && !trouble.has("lake://retail/orders"), "{}", trouble.html);
}

#[tokio::test]
async fn pages_keep_what_was_asked_and_lead_back() {
    let mut web = Web::new().await;
    web.restart(|config| config.lake = FakeLake::door("CO"));
    let mut db = web.db().await;
    let streams: Vec<NewStream> = (0..101).map(|number| stream(&format!("log{number:03}"))).collect();
    register_streams(&mut db, "shop", &streams, false).await.unwrap();
    let files: Vec<String> = (0..101).map(|number| format!("log{number:03}.dashboard.yaml")).collect();
    let logs = SALES.replace("Sales", "Logs");
    let texts: Vec<(&str, &str)> = files.iter().map(|file| (file.as_str(), logs.as_str())).collect();
    declare(&web, "test", &texts).await;
    let assets = "insert into asset (uri, name, fresh_within_ms)
        select 'lake://gold/log' || n, 'log' || n, 60000 from generate_series(1, 201) n";
    sqlx::query(assets).execute(&mut db).await.unwrap();
    sqlx::query("update stream set failures = 1 where name = 'log100'").execute(&mut db).await.unwrap();
    let mut browser = Browser::logged_in(&web).await;
    for (list, asked) in [
        ("/streams", "q=log&name_pattern=LOG&order_by=name"),
        ("/dashboards", "q=log&title_pattern=LOG&order_by=name"),
        ("/quality", "uri_pattern=log&order_by=uri"),
    ] {
        let escaped = asked.replace('&', "&#38;");
        let first = browser.get(&format!("{list}?{asked}")).await;
        let next = format!("href=\"{list}?page=2&#38;{escaped}\" rel=\"next\"");
        assert!(first.has(&next) && !first.has("rel=\"prev\""), "{list}: {}", first.html);
        let second = browser.get(&format!("{list}?page=2&{asked}")).await;
        let back = format!("href=\"{list}?page=1&#38;{escaped}\" rel=\"prev\"");
        assert!(second.has(&back) && second.has("data-rows"), "{list}: {}", second.html);
    }
    for list in ["/streams", "/lake", "/dashboards", "/quality", "/dags/chain/versions"] {
        let behind = browser.get(&format!("{list}?page=9")).await;
        let back = format!("href=\"{list}?page=8\" rel=\"prev\"");
        assert!(behind.has("No more rows on this page.") && behind.has(&back), "{list}: {}", behind.html);
    }
    assert!(browser.get("/streams").await.has("<title>✕ Streams"), "the failed one is on the second page");
    assert!(browser.get("/streams?order_by=lag").await.has("More filters</summary>"), "an order is no filter");
    let first = browser.get("/quality").await;
    let said = "Among the first 200 assets by URI, everything is as it was promised.";
    assert!(first.has(said) && first.has("href=\"/quality?order_by=uri\""), "{}", first.html);
    let all = browser.get("/quality?order_by=uri").await;
    assert!(!all.has("Among the first") && all.has("Everything is as it was promised."), "{}", all.html);
}

#[tokio::test]
async fn any_versions_may_be_compared_whichever_are_listed() {
    let web = Web::new().await;
    let mut db = web.db().await;
    change_chain(&mut db).await;
    let shorter = NewBundle { name: "test".into(), dags: vec![chain("chain", 2)] };
    register_bundle(&mut db, &shorter, false).await.unwrap();
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get("/dags/chain/versions?version_number=3").await;
    for number in ["<option>1</option>", "<option selected>2</option>", "<option selected>3</option>"] {
        assert!(page.has(number), "{number}: {}", page.html);
    }
    assert!(!page.has("<option value=\"id\"") && page.has("<option value=\"version_number\""), "{}", page.html);
    let kept = browser.get("/dags/chain/versions?from=1&to=2&version_number=3").await;
    assert!(kept.has("href=\"/dags/chain/versions?from=1&#38;to=2\">Show all</a>"), "{}", kept.html);
    for wrong in [i32::MIN, 0, 4] {
        let refused = browser.get(&format!("/dags/chain/versions?to={wrong}")).await;
        assert!(refused.status.is_client_error(), "{wrong}: {}", refused.html);
    }
}
