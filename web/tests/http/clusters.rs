//! Topics of a Kafka cluster on pages and in the API: access, allowed addresses and the audit log. Responses of a real
//! cluster are tested with the client (`streams`) and with the process that has it (`dags`).

use crate::browser::Browser;
use crate::fixture::{PASSWORD, Web};
use crate::log;
use axum::http::Method;
use chrono::DateTime;
use orch_sdk::task::{Connection, fatal};
use orch_store::cluster::{
    Bounds, ClusterDoor, ClusterPlace, ClusterQuestion, ClusterRecords, ClusterTopic, WhichRecords,
};
use orch_store::lake_view::LakeError;
use orch_store::stream::{NewStream, register_streams};
use orch_store::topic::RecordRow;
use serde_json::json;
use std::sync::{Arc, Mutex};

const API: &str = "/api/orch/v1/connections/events/topics";
const PAGE: &str = "/clusters/events";
const PARTITIONS: [Bounds; 2] =
    [Bounds { partition: 0, first: 10, next: 200 }, Bounds { partition: 1, first: 0, next: 1 }];

type QuestionLog = Arc<Mutex<Vec<ClusterQuestion>>>;

/// A cluster with the topic `weather`, and a log of its requests.
fn door() -> (ClusterDoor, QuestionLog) {
    let asked = QuestionLog::default();
    let heard = asked.clone();
    let find = |id: &str| {
        let uri = match id {
            "events" | "inside" => "kafka://127.0.0.1:9092",
            "outside" => "kafka://8.8.8.8:9092",
            "unknown" => "kafka://no-such-host.invalid:9092",
            _ => "postgres://db",
        };
        let found = if id == "nothing" { Err(fatal("there is no connection `nothing`")) } else { Ok(uri) };
        let found = found.and_then(|uri| Ok(Connection::from_uri(id, uri)?));
        Box::pin(std::future::ready(found)) as orch_sdk::task::BoxFuture<_>
    };
    let answer = move |_, question: ClusterQuestion| {
        heard.lock().unwrap().push(question.clone());
        let answer = match question {
            ClusterQuestion::Brokers => json!(["8.8.8.8:9092", "169.254.169.254:80"]),
            ClusterQuestion::Topics => {
                json!([ClusterTopic { name: "weather".into(), partitions: PARTITIONS.to_vec() }])
            }
            ClusterQuestion::Bounds(_) => json!(PARTITIONS),
            ClusterQuestion::Read(_, from) if from.partition == Some(7) => {
                return Box::pin(std::future::ready(Err(LakeError::NotFound(
                    "there is no partition 7: the topic has 2, from 0".into(),
                )))) as orch_sdk::task::BoxFuture<_>;
            }
            ClusterQuestion::Read(..) => json!(ClusterRecords {
                partitions: PARTITIONS.to_vec(),
                bounds: PARTITIONS[0],
                records: vec![record(120)],
                next: 121,
            }),
            ClusterQuestion::Produce(..) => {
                json!([ClusterPlace { partition: 1, offset: 1, at: DateTime::UNIX_EPOCH }])
            }
        };
        Box::pin(std::future::ready(Ok(answer)))
    };
    (ClusterDoor::new(Arc::new(find), Arc::new(answer)), asked)
}

fn record(offset: i64) -> RecordRow {
    RecordRow {
        offset,
        at: DateTime::UNIX_EPOCH,
        key: Some("<London>".into()),
        value: Some(r#"{"temp": 11, "token": "s3cret"}"#.into()),
        headers: Some(json!({ "from": "a station" })),
    }
}

async fn web() -> (Web, QuestionLog) {
    let mut web = Web::new().await;
    let (door, asked) = door();
    web.restart(|config| config.clusters = door);
    (web, asked)
}

#[tokio::test]
async fn the_topics_of_a_cluster_are_listed_read_and_appended_to() {
    let (web, asked) = web().await;
    let topics = web.get(API).await.body;
    assert_eq!(topics, json!({ "topics": [{ "name": "weather", "partitions": 2, "offsets": 191 }] }));
    let partitions = web.get(&format!("{API}/weather/partitions")).await.body;
    assert_eq!(partitions["partitions"][0]["first_offset"], 10);
    let records = web.get(&format!("{API}/weather/records?partition=0&at=2026-11-26T06:00:00Z")).await.body;
    assert_eq!((&records["next_offset"], &records["end_offset"]), (&json!(121), &json!(200)));
    assert_eq!(records["records"][0]["value"], r#"{"temp":11,"token":"***"}"#);
    let body = json!({ "records": [{ "key": "k", "value": { "temp": 1 } }] });
    let placed = web.change(Method::POST, &format!("{API}/weather/records"), &body).await;
    assert_eq!((placed.status.as_u16(), &placed.body["placed"][0]["partition"]), (201, &json!(1)));
    assert_eq!(web.deeds().await, ["produce_records"]);

    let asked = asked.lock().unwrap();
    let [_, _, ClusterQuestion::Read(_, from), ClusterQuestion::Produce(topic, sent)] = &asked[..] else {
        panic!("{asked:?}")
    };
    assert!(matches!(from.which, WhichRecords::At(_)) && from.partition == Some(0) && from.most == 50, "{from:?}");
    assert_eq!((topic.as_str(), sent[0].value.as_deref()), ("weather", Some(&br#"{"temp":1}"#[..])));
}

#[tokio::test]
async fn nobody_appends_to_a_topic_of_a_cluster_that_a_capture_writes() {
    let (web, asked) = web().await;
    let spec = json!({ "captures": "postgres", "topic": "weather", "connection": "events" });
    let declared = [NewStream { name: "shop".into(), version: "1".into(), spec }];
    register_streams(&mut web.db().await, "shop", &declared, false).await.unwrap();
    let body = json!({ "records": [{ "value": "forged" }] });
    let refused = web.change(Method::POST, &format!("{API}/weather/records"), &body).await;
    let words = "topic `weather` is written by capture `shop`; hint: produce to another topic";
    assert_eq!((refused.status.as_u16(), &refused.body["detail"]), (400, &json!(words)));
    assert!(asked.lock().unwrap().is_empty() && web.deeds().await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_the_reason() {
    let (web, asked) = web().await;
    for (path, status, words) in [
        ("nothing/topics", 404, "there is no connection `nothing`"),
        ("warehouse/topics", 404, "connection `warehouse` is of type `postgres`: topics are in one of type `kafka`"),
        ("events/topics/weather/records?partition=7", 404, "there is no partition 7: the topic has 2, from 0"),
    ] {
        let answer = web.get(&format!("/api/orch/v1/connections/{path}")).await;
        assert_eq!((answer.status.as_u16(), &answer.body["detail"]), (status, &json!(words)), "{path}");
    }
    // The address of a connection that a user added must not be next to the server.
    let inside = json!({ "connection_id": "inside", "conn_type": "kafka", "host": "127.0.0.1" });
    assert_eq!(web.change(Method::POST, "/api/v2/connections", &inside).await.status.as_u16(), 201);
    let refused = web.get("/api/orch/v1/connections/inside/topics").await;
    let words = refused.body["detail"].as_str().unwrap_or_default();
    assert!(refused.status.as_u16() == 503 && words.contains("its address is not public"), "{refused:?}");
    // A public cluster must not redirect its clients to such an address either.
    asked.lock().unwrap().clear();
    let outside = json!({ "connection_id": "outside", "conn_type": "kafka", "host": "8.8.8.8" });
    assert_eq!(web.change(Method::POST, "/api/v2/connections", &outside).await.status.as_u16(), 201);
    let refused = web.get("/api/orch/v1/connections/outside/topics").await;
    let words = refused.body["detail"].as_str().unwrap_or_default();
    assert!(refused.status.as_u16() == 503 && words.starts_with("169.254.169.254:80: its address is not"), "{words}");
    assert!(matches!(asked.lock().unwrap()[..], [ClusterQuestion::Brokers]), "no other question was sent");
    // Operators cannot distinguish the reasons.
    let unknown = json!({ "connection_id": "unknown", "conn_type": "kafka", "host": "no-such-host.invalid" });
    assert_eq!(web.change(Method::POST, "/api/v2/connections", &unknown).await.status.as_u16(), 201);
    web.add_user("ann", "op").await;
    let token = web.log_in("ann", PASSWORD).await.unwrap();
    let mut browser = Browser::new(&web);
    browser.log_in("ann", PASSWORD, "/").await;
    for id in ["inside", "outside", "unknown"] {
        let refused = web.send(Method::GET, &format!("/api/orch/v1/connections/{id}/topics"), Some(&token), None).await;
        let words = "a connection that this request uses failed\nhint: an administrator and the log of the server have the reason";
        assert_eq!((refused.status.as_u16(), &refused.body["detail"]), (503, &json!(words)), "{id}");
        let page = browser.get(&format!("/clusters/{id}")).await;
        assert!(page.status.as_u16() == 503 && page.has("connection that this request uses failed"), "{}", page.html);
        assert!(!page.has("not public") && !page.has("within 5 s"), "{}", page.html);
    }
    assert!(log::lines().contains("169.254.169.254:80: its address is not public"), "the log has the reason");
    // Without a bundle there is no client.
    let bare = Web::new().await;
    let words = bare.get(API).await.body["detail"].as_str().unwrap_or_default().to_owned();
    assert!(words.starts_with("this server cannot ask clusters"), "{words}");
}

#[tokio::test]
async fn only_those_who_may_read_data_see_a_cluster() {
    let (web, asked) = web().await;
    for role in ["viewer", "user"] {
        web.add_user(role, role).await;
        let token = web.log_in(role, PASSWORD).await.unwrap();
        for path in [API.to_owned(), format!("{API}/weather/records")] {
            let answer = web.send(Method::GET, &path, Some(&token), None).await;
            assert_eq!(answer.status.as_u16(), 403, "{role} {path}");
        }
        let mut browser = Browser::new(&web);
        browser.log_in(role, PASSWORD, "/").await;
        assert_eq!(browser.get(PAGE).await.status.as_u16(), 403, "{role}");
    }
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_pages_of_a_cluster_show_what_it_has() {
    let (web, asked) = web().await;
    let added = json!({ "connection_id": "added", "conn_type": "kafka", "host": "kafka.example.com" });
    assert_eq!(web.change(Method::POST, "/api/v2/connections", &added).await.status.as_u16(), 201);
    let mut browser = Browser::logged_in(&web).await;
    assert!(browser.get("/topics").await.links().contains(&"/clusters/added".to_owned()));
    let list = browser.get(PAGE).await;
    assert!(list.has("1 topic") && list.links().contains(&format!("{PAGE}/weather")), "{}", list.html);
    assert!(browser.get(&format!("{PAGE}?q=nothing")).await.has("No topic has “nothing” in its name."));

    let page = format!("{PAGE}/weather");
    let shown = browser.get(&format!("{page}?partition=0&offset=120")).await;
    for words in ["&#60;London&#62;", "from: a station", "***", "?partition=0&#38;offset=121", "?partition=1"] {
        assert!(shown.has(words), "{words}: {}", shown.html);
    }
    assert!(!shown.has("s3cret"), "{}", shown.html);
    let bad = browser.submit(&page, &page, &[("key", ""), ("value", "{\"a\": ")]).await;
    assert!(bad.status.as_u16() == 422 && bad.has("The value is not valid JSON: see line 1."), "{}", bad.html);
    let went = browser.submit(&page, &page, &[("key", "k"), ("value", "v")]).await;
    assert_eq!(went.location(), format!("{page}?partition=1"));
    browser.get(&format!("{page}?partition=1&key=k")).await;
    let asked = asked.lock().unwrap();
    let Some(ClusterQuestion::Read(_, by_key)) = asked.last() else { panic!("{asked:?}") };
    assert_eq!((&by_key.which, by_key.partition), (&WhichRecords::Key("k".into()), None), "the key says where it is");
}
