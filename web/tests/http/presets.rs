//! Presets: named params that are saved from the form or over the API, and used to trigger runs.

use crate::browser::Browser;
use crate::fixture::Web;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

const PRESETS: &str = "/api/orch/v1/dags/params/presets";

#[tokio::test]
async fn a_preset_is_kept_replaced_listed_and_deleted() {
    let web = Web::new().await;
    let path = format!("{PRESETS}/all%20of%20it");
    let kept = web.change(Method::PUT, &path, &json!({ "conf": { "table": "orders" } })).await;
    assert_eq!((kept.status, &kept.body["created_by"]), (StatusCode::OK, &json!("admin")), "{}", kept.body);
    let again = web.change(Method::PUT, &path, &json!({ "conf": { "table": "customers" } })).await;
    assert_eq!(again.body["conf"], json!({ "table": "customers" }));
    let listed = web.get(PRESETS).await.body;
    assert_eq!((&listed["total_entries"], &listed["presets"][0]["name"]), (&json!(1), &json!("all of it")));
    assert_eq!(web.change(Method::DELETE, &path, &Value::Null).await.status, StatusCode::NO_CONTENT);
    for gone in [web.get(&path).await, web.change(Method::DELETE, &path, &Value::Null).await] {
        assert_eq!(
            (gone.status, &gone.body["detail"]),
            (StatusCode::NOT_FOUND, &json!("dag `params` has no preset `all of it`"))
        );
    }
    let odd = web.change(Method::PUT, &format!("{PRESETS}/%20x"), &json!({ "conf": {} })).await;
    assert_eq!(odd.status, StatusCode::UNPROCESSABLE_ENTITY);
    let none = web.change(Method::PUT, "/api/orch/v1/dags/none/presets/x", &json!({ "conf": {} })).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    assert_eq!(web.deeds().await, ["keep_preset params", "keep_preset params", "delete_preset params"]);
}

#[tokio::test]
async fn presets_are_narrowed_sorted_and_counted() {
    let web = Web::new().await;
    for name in ["weekly", "nightly"] {
        let path = format!("{PRESETS}/{name}");
        let kept = web.change(Method::PUT, &path, &json!({ "conf": { "table": "orders" } })).await;
        assert_eq!(kept.status, StatusCode::OK, "{}", kept.body);
    }
    for (query, expected) in [
        ("", "nightly, weekly of 2"),
        ("?name_pattern=WEEK&created_by=admin", "weekly of 1"),
        ("?created_by=vera", " of 0"),
        ("?order_by=-name&limit=1", "weekly of 2"),
    ] {
        assert_eq!(web.page_of(&format!("{PRESETS}{query}"), "presets", "name").await, expected, "{query}");
    }
    assert_eq!(web.get(&format!("{PRESETS}?odd=1")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn the_form_keeps_what_was_typed_and_begins_with_it() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let place = "/dags/params/trigger";
    let fields = [("as", "json"), ("conf", r#"{"table": "orders"}"#), ("keep_as", "mine"), ("do", "keep")];
    let kept = browser.submit(place, place, &fields).await;
    assert_eq!(kept.location(), "/dags/params/trigger?preset=mine");
    let form = browser.get("/dags/params/trigger?preset=mine").await;
    assert!(form.has("orders") && form.has("Delete preset mine"), "{}", form.html);
    let nameless = browser.submit(place, place, &[("as", "json"), ("conf", "{}"), ("do", "keep")]).await;
    assert!(nameless.status == StatusCode::UNPROCESSABLE_ENTITY && nameless.has("the name of a preset is text"));
    assert_eq!(browser.submit(place, place, &[("forget", "mine")]).await.location(), place);
    assert_eq!(browser.get("/dags/params/trigger?preset=mine").await.status, StatusCode::NOT_FOUND);
}
