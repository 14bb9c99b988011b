//! Error messages of topics that cannot be read, and which of the errors are fatal.

use super::world::{MANY, PATIENCE, World, connection, encrypted, failed_read, positions, read, record, seek};
use orch_sdk::task::{Connection, TaskError};
use orch_streams::Records;
use orch_streams::topic::TopicReader;
use orch_streams::topic::kafka::{KafkaProducer, KafkaTopic};
use orch_test_support::Kafka;
use serde_json::json;
use tokio::time::Instant;

/// Checks that the error is fatal and its message contains all parts.
fn assert_fatal(error: &TaskError, parts: &[&str]) {
    assert!(matches!(error, TaskError::Fatal { .. }), "{error:?}");
    let text = error.to_string();
    parts.iter().for_each(|part| assert!(text.contains(part), "`{part}` is missing: {text}"));
}

fn refused<T>(result: orch_sdk::task::TaskResult<T>) -> TaskError {
    TaskError::from(result.err().expect("it is refused"))
}

#[tokio::test]
async fn an_offset_that_was_dropped_is_fatal_and_named() {
    let world = World::new(2).await;
    world.produce(1, ["a", "b", "c", "d"]).await;
    world.delete_records(1, 3).await;
    let mut reader = world.reader(&[(0, 0), (1, 1)]).await;
    let error = failed_read(&mut reader).await;
    let parts = [
        &world.topic,
        "no longer has offset 1 of partition 1",
        "3 is the first",
        "2 records",
        "hint: ",
        "orch streams reset",
    ];
    assert_fatal(&error, &parts);
    assert_fatal(&failed_read(&mut reader).await, &parts);
    assert_eq!(positions(&reader), [(0, 0), (1, 1)]);
    // A seek to existing offsets resolves the error.
    seek(&mut reader, &[(0, 0), (1, 3)]).await;
    assert_eq!(read(&mut reader, 1).await, [(1, 3, "d".into())]);
}

#[tokio::test]
async fn an_offset_that_is_not_there_yet_is_fatal_and_named() {
    let world = World::new(1).await;
    world.produce(0, ["a"]).await;
    let error = failed_read(&mut world.reader(&[(0, 7)]).await).await;
    assert_fatal(&error, &[&world.topic, "has no offset 7 of partition 0 yet", "the next one is 1", "hint: "]);
}

#[tokio::test]
async fn a_topic_that_is_missing_is_looked_for_again_and_is_not_created() {
    let world = World::new(1).await;
    let mut reader = KafkaTopic::open(&connection(world.broker), "nowhere").unwrap();
    let (bounds, identity) = (refused(reader.bounds().await), refused(reader.identity().await));
    seek(&mut reader, &[(0, 0)]).await;
    for error in [bounds, identity, failed_read(&mut reader).await] {
        assert!(!matches!(error, TaskError::Fatal { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("has no topic `nowhere`") && text.contains(&world.broker.address()), "{text}");
    }
    assert!(world.producer.create_topic("nowhere", 1).await.unwrap(), "asking for it does not create it");
}

#[tokio::test]
async fn a_broker_that_is_gone_is_tried_again() {
    let mut broker = Kafka::start().await;
    let producer = KafkaProducer::open(&connection(&broker)).unwrap();
    producer.create_topic("events", 1).await.unwrap();
    producer.produce("events", &[record(0, "a")]).await.unwrap();
    let mut reader = KafkaTopic::open(&connection(&broker), "events").unwrap();
    let identity = reader.identity().await.unwrap();
    seek(&mut reader, &[(0, 0)]).await;
    assert_eq!(read(&mut reader, 1).await, [(0, 0, "a".into())]);

    broker.kill();
    let mut other = KafkaTopic::open(&connection(&broker), "events").unwrap();
    let (read, bounds) = futures::join!(failed_read(&mut reader), other.bounds());
    for error in [read, refused(bounds)] {
        assert!(matches!(error, TaskError::Retryable { .. }), "{error:?}");
        assert!(error.to_string().contains(&broker.address()), "{error}");
    }

    broker.start_again().await;
    producer.produce("events", &[record(0, "b")]).await.unwrap();
    let until = Instant::now() + PATIENCE;
    let mut records = Records::default();
    while records.is_empty() {
        assert!(Instant::now() < until, "the record does not come");
        if reader.read(&mut records, MANY, until).await.is_err() {
            seek(&mut reader, &[(0, 1)]).await;
        }
    }
    assert_eq!(super::world::told(&records), [(0, 1, "b".into())]);
    assert_eq!(reader.identity().await.unwrap(), identity);
}

#[tokio::test]
async fn a_login_opens_the_encrypted_side_and_another_password_does_not() {
    let world = World::new(1).await;
    world.produce(0, ["a"]).await;
    let mut reader = KafkaTopic::open(&encrypted(world.broker, Kafka::ACCOUNT.1), &world.topic).unwrap();
    seek(&mut reader, &[(0, 0)]).await;
    assert_eq!(read(&mut reader, 1).await, [(0, 0, "a".into())]);

    let mut stranger = KafkaTopic::open(&encrypted(world.broker, "wr0ng"), &world.topic).unwrap();
    let mut distrustful = encrypted(world.broker, Kafka::ACCOUNT.1);
    distrustful.extra.clear();
    let mut distrustful = KafkaTopic::open(&distrustful, &world.topic).unwrap();
    let (stranger, distrustful) = futures::join!(stranger.bounds(), distrustful.bounds());
    let (stranger, distrustful) = (refused(stranger).to_string(), refused(distrustful).to_string());
    assert!(stranger.contains("Authentication failed") && !stranger.contains("wr0ng"), "{stranger}");
    assert!(distrustful.contains("certificate"), "{distrustful}");
}

#[tokio::test]
async fn settings_that_streams_decide_and_unknown_ones_are_refused() {
    let with = |name: &str, value: &str| Connection {
        id: "events".into(),
        conn_type: "kafka".into(),
        host: Some("127.0.0.1".into()),
        extra: [(name.to_string(), json!(value))].into_iter().collect(),
        ..Connection::default()
    };
    for (name, value) in
        [("group.id", "mine"), ("auto.offset.reset", "latest"), ("fetch.mim.bytes", "1"), ("fetch.min.bytes", "x")]
    {
        let error = refused(KafkaTopic::open(&with(name, value), "any"));
        assert_fatal(&error, &["connection `events`", &format!("`{name}`"), "hint: "]);
        assert!(!error.to_string().contains("mine"), "values are not told: {error}");
    }
    for name in ["enable.idempotence", "acks"] {
        assert_fatal(&refused(KafkaProducer::open(&with(name, "0"))), &[&format!("`{name}`"), "hint: "]);
    }
}
