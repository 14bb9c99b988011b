//! Bounds of partitions, positions of readers, and the identity of a topic.

use super::world::{End, MANY, PATIENCE, World, connection, positions, read, record, told};
use chrono::{DateTime, TimeDelta};
use orch_streams::Records;
use orch_streams::topic::kafka::{KafkaProducer, KafkaTopic};
use orch_streams::topic::{Bounds, TopicReader};
use orch_test_support::Kafka;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn positions_pass_over_markers_and_aborted_records() {
    let world = World::new(1).await;
    // Offsets 0 and 1, a marker; 3 and 4 aborted, a marker; 6, a marker; 8 aborted, a marker.
    world.transaction(&["a", "b"], End::Commit).await;
    world.transaction(&["x", "y"], End::Abort).await;
    world.transaction(&["c"], End::Commit).await;
    world.transaction(&["z"], End::Abort).await;
    let mut reader = world.reader(&[(0, 0)]).await;
    let read: Vec<_> = read(&mut reader, 3).await;
    assert_eq!(read, [(0, 0, "a".into()), (0, 1, "b".into()), (0, 6, "c".into())]);
    let end = reader.bounds().await.unwrap()[0].next;
    assert_eq!(end, 10);
    let until = Instant::now() + PATIENCE;
    let mut nothing = Records::default();
    while positions(&reader) != [(0, end)] {
        assert!(Instant::now() < until, "the reader stays at {:?} of {end}", positions(&reader));
        reader.read(&mut nothing, MANY, Instant::now() + Duration::from_millis(20)).await.unwrap();
    }
    assert!(nothing.is_empty());
    // A reader that starts behind a marker neither repeats nor skips records.
    world.produce(0, ["d"]).await;
    let mut other = world.reader(&[(0, end)]).await;
    assert_eq!(super::world::read(&mut other, 1).await, [(0, end, "d".into())]);
}

#[tokio::test]
async fn bounds_are_told_of_each_partition() {
    let world = World::new(3).await;
    world.produce(0, ["a", "b", "c"]).await;
    world.produce(2, ["d"]).await;
    world.delete_records(0, 2).await;
    let expected = [(0, 2, 3), (1, 0, 0), (2, 0, 1)];
    let expected = expected.map(|(partition, first, next)| Bounds { partition, first, next });
    assert_eq!(world.open().bounds().await.unwrap(), expected);
}

#[tokio::test]
async fn a_moment_has_the_offset_of_the_first_record_that_is_not_older() {
    let world = World::new(2).await;
    for value in ["a", "b", "c"] {
        world.produce(1, [value]).await;
    }
    let mut reader = world.reader(&[(1, 0)]).await;
    let mut records = Records::default();
    while records.len() < 3 {
        reader.read(&mut records, MANY, Instant::now() + PATIENCE).await.unwrap();
    }
    let at = |nth: usize| DateTime::from_timestamp_millis(records.get(nth).unwrap().at_ms.unwrap()).unwrap();
    for (moment, partition) in
        [(at(0) - TimeDelta::hours(1), 1), (at(1), 1), (at(2), 1), (at(2) + TimeDelta::hours(1), 1)]
    {
        let expected = records.iter().find(|record| record.at().unwrap() >= moment).map_or(3, |record| record.offset);
        assert_eq!(reader.offset_at(partition, moment).await.unwrap(), expected, "{moment}");
    }
    assert_eq!(reader.offset_at(1, DateTime::UNIX_EPOCH - TimeDelta::days(1)).await.unwrap(), 0);
    assert_eq!(reader.offset_at(0, at(0)).await.unwrap(), 0, "of an empty partition");
}

#[tokio::test]
async fn a_topic_that_was_created_again_is_another_one() {
    let world = World::new(1).await;
    let mut reader = world.open();
    let first = reader.identity().await.unwrap();
    assert!(first.starts_with("kafka/") && first.contains(&world.topic), "{first}");
    assert_eq!(world.open().identity().await.unwrap(), first);

    world.delete_topic().await;
    assert!(world.producer.create_topic(&world.topic, 1).await.unwrap());
    let second = world.open().identity().await.unwrap();
    assert_ne!(second, first);
    assert_eq!(reader.identity().await.unwrap(), second, "an open reader sees it too");
}

#[tokio::test]
async fn a_topic_of_another_cluster_is_another_one() {
    let world = World::new(1).await;
    let other = Kafka::start().await;
    assert!(KafkaProducer::open(&connection(&other)).unwrap().create_topic(&world.topic, 1).await.unwrap());
    let there = KafkaTopic::open(&connection(&other), &world.topic).unwrap().identity().await.unwrap();
    let here = world.open().identity().await.unwrap();
    let cluster = |identity: &str| identity.split('/').nth(1).unwrap().to_string();
    assert_ne!(cluster(&here), cluster(&there));
}

#[tokio::test]
async fn a_topic_that_is_created_again_while_it_is_read_has_another_identity() {
    let world = World::new(1).await;
    world.produce(0, ["a", "b"]).await;
    let mut reader = world.reader(&[(0, 0)]).await;
    read(&mut reader, 2).await;
    let identity = reader.identity().await.unwrap();
    world.delete_topic().await;
    assert!(world.producer.create_topic(&world.topic, 1).await.unwrap());
    // A new producer, because the first one continues its sequence after the records of the old topic.
    let records = ["x", "y", "z"].map(|value| record(0, value));
    KafkaProducer::open(&connection(world.broker)).unwrap().produce(&world.topic, &records).await.unwrap();
    // Offset 2 exists again with another record. Whether librdkafka notices depends on its first request.
    let mut more = Records::default();
    match reader.read(&mut more, MANY, Instant::now() + PATIENCE).await {
        Ok(()) => assert_eq!(told(&more), [(0, 2, "z".into())]),
        Err(error) => assert!(error.to_string().contains(&world.topic), "{error}"),
    }
    assert_ne!(reader.identity().await.unwrap(), identity);
}
