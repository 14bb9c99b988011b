//! Results of the command palette: what a search finds, in which order, and for whom.

use crate::browser::{Browser, Page};
use crate::fake_lake::FakeLake;
use crate::fixture::{PASSWORD, Web, chain, dag};
use axum::http::StatusCode;
use orch_document::dashboard::Dashboard;
use orch_store::dashboard::{NewDashboard, set_dashboards};
use orch_store::registry::{NewBundle, register_bundle};
use serde_json::json;

const SHOP: &str = "title: Orders of the shop
panels:
  - {title: Totals, type: figure, sql: select state}
";

/// Registers a DAG `retail` that produces a table, a DAG named nearly like one of its tasks, and many others.
async fn with_shop() -> Web {
    let mut web = Web::new().await;
    web.restart(|config| config.lake = FakeLake::door("x"));
    let mut dags = vec![
        dag(json!({ "dag_id": "retail", "tasks": [
            { "task_id": "reload_orders", "kind": "rust" },
            { "task_id": "load_orders", "kind": "rust", "outlets": [{ "uri": "lake://retail/orders", "name": "orders" }] },
            { "task_id": "load_customers", "kind": "rust" } ] })),
        chain("load_orders_by_hand", 1),
    ];
    dags.extend((0..20).map(|number| chain(&format!("many_{number:02}"), 1)));
    let mut db = web.db().await;
    register_bundle(&mut db, &NewBundle { name: "shop".into(), dags }, false).await.expect("they register");
    let shop = Dashboard::read("shop.dashboard.yaml", SHOP.as_bytes()).expect("it is right");
    let spec = serde_json::to_value(&shop).expect("it is data");
    let shop = NewDashboard { name: "shop".into(), file: "shop.dashboard.yaml".into(), spec };
    set_dashboards(&mut db, "shop", &[shop]).await.expect("it can be written");
    web
}

fn places(page: &Page) -> Vec<&str> {
    page.html.split(r#"data-href=""#).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[tokio::test]
async fn words_in_any_order_find_what_has_all_of_them_and_the_best_comes_first() {
    let web = with_shop().await;
    let mut browser = Browser::logged_in(&web).await;
    let [load, reload] = ["load_orders", "reload_orders"].map(|task| format!("/dags/retail/graph?task={task}"));
    let by_hand = "/dags/load_orders_by_hand";
    let asset = browser.get("/palette?q=orders+retail").await;
    let asset = places(&asset).into_iter().find(|place| place.starts_with("/assets/")).expect("the asset").to_owned();
    for (q, expected) in [
        ("load+orders", vec![by_hand, "/dags/load_orders_by_hand/trigger", load.as_str(), reload.as_str()]),
        ("LOAD_orders", vec![by_hand, "/dags/load_orders_by_hand/trigger", load.as_str(), reload.as_str()]),
        ("ORDERS+retail+load", vec![load.as_str(), reload.as_str()]),
        ("retail+orders", vec![reload.as_str(), load.as_str(), asset.as_str(), "/lake/retail/orders"]),
        ("shop+orders", vec!["/dashboards/shop"]),
        ("failing+dags", vec!["/dags?state=failing"]),
        ("old+chain", vec!["/dags/chain", "/dags/chain/trigger"]),
        ("orders+nothing", vec![]),
        ("%25", vec![]),
    ] {
        let found = browser.get(&format!("/palette?q={q}")).await;
        assert_eq!(places(&found), expected, "{q}");
        for place in expected {
            assert_eq!(browser.get(place).await.status, StatusCode::OK, "{place}");
        }
    }
    let found = browser.get("/palette?q=retail+orders").await;
    for kind in [r#"aria-label="Tasks""#, r#"aria-label="Assets""#, r#"aria-label="Tables""#, "task of retail"] {
        assert!(found.has(kind), "{kind}: {}", found.html);
    }
    // The name of a DAG finds the DAG, and not each of its tasks.
    let found = browser.get("/palette?q=retail").await;
    let place = places(&found)[0];
    assert!(place == "/dags/retail" && !found.has("graph?task="), "{}", found.html);
}

#[tokio::test]
async fn it_shows_few_of_many_and_to_each_what_they_may_do() {
    let web = with_shop().await;
    web.add_user("vera", "viewer").await;
    let mut browser = Browser::logged_in(&web).await;
    let found = browser.get("/palette?q=many").await;
    let triggers = places(&found).iter().filter(|place| place.ends_with("/trigger")).count();
    assert_eq!((places(&found).len(), triggers), (8 + 3, 3), "{}", found.html);
    let mut viewer = Browser::new(&web);
    viewer.log_in("vera", PASSWORD, "/").await;
    let found = viewer.get("/palette?q=load+orders").await;
    assert!(found.has("task of retail") && !found.has("/trigger"), "{}", found.html);
    assert!(viewer.get("/palette?q=shop").await.has("No matches"), "the dashboard is for others");
}
