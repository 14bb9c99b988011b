//! Writing records and creating topics.

use super::world::{End, PATIENCE, World, connection, read, record, seek};
use orch_sdk::task::{Connection, TaskError};
use orch_store::topic::{NewRecord, partition_of};
use orch_streams::topic::TopicReader as _;
use orch_streams::topic::kafka::{KafkaProducer, KafkaTopic};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use serde_json::json;
use std::collections::BTreeMap;

#[tokio::test]
async fn a_key_has_the_partition_it_has_in_the_built_in_log() {
    let world = World::new(5).await;
    let keys: Vec<String> = (0..50).map(|number| format!("key-{number}")).collect();
    let records =
        keys.iter().map(|key| NewRecord { value: Some(key.clone().into()), ..NewRecord::default() }.key(key.as_str()));
    world.producer.produce(&world.topic, &records.collect::<Vec<_>>()).await.unwrap();
    let mut reader = world.reader(&[(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)]).await;
    for (partition, _, key) in read(&mut reader, keys.len()).await {
        assert_eq!(partition, i32::from(partition_of(key.as_bytes(), 5)), "{key}");
    }
}

#[tokio::test]
async fn many_records_are_all_written_in_order() {
    let world = World::new(1).await;
    let values: Vec<String> = (0..150_000).map(|number| number.to_string()).collect();
    world.produce(0, values.iter().map(String::as_str)).await;
    assert_eq!(world.open().bounds().await.unwrap()[0].next, 150_000);
    let read = read(&mut world.reader(&[(0, 0)]).await, values.len()).await;
    assert!(read.iter().map(|(_, _, value)| value).eq(&values));
}

#[tokio::test]
async fn the_newest_holder_of_a_capture_is_the_only_one_that_writes() {
    let world = World::new(1).await;
    let id = format!("orch-test-{}", world.topic);
    let holder = || KafkaProducer::open_transactional(&connection(world.broker), &id).unwrap();
    let lot = |value: &str| BTreeMap::from([(world.topic.clone(), vec![record(0, value)])]);
    let (frozen, newer) = (holder(), holder());
    frozen.fence_others().await.unwrap();
    frozen.produce_in_transaction(&lot("1 by the first holder")).await.unwrap();
    newer.fence_others().await.unwrap();
    newer.produce_in_transaction(&lot("2 by the second holder")).await.unwrap();
    // The first holder continues after it was frozen.
    let refused = frozen.produce_in_transaction(&lot("1 again")).await.unwrap_err();
    assert!(matches!(TaskError::from(refused), TaskError::Retryable { .. }), "its stream is started again elsewhere");
    newer.produce_in_transaction(&lot("3 by the second holder")).await.unwrap();
    let read = read(&mut world.reader(&[(0, 0)]).await, 3).await;
    let values: Vec<_> = read.iter().map(|(_, _, value)| value.as_str()).collect();
    assert_eq!(values, ["1 by the first holder", "2 by the second holder", "3 by the second holder"]);
}

#[tokio::test]
async fn a_new_holder_ends_the_transaction_that_the_last_one_left_open() {
    let world = World::new(1).await;
    let id = format!("orch-test-{}", world.topic);
    let open = world.transaction_of(&id, &["left open"], End::StaysOpen).await;
    let newer = KafkaProducer::open_transactional(&connection(world.broker), &id).unwrap();
    newer.fence_others().await.unwrap();
    newer.produce_in_transaction(&BTreeMap::from([(world.topic.clone(), vec![record(0, "new")])])).await.unwrap();
    let read = read(&mut world.reader(&[(0, 0)]).await, 1).await;
    assert_eq!(read[0].2, "new", "readers of committed records never see the other one, and do not wait for it");
    drop(open);
}

#[tokio::test]
async fn headers_are_written_as_texts() {
    let world = World::new(1).await;
    let headers = [("source".to_string(), json!("shop")), ("tries".to_string(), json!(2))].into_iter().collect();
    world.producer.produce(&world.topic, &[NewRecord { headers, ..record(0, "a") }]).await.unwrap();
    let (bootstrap, topic) = (world.broker.address(), world.topic.clone());
    let told = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", bootstrap).set("group.id", "test").create().unwrap();
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(&topic, 0, Offset::Offset(0)).unwrap();
        consumer.assign(&from).unwrap();
        headers_of(&consumer.poll(PATIENCE).unwrap().unwrap())
    });
    assert_eq!(told.await.unwrap(), [("source".into(), "shop".into()), ("tries".into(), "2".into())]);
}

fn headers_of(message: &BorrowedMessage<'_>) -> Vec<(String, String)> {
    let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
    message.headers().unwrap().iter().map(|header| (header.key.to_string(), text(header.value))).collect()
}

#[tokio::test]
async fn what_cannot_be_written_is_fatal() {
    let world = World::new(1).await;
    let large = "x".repeat(2 << 20);
    for wrong in [record(0, &large), record(3, "a")] {
        let error = TaskError::from(world.producer.produce(&world.topic, &[wrong]).await.unwrap_err());
        assert!(matches!(error, TaskError::Fatal { .. }) && error.to_string().contains(&world.topic), "{error:?}");
    }
}

#[tokio::test]
async fn a_topic_is_created_once() {
    let world = World::new(4).await;
    assert!(!world.producer.create_topic(&world.topic, 9).await.unwrap());
    assert_eq!(world.open().bounds().await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_topic_may_have_another_name_at_the_cluster() {
    let world = World::new(1).await;
    let extra =
        [("topics".to_string(), json!({ "readings": world.topic, "gone": "never-made" }))].into_iter().collect();
    let connection = Connection { extra, ..connection(world.broker) };
    let producer = KafkaProducer::open(&connection).unwrap();
    assert!(!producer.create_topic("readings", 1).await.unwrap(), "it is there");
    producer.produce("readings", &[record(0, "a")]).await.unwrap();
    let mut reader = KafkaTopic::open(&connection, "readings").unwrap();
    assert_eq!(reader.bounds().await.unwrap()[0].next, 1);
    seek(&mut reader, &[(0, 0)]).await;
    assert_eq!(read(&mut reader, 1).await, [(0, 0, "a".to_string())]);
    let missing = KafkaTopic::open(&connection, "gone").unwrap().bounds().await.unwrap_err().to_string();
    assert!(missing.contains("has no topic `never-made`"), "{missing}");
}
