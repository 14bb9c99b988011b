//! Kafka topics in commands and on pages: a process of the bundle connects to the cluster, because `orch` has no Kafka
//! client.

use crate::standalone::{PASSWORD, Standalone};
use orch::Connection;
use orch_streams::topic::kafka::KafkaProducer;
use orch_test_support::browser::drive;
use orch_test_support::kafka;

#[tokio::test]
async fn topics_of_kafka_are_seen_and_appended_to() {
    let broker = kafka().await.address();
    let uri = format!("kafka://{broker}");
    let producer = KafkaProducer::open(&Connection::from_uri("events", &uri).unwrap()).unwrap();
    producer.create_topic("seen-by-people", 2).await.unwrap();
    let standalone = Standalone::start_with("test_networks = [\"127.0.0.1\"]\n");
    let added = standalone.run(&["connections", "add", "events", "--conn-uri", &uri]);
    assert_eq!(added.code, 0, "{added:?}");
    let events = |arguments: &[&str]| standalone.run(&[&["topics"], arguments, &["--connection", "events"]].concat());

    let appended = events(&["produce", "seen-by-people", "--key", "London", r#"{"temp": 11, "password": "hidden"}"#]);
    assert_eq!(appended.err, "1 record is appended to `seen-by-people`\n", "{appended:?}");
    let listed = events(&["list", "-o", "plain"]);
    let words = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>();
    assert!(listed.out.lines().any(|line| words(line) == ["seen-by-people", "2", "1"]), "{listed:?}");
    let shown = events(&["show", "seen-by-people", "-o", "plain"]);
    assert_eq!(shown.out.lines().count(), 3, "{shown:?}");
    for (by, is_found) in [
        (&["-n", "5"][..], true),
        (&["--key", "London"], true),
        (&["--key", "Paris"], false),
        (&["--from-time", "2026-01-01T00:00:00Z"], true),
        (&["--from-time", "2999-01-01T00:00:00Z"], false),
    ] {
        let tail = events(&[&["tail", "seen-by-people"], by].concat());
        assert_eq!((tail.code, tail.out.contains(r#"London {"password":"***","temp":11}"#)), (0, is_found), "{tail:?}");
    }
    let missing = events(&["tail", "not-there"]);
    assert!(missing.code == 2 && missing.err.contains("has no topic `not-there`"), "{missing:?}");

    let other = standalone.run(&["topics", "list", "--connection", "buckets"]);
    assert!(other.code == 2 && other.err.contains("topics are in one of type `kafka`"), "{other:?}");

    let list = |all: &[&str]| serde_json::to_string(all).unwrap();
    let settings = [
        ("ORCH_ROUTES", list(&["/", "/login", "/clusters/{connection_id}", "/clusters/{connection_id}/{topic_name}"])),
        ("ORCH_STARTS", list(&["/clusters/events"])),
        ("ORCH_WITHIN", list(&["/clusters"])),
    ];
    drive("walk.mjs", &[], (&standalone.url, PASSWORD), "screens-clusters", &settings);
}
