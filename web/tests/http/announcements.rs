//! Announcements of operators: over the API, and on the home page until they expire.

use crate::browser::Browser;
use crate::fixture::Web;
use axum::http::Method;
use serde_json::json;

const PATH: &str = "/api/orch/v1/announcements";

#[tokio::test]
async fn the_home_page_shows_what_is_announced_until_it_is_over() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    for (name, message, until) in [
        ("maintenance", "The **warehouse** is closed. <script>", json!(null)),
        ("later", "Until the next century", json!("2100-01-01T00:00:00Z")),
        ("past", "This was long ago", json!("2020-01-01T00:00:00Z")),
    ] {
        let body = json!({ "name": name, "message": message, "until": until });
        assert_eq!(web.change(Method::POST, PATH, &body).await.status.as_u16(), 201);
    }
    let home = browser.get("/").await;
    assert!(home.has("The <strong>warehouse</strong> is closed."), "{}", home.html);
    assert!(home.has("Until the next century") && !home.has("This was long ago"), "{}", home.html);
    assert!(!home.has("closed. <script>"), "{}", home.html);
    let over = web.get(&format!("{PATH}?is_over=true")).await.body;
    assert_eq!((&over["total_entries"], &over["announcements"][0]["name"]), (&json!(1), &json!("past")));
    assert_eq!(web.change(Method::DELETE, &format!("{PATH}/maintenance"), &json!(null)).await.status.as_u16(), 204);
    assert!(!browser.get("/").await.has("warehouse"));
    let empty = json!({ "name": "empty", "message": " " });
    assert_eq!(web.change(Method::POST, PATH, &empty).await.status.as_u16(), 422);
    let deeds = web.deeds().await;
    assert_eq!(deeds, ["add_announcement", "add_announcement", "add_announcement", "delete_announcement"]);
}
