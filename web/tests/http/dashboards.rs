//! Dashboards on pages, as files and in the API: what they draw and for whom, the effect of URL parameters, and results
//! that are cached until a table changes.

use crate::browser::{Browser, Page};
use crate::fake_lake::FakeLake;
use crate::fixture::{PASSWORD, Web};
use crate::live::{next_of, open};
use crate::markup::problems;
use crate::pages::EVIL;
use orch_document::dashboard::Dashboard;
use orch_store::dashboard::{NewDashboard, set_dashboards};
use orch_store::lake_view::SqlValue;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const API: &str = "/api/orch/v1/dashboards";
const PAGE: &str = "/dashboards/shop";
const SHOP: &str = "title: The <shop>
dags: retail_medallion
filters:
  - {name: day, type: date, default: 2026-11-20}
  - {name: top, type: integer, minimum: 1, maximum: 9, default: 3}
  - {name: city, type: text, title: City}
panels:
  - {title: Best state, type: figure, sql: select state}
  - {title: Totals, type: lines, sql: 'select state, total where city = $city', wide: true}
  - {title: States, type: bars, sql: select ranks, unit: $}
  - {title: Rows, type: table, sql: select rows}
  - {title: Later, type: table, sql: missing table}
  - {title: Odd, type: table, sql: broken text}
  - {title: Refused, type: table, sql: wrong select}
  - {title: Clock, type: table, sql: now table}
";

pub(crate) async fn declare(web: &Web, bundle: &str, texts: &[(&str, &str)]) {
    let read = |(file, text): &(&str, &str)| {
        let dashboard = Dashboard::read(file, text.as_bytes()).unwrap_or_else(|problems| panic!("{problems:?}"));
        let spec = serde_json::to_value(&dashboard).expect("it is data");
        NewDashboard { name: dashboard.name, file: (*file).into(), spec }
    };
    let all: Vec<NewDashboard> = texts.iter().map(read).collect();
    assert_eq!(set_dashboards(&mut web.db().await, bundle, &all).await.expect("it can be written"), []);
}

async fn with_shop(words: &'static str) -> (Web, Arc<FakeLake>) {
    let mut web = Web::new().await;
    let (lake, door) = FakeLake::shared(words);
    web.restart(|config| config.lake = door);
    declare(&web, "test", &[("shop.dashboard.yaml", SHOP)]).await;
    (web, lake)
}

fn wants(page: &Page, parts: &[&str]) {
    for part in parts {
        assert!(page.has(part), "`{part}` is missing: {}", page.html);
    }
}

fn asked(lake: &FakeLake) -> usize {
    lake.asked.lock().expect("no test panicked").len()
}

#[tokio::test]
async fn a_page_draws_every_panel_and_says_in_its_place_why_one_is_not_there() {
    let (web, _) = with_shop(EVIL).await;
    let mut browser = Browser::logged_in(&web).await;
    let list = browser.get("/dashboards").await;
    wants(&list, &["The &#60;shop&#62;", PAGE, "8 panels", "shop.dashboard.yaml of test"]);
    let page = browser.get(PAGE).await;
    assert_eq!(page.status, 200, "{}", page.html);
    wants(
        &page,
        &[
            "<p class=\"figure\">CA",
            "<svg class=\"chart\"",
            "The numbers",
            "$12.5",
            "12.50",
            "`gold.none` is not in the lake yet. Trigger <a class=\"link\" href=\"/dags/retail_medallion/trigger\">",
            "it is no SQL",
            "write `select`",
            "is refused",
            "`now` gives another answer",
            "value=\"2026-11-20\"",
            "/dashboards/shop/states/export?day=2026-11-20&#38;top=3",
            "data-changes=\"/dashboards/shop/events?mark=",
        ],
    );
    assert!(!page.has(EVIL) && !page.has("The <shop>"), "{}", page.html);
    assert_eq!(problems(&page.html), Vec::<String>::new());
    assert_eq!(browser.get("/dashboards/gone").await.status, 404);
}

#[tokio::test]
async fn an_answer_is_computed_once_until_a_table_has_a_new_snapshot() {
    let (web, lake) = with_shop("CO").await;
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get(PAGE).await;
    // The lake is queried once for each panel whose query it can run.
    assert_eq!(asked(&lake), 5);
    for _ in 0..3 {
        browser.get(PAGE).await;
    }
    assert_eq!(asked(&lake), 5, "also what is refused stays so");
    let stream = page.html.split("data-changes=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("it is live");
    let mut stream = open(&web, &browser, stream, "").await;
    lake.commits.fetch_add(1, Ordering::SeqCst);
    next_of(&mut stream, "changed").await;
    browser.get(PAGE).await;
    assert_eq!(asked(&lake), 10);
    // A changed declaration changes the page.
    declare(&web, "test", &[("shop.dashboard.yaml", &SHOP.replace("Best state", "Best of all"))]).await;
    next_of(&mut stream, "changed").await;
    wants(&browser.get(PAGE).await, &["Best of all"]);
    assert_eq!(asked(&lake), 10);
}

#[tokio::test]
async fn a_value_of_the_address_is_never_sql() {
    let (web, lake) = with_shop("CO").await;
    let mut browser = Browser::logged_in(&web).await;
    let evil = "' or 1 = 1; drop table x --";
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("city", evil).finish();
    assert_eq!(browser.get(&format!("{PAGE}?{query}")).await.status, 200);
    {
        let all = lake.asked.lock().expect("no test panicked");
        let query = all.iter().find(|query| query.sql.contains("$city")).expect("it was asked");
        assert_eq!(query.sql, "select state, total where city = $city");
        assert_eq!(query.values["city"], SqlValue::Text(evil.into()));
        assert!(matches!(query.values["day"], SqlValue::Date(_)) && query.values["top"] == SqlValue::Integer(3));
    }
    let before = asked(&lake);
    for (query, words) in [
        ("day=2026-11-31", "`2026-11-31` is not a date"),
        ("day=1%20or%201%3D1", "is not a date"),
        ("top=10", "10 is more than 9"),
        ("top=1e3", "is not a whole number"),
    ] {
        let page = browser.get(&format!("{PAGE}?{query}")).await;
        assert_eq!(page.status, 422, "{query}");
        wants(&page, &[words, "Mend the filter", "aria-invalid"]);
        assert_eq!(problems(&page.html), Vec::<String>::new(), "{query}");
    }
    assert_eq!(asked(&lake), before, "nothing was asked");
    let refused = web.get(&format!("{API}/shop?filter=top:10")).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert_eq!(web.get(&format!("{API}/shop?filter=other:1")).await.status, 422);
    assert_eq!(web.get(&format!("{API}/shop?filter=")).await.status, 200);
}

#[tokio::test]
async fn a_panel_that_takes_long_holds_up_no_other() {
    let (web, _) = with_shop("CO").await;
    let slow = SHOP.replace("select rows", "wait rows");
    declare(&web, "test", &[("shop.dashboard.yaml", &slow)]).await;
    let mut browser = Browser::logged_in(&web).await;
    let page = browser.get(PAGE).await;
    wants(&page, &["The lake is asked", "http-equiv=\"refresh\"", "<svg class=\"chart\"", "$12.5"]);
    assert_eq!(problems(&page.html), Vec::<String>::new());
}

#[tokio::test]
async fn a_dashboard_is_for_those_with_its_role() {
    let (web, _) = with_shop("CO").await;
    let open = SHOP.replace("title: The", "role: viewer\ntitle: Open");
    declare(&web, "other", &[("open.dashboard.yaml", &open)]).await;
    web.add_user("vera", "viewer").await;
    let mut vera = Browser::new(&web);
    vera.log_in("vera", PASSWORD, "/").await;
    let list = vera.get("/dashboards").await;
    wants(&list, &["/dashboards/open", "for operators"]);
    assert!(!list.has(PAGE));
    assert_eq!(vera.get("/dashboards/open").await.status, 200);
    for path in [PAGE, "/dashboards/shop/rows/export", "/dashboards/shop/events"] {
        assert_eq!(vera.get(path).await.status, 403, "{path}");
    }
    // Two bundles cannot have dashboards with the same name.
    let spec = json!({ "name": "shop", "title": "Mine", "panels": [] });
    let mine = [NewDashboard { name: "shop".into(), file: "mine.dashboard.yaml".into(), spec }];
    let taken = set_dashboards(&mut web.db().await, "other", &mine).await.expect("it can be asked");
    assert_eq!(taken, [("shop".to_owned(), "test".to_owned())]);
    assert_eq!(vera.get("/dashboards/open").await.status, 404, "the bundle has it no longer");
}

#[tokio::test]
async fn the_list_is_narrowed_sorted_and_counted() {
    let web = Web::new().await;
    let open = SHOP.replace("title: The", "role: viewer\ntitle: Open");
    declare(&web, "test", &[("shop.dashboard.yaml", SHOP), ("open.dashboard.yaml", &open)]).await;
    for (query, expected) in [
        ("", "open, shop of 2"),
        ("?role=viewer&bundle=test", "open of 1"),
        ("?title_pattern=THE", "shop of 1"),
        ("?order_by=-name&limit=1", "shop of 2"),
    ] {
        assert_eq!(web.page_of(&format!("{API}{query}"), "dashboards", "name").await, expected, "{query}");
    }
    assert_eq!(web.get(&format!("{API}?odd=1")).await.status, 422);
}

#[tokio::test]
async fn rows_are_files_and_json_too() {
    let (web, _) = with_shop("=CO").await;
    let mut browser = Browser::logged_in(&web).await;
    let file = browser.get("/dashboards/shop/rows/export?top=4").await;
    assert_eq!(file.html, "state,total\r\nCA,12.50\r\n'=CO,7.25\r\n,1\r\n");
    assert_eq!(file.headers["content-disposition"], "attachment; filename=\"shop-rows.csv\"");
    for (path, status) in
        [("rows/export?top=99", 400), ("later/export", 404), ("odd/export", 400), ("none/export", 404)]
    {
        assert_eq!(browser.get(&format!("{PAGE}/{path}")).await.status, status, "{path}");
    }
    let list = web.get(API).await.body;
    assert_eq!((&list["total_entries"], &list["dashboards"][0]["name"]), (&json!(1), &json!("shop")));
    let rows = web.get(&format!("{API}/shop?filter=day:2026-11-19")).await.body;
    assert_eq!(rows["filters"], json!({ "day": "2026-11-19", "top": "3", "city": "" }));
    let panel = |id: &str| rows["panels"].as_array().and_then(|all| all.iter().find(|one| one["id"] == id)).cloned();
    assert_eq!(panel("rows").expect("it is there")["rows"][0], json!(["CA", "12.50"]));
    assert_eq!(panel("later").expect("it is there")["problem"], "not in the lake yet: gold.none");
    assert_eq!(web.get(&format!("{API}/none")).await.status, 404);
}

#[tokio::test]
async fn without_a_lake_or_a_dashboard_the_pages_say_what_to_do() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let empty = browser.get("/dashboards").await;
    wants(&empty, &["No dashboards yet", ".dashboard.yaml"]);
    declare(&web, "test", &[("shop.dashboard.yaml", SHOP)]).await;
    let page = browser.get(PAGE).await;
    assert_eq!(page.status, 200);
    wants(&page, &["this server has no tables", "ORCH_BUNDLE"]);
    assert_eq!(problems(&page.html), Vec::<String>::new());
    assert_eq!(web.get(&format!("{API}/shop")).await.status, 404);
}
