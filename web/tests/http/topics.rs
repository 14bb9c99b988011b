//! Topics in the API and on pages: records are appended and read in order, and secrets in them are masked.

use crate::browser::Browser;
use crate::fixture::{JsonReply, Web};
use axum::http::Method;
use orch_store::stream::{NewStream, register_streams};
use orch_store::topic::drop_old_records;
use serde_json::{Value, json};
use sqlx::Connection as _;
use std::time::Duration;
use tokio::time::Instant;

const PATH: &str = "/api/orch/v1/topics";

async fn send(web: &Web, method: Method, path: &str, body: &Value, status: u16) -> Value {
    let answer = web.change(method.clone(), path, body).await;
    assert_eq!(answer.status.as_u16(), status, "{method} {path} {body}: {}", answer.body);
    answer.body
}

async fn create(web: &Web, body: Value) -> Value {
    send(web, Method::POST, PATH, &body, 201).await
}

async fn produce(web: &Web, topic: &str, records: Value) -> Value {
    send(web, Method::POST, &format!("{PATH}/{topic}/records"), &json!({ "records": records }), 201).await
}

async fn read(web: &Web, topic: &str, query: &str) -> JsonReply {
    web.get(&format!("{PATH}/{topic}/records?{query}")).await
}

fn values(page: &Value) -> Vec<String> {
    let records = page["records"].as_array().expect("a list of records");
    records.iter().map(|record| record["value"].as_str().unwrap_or("null").to_string()).collect()
}

#[tokio::test]
async fn a_topic_comes_changes_and_goes() {
    let web = Web::new().await;
    let made = create(&web, json!({ "name": "weather" })).await;
    assert_eq!((&made["partitions"], &made["retention_hours"], &made["records"]), (&json!(1), &json!(168), &json!(0)));
    assert_eq!((&made["description"], &made["last_record_at"]), (&Value::Null, &Value::Null));
    let path = format!("{PATH}/weather");
    let changed = send(&web, Method::PATCH, &path, &json!({ "partitions": 3, "description": "d" }), 200).await;
    assert_eq!((&changed["partitions"], &changed["description"]), (&json!(3), &json!("d")));
    let refused = send(&web, Method::PATCH, &path, &json!({ "partitions": 2 }), 400).await;
    assert_eq!(refused["detail"], "partitions: a topic cannot have fewer than before, as their records would be lost");
    send(&web, Method::PATCH, &path, &json!({ "retention_hours": 0 }), 400).await;
    produce(&web, "weather", json!([{ "value": "v", "partition": 2 }])).await;
    let partitions = web.get(&format!("{path}/partitions")).await.body;
    let partitions = partitions["partitions"].as_array().unwrap().iter();
    let ends: Vec<_> = partitions.map(|partition| (&partition["next_offset"], &partition["records"])).collect();
    assert_eq!(ends, [0, 0, 1].map(|many| json!(many)).iter().map(|many| (many, many)).collect::<Vec<_>>());
    let seen = web.get(&path).await.body;
    assert_eq!(seen["records"], 1);
    assert!(seen["last_record_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{seen}");
    send(&web, Method::DELETE, &path, &Value::Null, 204).await;
    assert_eq!(read(&web, "weather", "").await.status.as_u16(), 404);
    assert_eq!(web.deeds().await, ["add_topic", "change_topic", "produce_records", "delete_topic"]);
}

#[tokio::test]
async fn what_cannot_be_a_topic_or_a_record_is_refused_with_the_reason() {
    let web = Web::new().await;
    for (body, place) in [
        (json!({}), "name"),
        (json!({ "name": "a b" }), "name"),
        (json!({ "name": ".." }), "name"),
        (json!({ "name": "n".repeat(250) }), "name"),
        (json!({ "name": "a", "partitions": 0 }), "partitions"),
        (json!({ "name": "a", "partitions": 65 }), "partitions"),
        (json!({ "name": "a", "retention_hours": -2 }), "retention_hours"),
        (json!({ "name": "a", "records": 1 }), "records"),
    ] {
        let answer = send(&web, Method::POST, PATH, &body, 422).await;
        assert_eq!(answer["detail"][0]["loc"], json!(["body", place]), "{body}: {answer}");
    }
    create(&web, json!({ "name": "t", "partitions": 2 })).await;
    let path = format!("{PATH}/t/records");
    for (body, status, words) in [
        (json!({}), 422, "Field required"),
        (json!({ "records": [] }), 422, "at least 1 item"),
        (json!({ "records": [{}] }), 422, "tombstone, and needs a key"),
        (json!({ "records": [{ "value": "a", "value_base64": "YQ==" }] }), 422, "one of the two"),
        (json!({ "records": [{ "value_base64": "?" }] }), 422, "not base64"),
        (json!({ "records": [{ "value": "a", "headers": { "a": 1 } }] }), 422, "an object of texts"),
        (json!({ "records": [{ "value": "a", "odd": 1 }] }), 422, "Extra inputs"),
        (json!({ "records": [{ "value": "a", "partition": 7 }] }), 400, "numbered from 0: record 0 names partition 7"),
        (json!({ "records": [{ "value": "x".repeat(1_000_001) }] }), 422, "1000000 bytes at most"),
    ] {
        let answer = send(&web, Method::POST, &path, &body, status).await;
        assert!(answer.to_string().contains(words), "{words}: {answer}");
    }
    assert!(values(&read(&web, "t", "").await.body).is_empty(), "nothing was appended");
    send(&web, Method::POST, &format!("{PATH}/none/records"), &json!({ "records": [{ "value": 1 }] }), 404).await;
    for (query, status, words) in [
        ("partition=2", 404, "no partition 2"),
        ("offset=-1", 422, "greater than or equal to 0"),
        ("wait=-1", 422, "0 to 20 seconds"),
        ("wait=21", 422, "0 to 20 seconds"),
    ] {
        let answer = read(&web, "t", query).await;
        assert_eq!(answer.status.as_u16(), status, "{query}: {}", answer.body);
        assert!(answer.body.to_string().contains(words), "{}", answer.body);
    }
}

#[tokio::test]
async fn records_are_read_from_an_offset_a_moment_or_a_key() {
    let web = Web::new().await;
    create(&web, json!({ "name": "t" })).await;
    let sent =
        json!([{ "value": "a", "key": "k" }, { "value": { "n": 1 } }, { "key": "k" }, { "value_base64": "/w==" }]);
    let placed = produce(&web, "t", sent).await;
    assert_eq!(placed["placed"][3]["offset"], 3);
    let all = read(&web, "t", "offset=0").await.body;
    assert_eq!(values(&all), ["a", "{\"n\":1}", "null", "null"]);
    assert_eq!((&all["next_offset"], &all["end_offset"]), (&json!(4), &json!(4)));
    assert_eq!(all["records"][3]["value_base64"], "/w==");
    assert_eq!(values(&read(&web, "t", "limit=2").await.body).len(), 2, "the newest");
    let page = read(&web, "t", "offset=1&limit=2").await.body;
    assert_eq!((&page["records"][0]["offset"], &page["next_offset"]), (&json!(1), &json!(3)));
    let at = placed["placed"][0]["timestamp"].as_str().unwrap();
    assert_eq!(values(&read(&web, "t", &format!("at={at}")).await.body).len(), 4);
    assert!(values(&read(&web, "t", "at=2999-01-01T00:00:00Z").await.body).is_empty());
    let keyed = read(&web, "t", "key=k").await.body;
    assert_eq!(
        keyed["records"].as_array().unwrap().iter().map(|r| &r["offset"]).collect::<Vec<_>>(),
        [&json!(0), &json!(2)]
    );

    let mut db = web.db().await;
    sqlx::query("update topic_record set at = at - interval '8 days' where record_offset < 2")
        .execute(&mut db)
        .await
        .unwrap();
    drop_old_records(&mut db).await.unwrap();
    let gone = read(&web, "t", "offset=0").await;
    let words = "offset 0 of partition 0 is gone: the oldest record that is kept has offset 2";
    assert_eq!((gone.status.as_u16(), &gone.body["detail"]), (404, &json!(words)));
}

#[tokio::test]
async fn secrets_in_records_are_masked_and_viewers_see_no_records() {
    let web = Web::new().await;
    create(&web, json!({ "name": "t" })).await;
    let request = "GET http://shop:8080/cart user=ada@example.com";
    produce(&web, "t", json!([{ "value": { "user": "ada", "password": "hush" } }, { "value": request }])).await;
    let page = read(&web, "t", "").await.body;
    assert_eq!(values(&page), ["{\"password\":\"***\",\"user\":\"ada\"}", request]);
    for (name, role, reads, writes) in
        [("vera", "viewer", 403, 403), ("ulf", "user", 403, 201), ("otto", "op", 200, 201)]
    {
        web.add_user(name, role).await;
        let token = web.log_in(name, crate::fixture::PASSWORD).await.expect("it may log in");
        let path = format!("{PATH}/t/records");
        let read = web.send(Method::GET, &path, Some(&token), None).await;
        let body = json!({ "records": [{ "value": "v" }] }).to_string();
        let wrote = web.send(Method::POST, &path, Some(&token), Some(body)).await;
        assert_eq!((read.status.as_u16(), wrote.status.as_u16()), (reads, writes), "{role}");
    }
}

#[tokio::test]
async fn nobody_appends_to_a_topic_that_a_capture_writes() {
    let web = Web::new().await;
    create(&web, json!({ "name": "shop.items" })).await;
    create(&web, json!({ "name": "others" })).await;
    let spec = json!({ "captures": "postgres", "topic": "shop.items", "connection": "topics" });
    let declared = [NewStream { name: "shop".into(), version: "1".into(), spec }];
    register_streams(&mut web.db().await, "shop", &declared, false).await.unwrap();
    let body = json!({ "records": [{ "value": { "op": "t" } }] });
    let refused = send(&web, Method::POST, &format!("{PATH}/shop.items/records"), &body, 400).await;
    assert_eq!(refused["detail"], "topic `shop.items` is written by capture `shop`; hint: produce to another topic");
    let mut browser = Browser::logged_in(&web).await;
    let page = "/topics/shop.items/records";
    let refused = browser.submit(page, page, &[("value", "{}")]).await;
    assert!(refused.has("is written by capture `shop`"), "{}", refused.html);
    assert!(values(&read(&web, "shop.items", "").await.body).is_empty());
    produce(&web, "others", json!([{ "value": "v" }])).await;
    assert_eq!(web.deeds().await, ["add_topic", "add_topic", "produce_records"]);
}

#[tokio::test]
async fn a_reader_that_waits_is_answered_when_a_record_comes() {
    let web = Web::new().await;
    create(&web, json!({ "name": "t" })).await;
    let began = Instant::now();
    let (mut db, mut before) = (web.db().await, web.db().await);
    let mut closed = before.begin().await.unwrap();
    sqlx::query("lock table topic_record").execute(&mut *closed).await.unwrap();
    let (page, _) = tokio::join!(read(&web, "t", "offset=0&wait=20"), async {
        // Waits until the reader reads, which finds nothing.
        let looks = "select exists (select from pg_stat_activity where datname = current_database()
            and wait_event_type = 'Lock' and query like '-- Records of a partition%')";
        while !sqlx::query_scalar::<_, bool>(looks).fetch_one(&mut db).await.unwrap() {}
        closed.rollback().await.unwrap();
        produce(&web, "t", json!([{ "value": "came" }])).await
    });
    assert_eq!(values(&page.body), ["came"]);
    assert!(began.elapsed() < Duration::from_secs(15), "it did not wait to the end");
    let quiet = read(&web, "t", "offset=1&wait=0.1").await.body;
    assert_eq!((values(&quiet).len(), &quiet["next_offset"]), (0, &json!(1)));
}

#[tokio::test]
async fn a_topic_is_added_filled_and_looked_at_by_its_pages() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    assert!(browser.get("/topics").await.has("No topic yet"));
    let odd = browser.submit("/topics/edit", "/topics/edit", &[("name", "a b"), ("partitions", "1")]).await;
    assert!(odd.has("Name: String should match pattern"), "{}", odd.html);
    let fields = [("name", "weather"), ("partitions", "2"), ("retention_hours", "48"), ("description", "readings")];
    let made = browser.submit("/topics/edit", "/topics/edit", &fields).await;
    assert_eq!(made.location(), "/topics", "{}", made.html);
    let again = browser.submit("/topics/edit", "/topics/edit", &fields).await;
    assert!(again.has("already exists"), "{}", again.html);
    let list = browser.get("/topics").await;
    assert!(list.has("weather") && list.has("readings") && list.has("2 days"), "{}", list.html);
    let page = "/topics/weather/records";
    assert!(browser.get(page).await.has("No records here"));
    let bad = browser.submit(page, page, &[("key", ""), ("value", "{\"a\": ")]).await;
    assert!(bad.has("The value is not valid JSON: see line 1."), "{}", bad.html);
    let sent = [("key", "London"), ("value", "{\"city\": \"London\", \"token\": \"hush\"}")];
    let went = browser.submit(page, page, &sent).await;
    let shown = browser.get(went.location()).await;
    assert!(shown.has("London") && shown.has("***") && !shown.has("hush"), "{}", shown.html);
    let by_key = browser.get(&format!("{page}?key=London")).await;
    assert!(by_key.has("&#34;city&#34;") || by_key.has("&quot;city&quot;"), "{}", by_key.html);
    let edit = "/topics/edit?name=weather";
    let fewer = browser.submit(edit, edit, &[("partitions", "1"), ("retention_hours", "48")]).await;
    assert!(fewer.has("a topic cannot have fewer"), "{}", fewer.html);
    let delete = "/topics/delete?name=weather";
    assert_eq!(browser.submit(delete, "/topics/delete", &[("name", "weather")]).await.location(), "/topics");
    assert!(browser.get("/topics").await.has("No topic yet"));
}
