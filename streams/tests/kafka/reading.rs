//! Tasks that read topics of Kafka: orch stores the offsets, and transaction markers occupy offsets.

use super::world::{End, World, connection};
use orch_sdk::task::{MemoryHost, TaskError, TaskResult};
use orch_store::MIGRATOR;
use orch_store::completion::{CompletionStep, left};
use orch_store::stream::{Reset, ResetTo};
use orch_store::topic::reader::seek_reader;
use orch_streams::TopicReading;
use orch_test_support::TestDb;
use sqlx::Connection as _;
use std::collections::BTreeMap;
use std::ops::Range;

struct KafkaReadAttempt {
    values: Vec<String>,
    covered: BTreeMap<i32, Range<i64>>,
    steps: Vec<Box<dyn CompletionStep>>,
}

async fn reading(world: &World, db: &TestDb, most: usize) -> TaskResult<KafkaReadAttempt> {
    let host = MemoryHost::new().with_connection(connection(world.broker)).with_database(db.pool());
    let ctx = host.ctx();
    let mut reading = TopicReading::of(&ctx, "archive", "events", &world.topic).await?.most(most);
    let mut values = Vec::new();
    while let Some(records) = reading.next(&ctx).await? {
        let value = |value: Option<&[u8]>| String::from_utf8(value.unwrap_or_default().to_vec()).unwrap();
        values.extend(records.iter().map(|record| value(record.value)));
    }
    values.sort();
    let covered = reading.covered();
    reading.done(&ctx).await?;
    Ok(KafkaReadAttempt { values, covered, steps: left(&host) })
}

async fn succeed(db: &TestDb, mut done: KafkaReadAttempt) -> TaskResult<()> {
    let mut db = db.connect().await;
    let mut tx = db.begin().await?;
    for step in &mut done.steps {
        step.run(&mut tx).await?;
    }
    Ok(tx.commit().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_reads_to_the_end_and_its_success_moves_the_reader() {
    let (world, db) = (World::new(2).await, TestDb::new(&MIGRATOR).await);
    let nothing = reading(&world, &db, 1_000).await.unwrap();
    assert!(nothing.values.is_empty() && nothing.covered.is_empty());
    succeed(&db, nothing).await.unwrap();
    world.transaction(&["a", "b"], End::Commit).await;
    world.transaction(&["x"], End::Abort).await;
    world.produce(1, ["c", "d", "e"]).await;
    // Two concurrent attempts read the same, because neither has moved the reader yet.
    let (one, other) = (reading(&world, &db, 1_000).await.unwrap(), reading(&world, &db, 1_000).await.unwrap());
    assert_eq!((&one.values, &one.covered), (&other.values, &other.covered));
    assert_eq!(one.values, ["a", "b", "c", "d", "e"]);
    // Partition 0 has two records, a marker, an aborted record and a marker.
    assert_eq!(one.covered, BTreeMap::from([(0, 0..5), (1, 0..3)]));
    succeed(&db, one).await.unwrap();
    let refused = succeed(&db, other).await.unwrap_err();
    assert!(refused.to_string().contains("was moved while this try read"), "{refused}");
    // A read does not wait for an open transaction: records behind it are left to a later run.
    world.produce(0, ["f"]).await;
    let open = world.transaction(&["g"], End::StaysOpen).await;
    world.produce(0, ["h"]).await;
    let read = reading(&world, &db, 1_000).await.unwrap();
    assert_eq!((read.values.as_slice(), &read.covered), (["f".into()].as_slice(), &BTreeMap::from([(0, 5..6)])));
    succeed(&db, read).await.unwrap();
    open.commit().await;
    let mut values = Vec::new();
    for most in [1, 1, 1] {
        let read = reading(&world, &db, most).await.unwrap();
        values.extend(read.values.clone());
        succeed(&db, read).await.unwrap();
    }
    assert_eq!(values, ["g", "h"], "one at a time, then nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_another_one_and_records_that_are_gone_are_for_a_person() {
    let (world, db) = (World::new(1).await, TestDb::new(&MIGRATOR).await);
    world.produce(0, ["a", "b", "c", "d"]).await;
    succeed(&db, reading(&world, &db, 2).await.unwrap()).await.unwrap();
    world.delete_records(0, 3).await;
    let refused = TaskError::from(reading(&world, &db, 10).await.err().unwrap());
    assert!(
        matches!(refused, TaskError::Fatal { .. }) && refused.to_string().contains("records are missing"),
        "{refused}"
    );
    let seek = async |to| {
        let to = Reset { to, partition: None, empty_table: false };
        assert!(seek_reader(&mut db.connect().await, "archive", &to).await.unwrap());
    };
    seek(ResetTo::Earliest).await;
    let read = reading(&world, &db, 10).await.unwrap();
    assert_eq!(read.values, ["d"]);
    succeed(&db, read).await.unwrap();
    world.delete_topic().await;
    assert!(world.producer.create_topic(&world.topic, 1).await.unwrap());
    world.produce(0, ["e"]).await;
    let refused = TaskError::from(reading(&world, &db, 10).await.err().unwrap());
    assert!(matches!(refused, TaskError::Fatal { .. }) && refused.to_string().contains("created again"), "{refused}");
    seek(ResetTo::Earliest).await;
    assert_eq!(reading(&world, &db, 10).await.unwrap().values, ["e"]);
}
