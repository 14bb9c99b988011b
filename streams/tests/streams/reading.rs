//! Tasks that read topics: only a successful attempt moves the reader.

use crate::world::{World, text, world};
use orch_sdk::task::{Connection, Ctx, MemoryHost, TaskError};
use orch_store::completion::{CompletionStep, left};
use orch_store::stream::{Reset, ResetTo};
use orch_store::topic::reader::{ReaderRow, delete_reader, list_readers, seek_reader};
use orch_streams::{TOPICS, TopicReading};
use sqlx::Connection as _;
use std::collections::BTreeMap;
use std::ops::Range;

/// The records that an attempt has read, and the completion steps for its success.
struct LogReadAttempt {
    ids: Vec<String>,
    covered: BTreeMap<i32, Range<i64>>,
    steps: Vec<Box<dyn CompletionStep>>,
}

impl World {
    fn task(&self) -> (MemoryHost, Ctx) {
        let connection = Connection { id: TOPICS.into(), conn_type: "log".into(), ..Connection::default() };
        let host = MemoryHost::new().with_connection(connection).with_database(self.db.pool());
        let ctx = host.ctx();
        (host, ctx)
    }

    async fn reading(&self, most: Option<usize>) -> Result<LogReadAttempt, TaskError> {
        self.try_reading(most).await.map_err(TaskError::from)
    }

    async fn try_reading(&self, most: Option<usize>) -> anyhow::Result<LogReadAttempt> {
        let (host, ctx) = self.task();
        let mut reading = TopicReading::of(&ctx, "archive", TOPICS, "readings").await?;
        if let Some(most) = most {
            reading = reading.most(most);
        }
        let mut ids = Vec::new();
        while let Some(records) = reading.next(&ctx).await? {
            let value = |value: Option<&[u8]>| String::from_utf8(value.unwrap_or_default().to_vec()).unwrap();
            ids.extend(records.iter().map(|record| value(record.value)));
        }
        let covered = reading.covered();
        reading.done(&ctx).await?;
        Ok(LogReadAttempt { ids, covered, steps: left(&host) })
    }

    async fn succeed(&self, mut done: LogReadAttempt) -> Result<(), String> {
        let mut db = self.db().await;
        let mut tx = db.begin().await.unwrap();
        for step in &mut done.steps {
            step.run(&mut tx).await.map_err(|error| error.to_string())?;
        }
        tx.commit().await.unwrap();
        Ok(())
    }

    async fn numbers(&self, ids: Range<i64>) {
        let records: Vec<_> = ids.map(|id| text(&id.to_string(), id)).collect();
        self.produce(&records).await;
    }

    async fn seek(&self, to: ResetTo, partition: Option<i32>) {
        let to = Reset { to, partition, empty_table: false };
        assert!(seek_reader(&mut self.db().await, "archive", &to).await.unwrap());
    }

    async fn readers(&self) -> Vec<ReaderRow> {
        list_readers(&mut self.db().await, None).await.unwrap()
    }
}

fn sorted(read: &LogReadAttempt) -> Vec<i64> {
    let mut ids: Vec<i64> = read.ids.iter().map(|id| id.parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

fn all(ids: Range<i64>) -> Vec<i64> {
    ids.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_that_fails_is_read_again_and_a_success_moves_on() {
    let world = world().await;
    world.topic().await;
    world.numbers(0..10).await;
    // This attempt failed or its worker was killed, so its step never ran.
    let failed = world.reading(None).await.unwrap();
    assert_eq!(sorted(&failed), all(0..10));
    let again = world.reading(None).await.unwrap();
    assert_eq!((sorted(&again), &again.covered), (all(0..10), &failed.covered), "the same offsets, so the same names");
    assert_eq!(again.covered, BTreeMap::from([(0, 0..5), (1, 0..5)]));
    // Records that arrive after the attempt has read are left to the next one.
    world.numbers(10..14).await;
    world.succeed(again).await.unwrap();
    let next = world.reading(None).await.unwrap();
    assert_eq!((sorted(&next), &next.covered), (all(10..14), &BTreeMap::from([(0, 5..7), (1, 5..7)])));
    world.succeed(next).await.unwrap();
    let nothing = world.reading(None).await.unwrap();
    assert!(nothing.ids.is_empty() && nothing.covered.is_empty());
    world.succeed(nothing).await.unwrap();
    let rows = world.readers().await;
    let told: Vec<_> = rows.iter().map(|row| (row.partition, row.next_offset, row.end_offset)).collect();
    assert_eq!((told, rows[0].task_id.as_str()), (vec![(0, 7, 7), (1, 7, 7)], "test"));
}

/// A rolled-back step has moved nothing. The fence of the attempt is checked after its step, in the same transaction.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_rolled_back_has_not_moved_the_reader() {
    let world = world().await;
    world.topic().await;
    world.numbers(0..4).await;
    let mut lost = world.reading(None).await.unwrap();
    let mut db = world.db().await;
    let mut tx = db.begin().await.unwrap();
    for step in &mut lost.steps {
        step.run(&mut tx).await.unwrap();
    }
    tx.rollback().await.unwrap();
    assert_eq!(sorted(&world.reading(None).await.unwrap()), all(0..4));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_tries_at_once_one_moves_the_reader() {
    let world = world().await;
    world.topic().await;
    world.numbers(0..6).await;
    // The first two attempts of a reader, and two later ones.
    for ids in [0..6, 6..9] {
        let (one, other) = (world.reading(None).await.unwrap(), world.reading(None).await.unwrap());
        assert_eq!((sorted(&one), sorted(&other)), (all(ids.clone()), all(ids)));
        world.succeed(one).await.unwrap();
        let refused = world.succeed(other).await.unwrap_err();
        assert!(refused.contains("was moved while this try read"), "{refused}");
        world.numbers(6..9).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_records_than_asked_for_and_none_left_out() {
    let world = world().await;
    world.topic().await;
    world.numbers(0..25).await;
    let mut ids = Vec::new();
    for many in [10, 10, 5, 0] {
        let read = world.reading(Some(10)).await.unwrap();
        assert_eq!(read.ids.len(), many);
        ids.extend(sorted(&read));
        world.succeed(read).await.unwrap();
    }
    ids.sort_unstable();
    assert_eq!(ids, all(0..25));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_topic_is_made_and_a_new_partition_is_read_from_its_beginning() {
    let world = world().await;
    let nothing = world.reading(None).await.unwrap();
    assert!(nothing.ids.is_empty());
    world.succeed(nothing).await.unwrap();
    let mut db = world.db().await;
    sqlx::query("update topic set partitions = 2 where name = 'readings'").execute(&mut db).await.unwrap();
    world.numbers(0..6).await;
    let read = world.reading(None).await.unwrap();
    assert_eq!((sorted(&read), &read.covered), (all(0..6), &BTreeMap::from([(0, 0..3), (1, 0..3)])));
    world.succeed(read).await.unwrap();
    assert_eq!(world.readers().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_moves_a_reader_and_the_try_at_work_does_not_move_it_back() {
    let world = world().await;
    world.topic().await;
    world.numbers(0..10).await;
    world.succeed(world.reading(None).await.unwrap()).await.unwrap();
    world.numbers(10..12).await;
    let at_work = world.reading(None).await.unwrap();
    world.seek(ResetTo::Earliest, None).await;
    assert!(world.succeed(at_work).await.is_err());
    let anew = world.reading(None).await.unwrap();
    assert_eq!(sorted(&anew), all(0..12));
    // The seek remains pending until an attempt succeeds.
    assert_eq!(sorted(&world.reading(None).await.unwrap()), all(0..12));
    world.succeed(anew).await.unwrap();
    assert!(world.reading(None).await.unwrap().ids.is_empty());
    assert_eq!(world.readers().await[0].seek_to, None);
    // A seek of one partition.
    world.seek(ResetTo::Offset(4), Some(1)).await;
    let read = world.reading(None).await.unwrap();
    assert_eq!(read.covered, BTreeMap::from([(1, 4..6)]));
    world.succeed(read).await.unwrap();
    // A seek past the end.
    world.seek(ResetTo::Offset(400), Some(1)).await;
    let refused = world.reading(None).await.err().unwrap();
    assert!(
        matches!(&refused, TaskError::Fatal { .. }) && refused.to_string().contains("from offset 400"),
        "{refused}"
    );
    world.seek(ResetTo::Latest, None).await;
    world.numbers(12..14).await;
    let skipped = world.reading(None).await.unwrap();
    assert!(skipped.ids.is_empty(), "it begins with what comes after the try");
    world.succeed(skipped).await.unwrap();
    world.numbers(14..16).await;
    let read = world.reading(None).await.unwrap();
    assert_eq!(sorted(&read), all(14..16));
    // A deleted reader is not created again by an attempt that has read before.
    world.seek(ResetTo::Latest, None).await;
    let late = world.reading(None).await.unwrap();
    assert!(delete_reader(&mut world.db().await, "archive").await.unwrap());
    assert!(world.succeed(late).await.is_err() && world.succeed(read).await.is_err());
    assert!(world.readers().await.is_empty());
    assert_eq!(sorted(&world.reading(None).await.unwrap()), all(0..16));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_topic_and_missing_records_are_for_a_person() {
    let world = world().await;
    world.topic().await;
    world.numbers(0..10).await;
    world.succeed(world.reading(Some(4)).await.unwrap()).await.unwrap();
    let mut db = world.db().await;
    // Deletes records like retention does.
    sqlx::query("update topic_partition set first_offset = 5").execute(&mut db).await.unwrap();
    sqlx::query("delete from topic_record where record_offset < 5").execute(&mut db).await.unwrap();
    let refused = world.reading(None).await.err().unwrap();
    assert!(matches!(&refused, TaskError::Fatal { .. }), "{refused:?}");
    let words = refused.to_string();
    assert!(
        words.contains("records are missing") && words.contains("orch topics seek archive --to-earliest"),
        "{words}"
    );
    sqlx::query("delete from topic").execute(&mut db).await.unwrap();
    world.topic().await;
    world.numbers(20..22).await;
    let refused = world.reading(None).await.err().unwrap();
    assert!(matches!(&refused, TaskError::Fatal { .. }), "{refused:?}");
    assert!(refused.to_string().contains("deleted and created again"), "{refused}");
    world.seek(ResetTo::Earliest, None).await;
    let read = world.reading(None).await.unwrap();
    assert_eq!(sorted(&read), all(20..22));
    world.succeed(read).await.unwrap();
    assert!(world.reading(None).await.unwrap().ids.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_without_the_database_of_orch_is_told_so() {
    let (host, connection) = (MemoryHost::new(), Connection { conn_type: "log".into(), ..Connection::default() });
    let ctx = host.with_connection(connection).ctx();
    let refused = TopicReading::of(&ctx, "archive", TOPICS, "readings").await.err().unwrap();
    assert!(refused.to_string().contains("with_database"), "{refused}");
}
