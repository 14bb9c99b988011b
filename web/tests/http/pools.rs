//! Pools in the API and on pages: shapes, counters, rejected requests, and the audit log.

use crate::browser::Browser;
use crate::fixture::{PASSWORD, Web};
use crate::shapes::{POOL, assert_shape};
use axum::http::Method;
use serde_json::{Value, json};

const PATH: &str = "/api/v2/pools";

async fn send(web: &Web, method: Method, path: &str, body: &Value, status: u16) -> Value {
    let answer = web.change(method.clone(), path, body).await;
    assert_eq!(answer.status.as_u16(), status, "{method} {path} {body}: {}", answer.body);
    answer.body
}

#[tokio::test]
async fn a_pool_comes_changes_and_goes() {
    let web = Web::new().await;
    let made = send(&web, Method::POST, PATH, &json!({ "name": "db", "slots": 3 }), 201).await;
    assert_shape(&made, POOL);
    let expected = json!({ "name": "db", "slots": 3, "description": null, "include_deferred": false,
        "occupied_slots": 0, "running_slots": 0, "queued_slots": 0, "scheduled_slots": 0, "open_slots": 3,
        "deferred_slots": 0, "team_name": null });
    assert_eq!(made, expected);
    assert_eq!(web.get("/api/v2/pools/db").await.body, expected);
    let taken = send(&web, Method::POST, PATH, &json!({ "name": "db", "slots": 1 }), 409).await;
    assert_eq!(taken["detail"]["reason"], "Unique constraint violation");
    let path = "/api/v2/pools/db";
    let body = json!({ "slots": 5, "description": "d", "include_deferred": true });
    let masked = send(&web, Method::PATCH, &format!("{path}?update_mask=slots"), &body, 200).await;
    assert_eq!((&masked["slots"], &masked["description"]), (&json!(5), &json!(null)));
    let whole = send(&web, Method::PATCH, path, &body, 200).await;
    assert_eq!((&whole["description"], &whole["include_deferred"]), (&json!("d"), &json!(true)));
    send(&web, Method::PATCH, path, &json!({ "pool": "other" }), 422).await;
    send(&web, Method::PATCH, "/api/v2/pools/other", &json!({ "slots": 1 }), 404).await;
    send(&web, Method::DELETE, path, &Value::Null, 204).await;
    let gone = send(&web, Method::DELETE, path, &Value::Null, 404).await;
    assert_eq!(gone, json!({ "detail": "The Pool with name: `db` was not found" }));
    assert_eq!(web.deeds().await, ["add_pool", "change_pool", "change_pool", "delete_pool"]);
}

#[tokio::test]
async fn the_default_pool_stays_and_is_infinite_until_it_gets_a_size() {
    let web = Web::new().await;
    let path = "/api/v2/pools/default_pool";
    let pool = web.get(path).await.body;
    assert_eq!((&pool["slots"], &pool["open_slots"]), (&json!(-1), &json!(-1)));
    let refused = send(&web, Method::DELETE, path, &Value::Null, 400).await;
    assert_eq!(refused, json!({ "detail": "Default Pool can't be deleted" }));
    send(&web, Method::PATCH, path, &json!({ "description": "mine" }), 400).await;
    assert_eq!(send(&web, Method::PATCH, path, &json!({ "slots": 128 }), 200).await["open_slots"], 128);
}

#[tokio::test]
async fn what_is_wrong_with_a_pool_is_told_field_by_field() {
    let web = Web::new().await;
    for (body, place) in [
        (json!({ "slots": 1 }), "name"),
        (json!({ "name": "", "slots": 1 }), "name"),
        (json!({ "name": "a/b", "slots": 1 }), "name"),
        (json!({ "name": "n".repeat(257), "slots": 1 }), "name"),
        (json!({ "name": "a" }), "slots"),
        (json!({ "name": "a", "slots": -2 }), "slots"),
        (json!({ "name": "a", "slots": "many" }), "slots"),
        (json!({ "name": "a", "slots": 3_000_000_000_i64 }), "slots"),
        (json!({ "name": "a", "slots": 1, "odd": 1 }), "odd"),
    ] {
        let answer = send(&web, Method::POST, PATH, &body, 422).await;
        assert_eq!(answer["detail"][0]["loc"], json!(["body", place]), "{body}: {answer}");
    }
}

#[tokio::test]
async fn pools_are_listed_filtered_and_changed_many_at_once() {
    let web = Web::new().await;
    let actions = json!({ "actions": [
        { "action": "create", "entities": [{ "name": "b_one", "slots": 1 }, { "name": "a_two", "slots": 2 }] },
        { "action": "create", "entities": [{ "name": "a_two", "slots": 7 }], "action_on_existence": "overwrite" },
        { "action": "update", "entities": [{ "name": "none", "slots": 7 }] },
        { "action": "delete", "entities": ["none", "default_pool"], "action_on_non_existence": "skip" },
    ] });
    let answer = send(&web, Method::PATCH, PATH, &actions, 200).await;
    assert_eq!(answer["create"], json!({ "success": ["b_one", "a_two"], "errors": [] }));
    assert_eq!(answer["update"]["errors"][0]["status_code"], 404);
    assert_eq!(answer["delete"]["errors"][0]["error"], "Default Pool can't be deleted");
    let list = async |query: &str| {
        let body = web.get(&format!("{PATH}?{query}")).await.body;
        let names = body["pools"].as_array().unwrap_or_else(|| panic!("{body}")).iter().map(|one| one["name"].clone());
        (names.collect::<Vec<_>>(), body["total_entries"].clone())
    };
    assert_eq!(list("").await.0, ["a_two", "b_one", "default_pool"]);
    assert_eq!(list("order_by=-name&limit=2").await, (vec![json!("default_pool"), json!("b_one")], json!(3)));
    assert_eq!(list("pool_name_pattern=ONE").await.0, ["b_one"]);
    assert_eq!(list("pool_name_prefix_pattern=a|d&offset=1").await, (vec![json!("default_pool")], json!(2)));
    assert_eq!(web.get("/api/v2/pools/a_two").await.body["slots"], 7);
    assert_eq!(web.get(&format!("{PATH}?order_by=include_deferred")).await.status.as_u16(), 400);
}

#[tokio::test]
async fn a_pool_is_added_changed_and_deleted_by_its_form() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    assert!(browser.get("/pools").await.has("default_pool"));
    let went = |page: &crate::browser::Page| assert_eq!(page.location(), "/pools", "{}", page.html);
    let fields = [("name", "mysql"), ("slots", "3"), ("description", "the shop's database")];
    went(&browser.submit("/pools/edit", "/pools/edit", &fields).await);
    let list = browser.get("/pools").await;
    assert!(list.has("mysql") && list.has("the shop&#39;s database"), "{}", list.html);
    let again = browser.submit("/pools/edit", "/pools/edit", &fields).await;
    assert!(again.has("there is a pool"), "{}", again.html);
    let odd = browser.submit("/pools/edit", "/pools/edit", &[("name", "x"), ("slots", "many")]).await;
    assert!(odd.has("Slots: Input should be a valid integer."), "{}", odd.html);
    let edit = "/pools/edit?name=mysql";
    let changed = [("slots", "-1"), ("description", ""), ("include_deferred", "on")];
    went(&browser.submit(edit, edit, &changed).await);
    let pool = web.get("/api/v2/pools/mysql").await.body;
    assert_eq!((&pool["slots"], &pool["include_deferred"]), (&json!(-1), &json!(true)));
    let delete = "/pools/delete?name=mysql";
    went(&browser.submit(delete, "/pools/delete", &[("name", "mysql")]).await);
    assert_eq!(web.get("/api/v2/pools/mysql").await.status.as_u16(), 404);
    assert!(!browser.get("/pools/edit?name=default_pool").await.has("Delete…"));
}

#[tokio::test]
async fn the_page_of_pools_finds_them_by_name_and_is_turned_over() {
    let web = Web::new().await;
    let one = |number: i32| json!({ "name": format!("shop_{number}"), "slots": 2 });
    let entities: Vec<Value> = (100..=200).map(one).collect();
    let made = json!({ "actions": [{ "action": "create", "entities": entities }] });
    let made = send(&web, Method::PATCH, PATH, &made, 200).await;
    assert_eq!(made["create"]["errors"], json!([]));
    let mut browser = Browser::logged_in(&web).await;
    let first = browser.get("/pools").await;
    assert!(first.has("default_pool") && first.has("∞") && first.has("Next page"), "{}", first.html);
    assert!(first.has("shop_198") && !first.has("shop_199"), "{}", first.html);
    assert!(!first.links().contains(&"/pools/delete?name=default_pool".to_owned()), "{}", first.html);
    let second = browser.get("/pools?q=&page=2").await;
    assert!(second.has("shop_200") && second.has("Previous page") && !second.has("shop_198"), "{}", second.html);
    let found = browser.get("/pools?q=SHOP_17").await;
    assert!(found.has("shop_170") && found.has("shop_179") && !found.has("shop_180"), "{}", found.html);
    assert!(found.links().contains(&"/pools/delete?name=shop_170".to_owned()), "{}", found.html);
    assert!(browser.get("/pools?q=none_such").await.has("No matching pool"));
    web.add_user("vera", "viewer").await;
    let mut viewer = Browser::new(&web);
    viewer.log_in("vera", PASSWORD, "/").await;
    let seen = viewer.get("/pools").await;
    assert!(seen.has("shop_100") && !seen.has("/pools/edit") && !seen.has("/pools/delete"), "{}", seen.html);
}
