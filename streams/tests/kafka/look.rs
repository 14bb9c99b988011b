//! The view of a cluster that users get.

use super::world::{End, World, connection, encrypted, record};
use chrono::TimeDelta;
use orch_sdk::task::Connection;
use orch_store::cluster::{Bounds, ClusterDoor, ClusterRecords, ReadAt, WhichRecords};
use orch_store::lake_view::{LakeError, LakeResult};
use orch_store::topic::NewRecord;
use orch_test_support::kafka;
use serde_json::{Map, json};
use std::sync::Arc;

/// Returns the door that web servers use, without the process in between.
fn door() -> ClusterDoor {
    let streams = orch_streams::source(Vec::new, &[], |_| unreachable!("no stream runs"));
    let find = |_: &str| unreachable!("a connection is given");
    ClusterDoor::new(Arc::new(find), streams.clusters().unwrap())
}

async fn read(world: &World, partition: Option<i32>, which: WhichRecords, most: usize) -> LakeResult<ClusterRecords> {
    door().read(connection(world.broker), &world.topic, ReadAt { partition, which, most }).await
}

fn values(found: &ClusterRecords) -> Vec<String> {
    found.records.iter().map(|record| text(record.value.as_deref())).collect()
}

fn text(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "-".into(), |bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn topics_are_told_with_their_partitions() {
    let world = World::new(3).await;
    world.produce(1, ["a", "b", "c"]).await;
    world.delete_records(1, 1).await;
    let expected = [(0, 0, 0), (1, 1, 3), (2, 0, 0)].map(|(partition, first, next)| Bounds { partition, first, next });
    let topics = door().topics(connection(world.broker)).await.unwrap();
    let found = topics.iter().find(|topic| topic.name == world.topic).unwrap();
    assert_eq!(found.partitions, expected);
    assert!(topics.is_sorted_by_key(|topic| &topic.name));
    assert_eq!(door().bounds(connection(world.broker), &world.topic).await.unwrap(), expected);
}

#[tokio::test]
async fn records_are_found_by_offset_by_time_and_by_key() {
    let world = World::new(2).await;
    for value in ["a", "b", "c", "d"] {
        world.produce(0, [value]).await;
    }
    let all = read(&world, Some(0), WhichRecords::From(0), 10).await.unwrap();
    assert_eq!(values(&all), ["a", "b", "c", "d"]);
    let third = all.records[2].at;
    // All records may have been sent within the same millisecond.
    let older = all.records.iter().filter(|record| record.at < third).count();
    for (which, expected) in [
        (WhichRecords::Newest, &["c", "d"][..]),
        (WhichRecords::From(1), &["b", "c"]),
        (WhichRecords::At(third), &["a", "b", "c", "d"][older..older + 2]),
        (WhichRecords::At(all.records[3].at + TimeDelta::hours(1)), &[]),
    ] {
        let found = read(&world, Some(0), which.clone(), 2).await.unwrap();
        assert_eq!(values(&found), expected, "{which:?}");
        assert_eq!(found.bounds, Bounds { partition: 0, first: 0, next: 4 });
        assert_eq!(found.partitions.len(), 2);
    }
    assert_eq!(read(&world, Some(0), WhichRecords::From(1), 2).await.unwrap().next, 3);

    let keyed = |value: &str| NewRecord { value: Some(value.into()), ..NewRecord::default() }.key("user");
    let records = ["1", "2", "3"].map(keyed);
    let others = [record(0, "x").key("other"), record(1, "y").key("other")];
    world.producer.produce(&world.topic, &[&records[..], &others[..]].concat()).await.unwrap();
    let found = read(&world, None, WhichRecords::Key("user".into()), 2).await.unwrap();
    assert_eq!(values(&found), ["2", "3"]);
    assert_eq!(text(found.records[0].key.as_deref()), "user");
}

#[tokio::test]
async fn what_a_person_appends_is_read_with_its_headers() {
    let world = World::new(2).await;
    let headers = Map::from_iter([("from".into(), json!("a test"))]);
    let records = vec![
        NewRecord { headers, ..record(1, "v").key("k") },
        NewRecord { key: Some(vec![0, 255]), partition: Some(1), ..NewRecord::default() },
    ];
    let placed = door().produce(connection(world.broker), &world.topic, records).await.unwrap();
    assert_eq!(placed.iter().map(|one| (one.partition, one.offset)).collect::<Vec<_>>(), [(1, 0), (1, 1)]);
    let found = read(&world, Some(1), WhichRecords::Newest, 10).await.unwrap();
    assert_eq!(found.records[0].at, placed[0].at);
    assert_eq!(found.records[0].headers, Some(json!({ "from": "a test" })));
    assert_eq!((found.records[1].key.as_deref(), &found.records[1].value), (Some(&[0, 255][..]), &None));
}

#[tokio::test]
async fn of_transactions_what_was_committed_is_shown() {
    let world = World::new(1).await;
    drop(world.transaction(&["a", "b"], End::Commit).await);
    drop(world.transaction(&["c"], End::Abort).await);
    let open = world.transaction(&["d"], End::StaysOpen).await;
    // Offsets 2 and 4 are markers, and the offsets of aborted records have no visible record.
    let found = read(&world, Some(0), WhichRecords::From(0), 10).await.unwrap();
    assert_eq!(values(&found), ["a", "b"]);
    assert_eq!((found.next, found.bounds.next), (5, 5));
    open.commit().await;
    assert_eq!(values(&read(&world, Some(0), WhichRecords::Newest, 3).await.unwrap()), ["d"]);
}

#[tokio::test]
async fn a_read_of_large_records_ends_at_its_size() {
    let world = World::new(1).await;
    let large = "x".repeat(900_000);
    world.produce(0, [large.as_str(); 8]).await;
    let found = read(&world, Some(0), WhichRecords::From(0), 50).await.unwrap();
    assert_eq!((found.records.len(), found.next), (5, 5));

    let keyed = || NewRecord { value: Some(large.clone().into()), ..NewRecord::default() }.key("user");
    world.producer.produce(&world.topic, &[keyed(), keyed(), keyed(), keyed(), keyed(), keyed()]).await.unwrap();
    let found = read(&world, None, WhichRecords::Key("user".into()), 50).await.unwrap();
    assert_eq!(found.records.iter().map(|record| record.offset).collect::<Vec<_>>(), [10, 11, 12, 13]);
    assert_eq!(found.next, 14);
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let world = World::new(2).await;
    world.produce(0, ["a", "b"]).await;
    world.delete_records(0, 1).await;
    let told = |found: LakeResult<ClusterRecords>| match found {
        Err(LakeError::NotFound(text)) => text,
        other => panic!("{other:?}"),
    };
    let gone = told(read(&world, Some(0), WhichRecords::From(0), 1).await);
    assert_eq!(gone, "offset 0 of partition 0 is gone: the oldest record that is kept has offset 1");
    let none = told(read(&world, Some(7), WhichRecords::Newest, 1).await);
    assert_eq!(none, "there is no partition 7: the topic has 2, from 0");
    let nowhere = door().produce(connection(world.broker), "not-there", vec![record(0, "v")]).await;
    let Err(LakeError::NotFound(text)) = nowhere else { panic!("{nowhere:?}") };
    assert!(text.ends_with("has no topic `not-there`"), "{text}");
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_tells_nothing_else() {
    let broker = kafka().await;
    let unavailable = |found: LakeResult<Vec<Bounds>>| match found {
        Err(LakeError::Unavailable(text)) => text,
        other => panic!("{other:?}"),
    };
    // A port with a different server, a closed port, and a wrong password.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = Connection { port: Some(listener.local_addr().unwrap().port()), ..connection(broker) };
    let closed = Connection { port: Some(1), ..connection(broker) };
    let door = door();
    let (silent, closed, denied) =
        tokio::join!(door.bounds(silent, "t"), door.bounds(closed, "t"), door.bounds(encrypted(broker, "wrong"), "t"));
    let without_port = |text: String| text.split_once("` ").unwrap().1.to_owned();
    assert_eq!(without_port(unavailable(silent)), without_port(unavailable(closed)));
    let denied = unavailable(denied);
    assert!(denied.contains("uthentication failed") && !denied.contains("wrong"), "{denied}");

    let Err(LakeError::Refused(text)) = door.topics(Connection { port: None, host: None, ..connection(broker) }).await
    else {
        panic!("a connection without brokers")
    };
    assert!(text.contains("names no broker"), "{text}");
}
