//! The records that reads return, and when they return.

use super::world::{End, MANY, PATIENCE, World, positions, read, record, seek, told};
use futures::poll;
use orch_streams::Records;
use orch_streams::topic::{Most, TopicReader};
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

fn values(records: &[(i32, i64, String)]) -> Vec<&str> {
    records.iter().map(|(_, _, value)| value.as_str()).collect()
}

#[tokio::test]
async fn partitions_are_read_from_the_offsets_that_were_said() {
    let world = World::new(3).await;
    for partition in 0..3 {
        let values: Vec<String> = (0..5).map(|offset| format!("{partition}/{offset}")).collect();
        world.produce(partition, values.iter().map(String::as_str)).await;
    }
    let mut reader = world.reader(&[(0, 3), (2, 1)]).await;
    let records = read(&mut reader, 6).await;
    assert_eq!(values(&records), ["0/3", "0/4", "2/1", "2/2", "2/3", "2/4"]);
    assert!(records.iter().all(|(partition, offset, value)| *value == format!("{partition}/{offset}")));
    assert_eq!(positions(&reader), [(0, 5), (2, 5)]);

    // Seeks back in one partition, and forward in the partition that was not read.
    seek(&mut reader, &[(0, 4), (1, 4)]).await;
    assert_eq!(positions(&reader), [(0, 4), (1, 4)]);
    assert_eq!(values(&read(&mut reader, 2).await), ["0/4", "1/4"]);
    assert_eq!(positions(&reader), [(0, 5), (1, 5)]);
}

#[tokio::test]
async fn a_record_has_its_key_its_time_and_perhaps_no_value() {
    let world = World::new(1).await;
    let keyed = [record(0, "1").key("one"), orch_store::topic::NewRecord { value: None, ..record(0, "").key("one") }];
    world.producer.produce(&world.topic, &keyed).await.unwrap();
    let mut reader = world.reader(&[(0, 0)]).await;
    let mut records = Records::default();
    while records.len() < 2 {
        reader.read(&mut records, MANY, Instant::now() + PATIENCE).await.unwrap();
    }
    let (first, second) = (records.get(0).unwrap(), records.get(1).unwrap());
    assert_eq!((first.key, first.value), (Some(&b"one"[..]), Some(&b"1"[..])));
    assert_eq!((second.key, second.value), (Some(&b"one"[..]), None));
    assert!(first.at_ms.unwrap() > 1_700_000_000_000 && first.at_ms <= second.at_ms);
}

#[tokio::test]
async fn a_read_waits_for_a_record_that_comes() {
    let world = World::new(1).await;
    let mut reader = world.reader(&[(0, 0)]).await;
    let mut records = Records::default();
    let begun = Instant::now();
    {
        let mut reading = std::pin::pin!(reader.read(&mut records, MANY, begun + PATIENCE));
        assert!(matches!(poll!(&mut reading), Poll::Pending));
        let producing = std::pin::pin!(world.produce(0, ["late"]));
        let (done, ()) = futures::join!(&mut reading, producing);
        done.unwrap();
    }
    assert_eq!(told(&records), [(0, 0, "late".into())]);
    assert!(begun.elapsed() < PATIENCE);
}

#[tokio::test]
async fn a_read_of_nothing_ends_when_its_time_is_over() {
    let world = World::new(1).await;
    let mut reader = world.reader(&[(0, 0)]).await;
    let (begun, time) = (Instant::now(), Duration::from_millis(100));
    let mut records = Records::default();
    reader.read(&mut records, MANY, begun + time).await.unwrap();
    assert!(records.is_empty() && begun.elapsed() >= time);
}

#[tokio::test]
async fn a_read_brings_no_more_than_it_was_asked_for() {
    let world = World::new(1).await;
    let large = "x".repeat(1000);
    world.produce(0, std::iter::repeat_n(large.as_str(), 100)).await;
    let mut reader = world.reader(&[(0, 0)]).await;
    let (mut seen, until) = (0, Instant::now() + PATIENCE);
    for most in
        [Most { records: 7, bytes: 1 << 20 }, Most { records: 100, bytes: 2500 }, Most { records: 100, bytes: 1 }]
    {
        let mut records = Records::default();
        while records.is_empty() {
            reader.read(&mut records, most, until).await.unwrap();
        }
        assert!(records.len() <= most.records && (records.len() - 1) * large.len() < most.bytes);
        assert_eq!(records.get(0).unwrap().offset, seen);
        seen += i64::try_from(records.len()).unwrap();
        assert_eq!(positions(&reader), [(0, seen)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_dropped_loses_nothing() {
    const COUNT: usize = 20_000;
    let world = World::new(1).await;
    let wanted: Vec<String> = (0..COUNT).map(|number| number.to_string()).collect();
    world.produce(0, wanted.iter().map(String::as_str)).await;
    let mut reader = world.reader(&[(0, 0)]).await;
    let until = Instant::now() + PATIENCE;
    let (mut all, mut dropped) = (Vec::new(), 0);
    while all.len() < COUNT {
        let mut records = Records::default();
        let before = positions(&reader);
        let some = Most { records: 50, bytes: 1 << 20 };
        // Every other read is dropped while it waits for its records.
        let kept = dropped % 2 == 1 || poll!(std::pin::pin!(reader.read(&mut records, some, until))).is_ready();
        if kept {
            reader.read(&mut records, some, until).await.unwrap();
        } else {
            assert_eq!((records.len(), positions(&reader)), (0, before));
        }
        dropped += 1;
        all.extend(told(&records).into_iter().map(|(_, _, value)| value));
    }
    assert_eq!(all, wanted);
}

#[tokio::test]
async fn records_of_a_transaction_are_read_after_its_commit() {
    let world = World::new(1).await;
    world.produce(0, ["before"]).await;
    let open = world.transaction(&["a", "b"], End::StaysOpen).await;
    world.produce(0, ["after"]).await;
    let mut reader = world.reader(&[(0, 0)]).await;
    assert_eq!(values(&read(&mut reader, 1).await), ["before"]);
    // Records behind an open transaction wait for it too, so that offsets are read in order.
    let mut records = Records::default();
    reader.read(&mut records, MANY, Instant::now() + Duration::from_millis(300)).await.unwrap();
    assert_eq!((told(&records), positions(&reader)), (vec![], vec![(0, 1)]));
    assert_eq!(reader.bounds().await.unwrap()[0].next, 1);
    open.commit().await;
    assert_eq!(values(&read(&mut reader, 3).await), ["a", "b", "after"]);
}
