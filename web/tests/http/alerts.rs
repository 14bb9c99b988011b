//! Alerts in the API and on their page: which are shown, which requests are rejected, and which alerts are sent again.

use crate::browser::Browser;
use crate::fixture::{PASSWORD, Web};
use crate::pages::EVIL;
use axum::http::{Method, StatusCode};
use orch_store::alert::{alert_not_sent, alert_sent, claim_alerts};
use serde_json::{Value, json};

const PATH: &str = "/api/orch/v1/alerts";

async fn send(web: &Web, path: &str, body: &Value, status: u16) -> Value {
    let answer = web.change(Method::POST, path, body).await;
    assert_eq!(answer.status.as_u16(), status, "{path} {body}: {}", answer.body);
    answer.body
}

#[tokio::test]
async fn an_alert_is_tried_listed_and_sent_again() {
    let mut web = Web::new().await;
    assert_eq!(web.get(PATH).await.body, json!({ "alerts": [], "total_entries": 0 }));
    let test = json!({ "connection_id": "chat", "message": "{kind}", "to": ["ops@example.org"] });
    let refused = send(&web, &format!("{PATH}/test"), &test, 403).await;
    assert!(refused["detail"].as_str().unwrap().starts_with("testing alerts is switched off"), "{refused}");
    assert_eq!(web.get(PATH).await.body["total_entries"], 0);
    web.restart(|config| config.test_connection = true);
    let made = send(&web, &format!("{PATH}/test"), &test, 201).await;
    let id = made["alert_id"].as_i64().unwrap();
    let one = format!("{PATH}/{id}");
    assert_eq!(
        (&made["kind"], &made["connection"], &made["state"]),
        (&json!("test"), &json!("chat"), &json!("waiting"))
    );
    assert_eq!(web.get(&one).await.body, made);
    let mut db = web.db().await;
    let claimed = claim_alerts(&mut db, 10).await.unwrap().remove(0);
    alert_not_sent(&mut db, &claimed, "no answer").await.unwrap();
    let row = web.get(&format!("{PATH}?state=waiting&kind=test")).await.body["alerts"][0].clone();
    assert_eq!((&row["tries"], &row["problem"]), (&json!(1), &json!("no answer")));
    assert_eq!(web.get(&format!("{PATH}?dag_id=other")).await.body["total_entries"], 0);
    assert_eq!(web.get(&format!("{PATH}?state=lost")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(send(&web, &format!("{one}/retry"), &Value::Null, 200).await["tries"], 0);
    let claimed = claim_alerts(&mut db, 10).await.unwrap().remove(0);
    alert_sent(&mut db, &claimed).await.unwrap();
    let refused = send(&web, &format!("{one}/retry"), &Value::Null, 409).await;
    assert_eq!(refused["detail"], format!("alert {id} was sent already"));
    send(&web, &format!("{PATH}/0/retry"), &Value::Null, 404).await;
    assert_eq!(web.get(&format!("{PATH}/0")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(web.deeds().await, ["test_alert", "retry_alert"]);
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_field_by_field() {
    let web = Web::new().await;
    for (body, place) in [
        (json!({}), "connection_id"),
        (json!({ "connection_id": "no such name" }), "connection_id"),
        (json!({ "connection_id": "chat", "message": "{password}" }), "message"),
        (json!({ "connection_id": "chat", "to": "ops" }), "to"),
    ] {
        let refused = send(&web, &format!("{PATH}/test"), &body, 422).await;
        assert_eq!(refused["detail"][0]["loc"], json!(["body", place]), "{body}: {refused}");
    }
    assert_eq!(web.get(PATH).await.body["total_entries"], 0);
}

#[tokio::test]
async fn the_page_shows_who_could_not_be_told_and_sends_again() {
    let mut web = Web::new().await;
    web.restart(|config| config.test_connection = true);
    let mut browser = Browser::logged_in(&web).await;
    assert!(browser.get("/alerts").await.has("No alerts yet"));
    send(&web, &format!("{PATH}/test"), &json!({ "connection_id": "chat" }), 201).await;
    let mut db = web.db().await;
    let claimed = claim_alerts(&mut db, 10).await.unwrap().remove(0);
    alert_not_sent(&mut db, &claimed, EVIL).await.unwrap();
    let page = browser.get("/alerts?state=waiting").await;
    assert!(page.has("orch can reach you") && page.has("tried 1 time") && page.has("Send again"));
    assert!(!page.has("<svg onload"), "what a receiver says stays text");
    web.add_user("ann", "op").await;
    let token = web.log_in("ann", PASSWORD).await.unwrap();
    let seen = web.send(Method::GET, &format!("{PATH}/{}", claimed.id), Some(&token), None).await.body;
    let words = "the connection `chat` failed; an administrator and the log of the scheduler have the reason";
    assert_eq!(seen["problem"], words, "only admins get the reason");
    let mut operator = Browser::new(&web);
    operator.log_in("ann", PASSWORD, "/").await;
    let page = operator.get("/alerts").await;
    assert!(page.has("have the reason") && !page.has("svg onload"), "{}", page.html);
    assert!(browser.get("/alerts?state=sent").await.has("No alert fits the filter"));
    let id = claimed.id.to_string();
    assert_eq!(browser.submit("/alerts", "/alerts/retry", &[("id", &id)]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(claim_alerts(&mut db, 10).await.unwrap().len(), 1);
}
