//! Lists on pages take what the API's lists take, and keep it from page to page.

use crate::browser::Browser;
use crate::fixture::Web;
use axum::http::StatusCode;

#[tokio::test]
async fn a_list_is_narrowed_and_sorted_by_what_its_api_takes() {
    let web = Web::new().await;
    for (name, slots) in [("few", 1), ("many", 9), ("some", 5)] {
        web.change(axum::http::Method::POST, "/api/v2/pools", &serde_json::json!({ "name": name, "slots": slots }))
            .await;
    }
    let mut browser = Browser::logged_in(&web).await;
    let sorted = browser.get("/pools?order_by=-slots&pool_name_pattern=m&slots=").await;
    let place = |name: &str| sorted.html.find(&format!("/pools/edit?name={name}"));
    assert!(place("many") < place("some") && place("few").is_none() && place("many").is_some(), "{}", sorted.html);
    assert!(sorted.has("More filters <span class=\"n\">2</span>"), "{}", sorted.html);
    assert!(sorted.has("<option value=\"-slots\" selected>slots, descending</option>"), "{}", sorted.html);
    assert!(browser.get("/pools?pool_name_pattern=none").await.has("None of them fits the filter."));
    for (path, words) in [
        ("/runs?run_type=manual&run_type=scheduled", r#"<input type="hidden" name="run_type" value="manual">"#),
        ("/runs?run_type=manual&run_type=scheduled", r#"<option value="scheduled" selected>"#),
        ("/runs?run_type=manual&page=2", r#"href="/runs?state=failed&#38;run_type=manual""#),
        ("/runs?order_by=state,-run_after", r#"<option value="state,-run_after" selected>"#),
        ("/runs?run_after_lte=2026-11-20", r#"value="2026-11-20T23:59:59.999999Z""#),
        ("/assets?state=stale&name_pattern=x", r#"<input type="hidden" name="state" value="stale">"#),
        ("/approvals?subject_search=x", "Nothing that fits the filter waits for you"),
        ("/backfills?dag_id=none", "No matching backfill"),
        ("/users?role=viewer", "None of them fits the filter."),
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
