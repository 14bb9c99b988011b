//! The built-in log: offsets follow commit order without gaps, even with concurrent writers, and old records are
//! deleted.

use crate::fixture::{database, number, one};
use chrono::{DateTime, Utc};
use orch_store::stream::{NewStream, register_streams};
use orch_store::topic::{
    MOST_RECORD_BYTES, NewRecord, PartitionRow, Placed, ProduceError, ReadFrom, RecordRow, Topic, drop_old_records,
    get_topic, list_partitions, newest_offset, offset_at, partition_of, produce, produce_as_writer, read_records,
    refuse_captured,
};
use orch_test_support::TestDb;
use serde_json::json;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::task::JoinSet;

async fn with_topic(partitions: i16) -> (TestDb, PgConnection, Topic) {
    let database = database().await;
    let mut db = one(&database).await;
    sqlx::query("insert into topic (name, partitions) values ('events', $1)")
        .bind(partitions)
        .execute(&mut db)
        .await
        .expect("it is created");
    let topic = get_topic(&mut db, "events").await.expect("it is read").expect("it was created");
    (database, db, topic)
}

fn text(value: &str) -> NewRecord {
    NewRecord { value: Some(value.into()), ..NewRecord::default() }
}

async fn append(db: &mut PgConnection, values: &[&str]) -> Vec<Placed> {
    let records: Vec<NewRecord> = values.iter().map(|value| text(value)).collect();
    produce(db, "events", &records).await.expect("it is appended")
}

async fn all(db: &mut PgConnection, topic: &Topic, partition: i16) -> Vec<RecordRow> {
    let from = ReadFrom { partition, offset: 0, most: 10_000, most_bytes: i64::MAX };
    read_records(db, topic, from).await.expect("it is read")
}

fn values(records: &[RecordRow]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8(r.value.clone().unwrap_or_default()).expect("text")).collect()
}

/// Stores the declaration of a capture stream, as registering a bundle does.
async fn declare_capture(db: &mut PgConnection, name: &str, topics: &str, connection: &str) {
    let spec = json!({ "captures": "postgres", "topic": topics, "connection": connection });
    let declared = [NewStream { name: name.into(), version: "1".into(), spec }];
    register_streams(db, name, &declared, false).await.expect("it registers");
}

/// Records from other writers would corrupt the tables that mirror the captured database.
#[tokio::test]
async fn a_topic_that_a_capture_declares_takes_records_from_it_alone() {
    let (_database, mut db, topic) = with_topic(1).await;
    let spec = json!({ "topic": "events", "table": "shop.events" });
    let reader = [NewStream { name: "reader".into(), version: "1".into(), spec }];
    register_streams(&mut db, "readers", &reader, false).await.unwrap();
    append(&mut db, &["a stream that reads refuses no record"]).await;
    declare_capture(&mut db, "shop", "shop.items, events", "topics").await;
    let refused = produce(&mut db, "events", &[text("forged")]).await.unwrap_err();
    assert_eq!(refused.to_string(), "topic `events` is written by capture `shop`\nhint: produce to another topic");
    assert!(produce(&mut db, "shop.items", &[]).await.is_err(), "also before the topic is created");
    produce_as_writer(&mut db, "events", &[text("of the capture")]).await.unwrap();
    assert_eq!(all(&mut db, &topic, 0).await.len(), 2);
    // A step in a completion transaction can execute raw SQL.
    let forge = "select append_records($1, array[0]::smallint[], array[null]::bytea[], array['forged']::bytea[], array[null]::jsonb[])";
    for is_completing in [true, false] {
        let mut tx = db.begin().await.unwrap();
        if is_completing {
            sqlx::query("set local orch.completing = 'yes'").execute(&mut *tx).await.unwrap();
        }
        let forged = sqlx::query(forge).bind(topic.no).execute(&mut *tx).await;
        assert_eq!(forged.is_err(), is_completing, "{forged:?}");
        if let Err(error) = forged {
            assert!(error.to_string().contains("topic `events` is written by capture `shop`"), "{error}");
        }
        tx.rollback().await.unwrap();
    }
    // A topic with the same name in a Kafka cluster is reserved only if the capture uses the same connection.
    refuse_captured(&mut db, "events", Some("elsewhere")).await.unwrap();
    assert!(refuse_captured(&mut db, "events", Some("topics")).await.is_err());
    // A topic of the built-in log is not reserved if the capture writes to Kafka or is no longer declared.
    sqlx::query("update stream set capture = '{\"in_kafka\": true}' where name = 'shop'")
        .execute(&mut db)
        .await
        .unwrap();
    append(&mut db, &["the capture writes to Kafka"]).await;
    sqlx::query("update stream set capture = null where name = 'shop'").execute(&mut db).await.unwrap();
    assert!(produce(&mut db, "events", &[]).await.is_err());
    register_streams(&mut db, "shop", &[], false).await.unwrap();
    append(&mut db, &["no capture writes it"]).await;
}

#[tokio::test]
async fn records_come_back_as_they_were_sent() {
    let (_database, mut db, topic) = with_topic(1).await;
    let headers = json!({ "source": "test" }).as_object().cloned().unwrap();
    let whole = NewRecord { headers: headers.clone(), ..text("{\"a\": 1}").key("k") };
    let tombstone = NewRecord { value: None, ..text("").key(vec![0, 255]) };
    let placed = produce(&mut db, "events", &[whole.clone(), tombstone.clone()]).await.unwrap();
    assert_eq!(placed.iter().map(|p| (p.partition, p.offset)).collect::<Vec<_>>(), [(0, 0), (0, 1)]);
    let read = all(&mut db, &topic, 0).await;
    assert_eq!((read[0].key.clone(), read[0].value.clone()), (whole.key, whole.value));
    assert_eq!(read[0].headers, Some(headers.into()));
    assert_eq!((read[1].key.clone(), read[1].value.clone(), read[1].headers.clone()), (tombstone.key, None, None));
    assert_eq!((read[0].offset, read[1].offset, read[0].at), (0, 1, placed[0].at));
    assert!(produce(&mut db, "events", &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_stays_in_its_partition_and_records_without_one_take_turns() {
    let (_database, mut db, topic) = with_topic(3).await;
    let keyed: Vec<NewRecord> = (0..30).map(|n| text("v").key(format!("key {n}"))).collect();
    for (placed, record) in produce(&mut db, "events", &keyed).await.unwrap().iter().zip(&keyed) {
        assert_eq!(placed.partition, partition_of(record.key.as_deref().unwrap(), 3));
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let placed = append(&mut db, &["a", "b"]).await;
        assert_eq!(placed[0].partition, placed[1].partition, "what is sent at once stays together");
        seen.insert(placed[0].partition);
    }
    assert!(seen.len() >= 2, "others may produce at the same time, but not always: {seen:?}");
    let named = NewRecord { partition: Some(2), ..text("v").key("key 0") };
    assert_eq!(produce(&mut db, "events", &[named]).await.unwrap()[0].partition, 2);
    let total: i64 = list_partitions(&mut db, &topic).await.unwrap().iter().map(|p| p.next_offset).sum();
    assert_eq!(total, 37);
}

#[tokio::test]
async fn what_cannot_be_appended_is_refused_and_nothing_is_written() {
    let (_database, mut db, topic) = with_topic(2).await;
    let wrong = |nth, partition| NewRecord { partition: Some(partition), ..text(if nth == 0 { "a" } else { "b" }) };
    let refused = produce(&mut db, "events", &[text("fine"), wrong(1, 2)]).await.unwrap_err();
    let expected = "topic `events` has 2 partitions, numbered from 0: record 1 names partition 2";
    assert_eq!(refused.to_string(), expected);
    assert!(produce(&mut db, "events", &[wrong(0, -1)]).await.is_err());
    let large = NewRecord { value: Some(vec![b'x'; MOST_RECORD_BYTES + 1]), ..NewRecord::default() };
    assert!(matches!(produce(&mut db, "events", &[large]).await, Err(ProduceError::TooLarge { nth: 0, .. })));
    let missing = produce(&mut db, "nowhere", &[text("a")]).await.unwrap_err().to_string();
    assert_eq!(missing, "there is no topic `nowhere`\nhint: create it with `orch topics create nowhere`");
    assert!(list_partitions(&mut db, &topic).await.unwrap().iter().all(|p| p.next_offset == 0));
}

fn gives_up(writer: usize, round: usize) -> bool {
    (writer + round).is_multiple_of(3)
}

/// A rolled-back writer returns its offsets, and the next writer waits until the current one commits. Records therefore
/// never appear below an offset that a reader has seen.
#[tokio::test]
async fn offsets_have_no_gaps_and_come_in_the_order_of_commits() {
    const WRITERS: usize = 6;
    const ROUNDS: usize = 25;
    let (database, mut db, topic) = with_topic(2).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let mut db = one(&database).await;
        writers.spawn(async move {
            for round in 0..ROUNDS {
                let mut tx = db.begin().await.unwrap();
                // A single statement writes to both partitions, and locks them in a fixed order.
                let to = |partition| NewRecord { partition: Some(partition), ..text(&format!("{writer}.{round}")) };
                produce(&mut tx, "events", &[to(1), to(0), to(1)]).await.unwrap();
                if gives_up(writer, round) { tx.rollback().await.unwrap() } else { tx.commit().await.unwrap() }
            }
        });
    }
    let mut seen: Vec<RecordRow> = Vec::new();
    loop {
        let is_over = writers.is_empty();
        let now = all(&mut db, &topic, 1).await;
        assert_eq!(now[..seen.len().min(now.len())], seen, "what was read once stays, and nothing comes before it");
        assert!(now.len() >= seen.len());
        assert!(now.iter().enumerate().all(|(n, record)| record.offset == n as i64), "no gap");
        assert!(now.windows(2).all(|two| two[0].at <= two[1].at), "moments never go back");
        seen = now;
        if is_over {
            break;
        }
        while let Some(done) = writers.try_join_next() {
            done.unwrap();
        }
    }
    let committed = (0..WRITERS * ROUNDS).filter(|n| !gives_up(n / ROUNDS, n % ROUNDS)).count();
    assert_eq!(seen.len(), 2 * committed);
    assert_eq!(all(&mut db, &topic, 0).await.len(), committed);
}

#[tokio::test]
async fn a_read_brings_what_fits_and_one_record_at_least() {
    let (_database, mut db, topic) = with_topic(1).await;
    append(&mut db, &["12345", "12345", "12345", "1234567890"]).await;
    let read = async |db: &mut PgConnection, offset, most, most_bytes| {
        let from = ReadFrom { partition: 0, offset, most, most_bytes };
        read_records(db, &topic, from).await.unwrap().iter().map(|r| r.offset).collect::<Vec<_>>()
    };
    assert_eq!(read(&mut db, 0, 100, 10).await, [0, 1]);
    assert_eq!(read(&mut db, 3, 100, 1).await, [3], "one that is larger is read alone");
    assert_eq!(read(&mut db, 1, 2, 1_000).await, [1, 2]);
    assert!(read(&mut db, 4, 100, 1_000).await.is_empty());
    assert_eq!(newest_offset(&mut db, &topic, 0, 3).await.unwrap(), 1);
    assert_eq!(newest_offset(&mut db, &topic, 0, 100).await.unwrap(), 0);
}

/// Sets the age of all records: record n becomes `seconds[n]` seconds old.
async fn age(db: &mut PgConnection, seconds: &[i64]) {
    for (offset, seconds) in seconds.iter().enumerate() {
        sqlx::query("update topic_record set at = now() - $2 * interval '1 second' where record_offset = $1")
            .bind(offset as i64)
            .bind(seconds)
            .execute(&mut *db)
            .await
            .expect("it is set");
    }
}

async fn ago(db: &mut PgConnection, seconds: i64) -> DateTime<Utc> {
    let moment = sqlx::query_scalar("select now() - $1 * interval '1 second'").bind(seconds);
    moment.fetch_one(db).await.expect("a moment")
}

#[tokio::test]
async fn an_offset_is_found_by_its_moment() {
    let (_database, mut db, topic) = with_topic(1).await;
    let at = ago(&mut db, 0).await;
    assert_eq!(offset_at(&mut db, &topic, 0, at).await.unwrap(), 0, "nothing was ever written");
    append(&mut db, &["a", "b", "c", "d", "e"]).await;
    age(&mut db, &[500, 400, 400, 200, 100]).await;
    for (seconds, offset) in [(600, 0), (450, 1), (300, 3), (150, 4), (50, 5)] {
        let at = ago(&mut db, seconds).await;
        assert_eq!(offset_at(&mut db, &topic, 0, at).await.unwrap(), offset, "{seconds} seconds ago");
    }
}

#[tokio::test]
async fn old_records_go_and_offsets_stay() {
    let (_database, mut db, topic) = with_topic(1).await;
    append(&mut db, &["a", "b", "c", "d"]).await;
    age(&mut db, &[7 * 86_400 + 60, 7 * 86_400 + 30, 60, 30]).await;
    assert_eq!(drop_old_records(&mut db).await.unwrap(), 2);
    let partition = list_partitions(&mut db, &topic).await.unwrap().remove(0);
    assert_eq!((partition.first_offset, partition.next_offset), (2, 4));
    assert_eq!(values(&all(&mut db, &topic, 0).await), ["c", "d"]);
    let long_ago = ago(&mut db, 900_000).await;
    assert_eq!(offset_at(&mut db, &topic, 0, long_ago).await.unwrap(), 2);
    assert_eq!(append(&mut db, &["e"]).await[0].offset, 4);

    sqlx::query("update topic set retention_hours = -1").execute(&mut db).await.unwrap();
    age(&mut db, &[0, 0, 9_000_000]).await;
    assert_eq!(drop_old_records(&mut db).await.unwrap(), 0, "these are kept for ever");
}

#[tokio::test]
async fn large_old_records_go_in_statements_bounded_in_bytes_and_partitions_fail_alone() {
    let (_database, mut db, topic) = with_topic(2).await;
    // Simulate statement timeouts with a trigger. Records of partition 0 cannot be deleted at all.
    let refuse = "create function refuse() returns trigger language plpgsql as $$ begin
            if (select sum(octet_length(value)) from gone) > 40000000 then
                raise exception 'too slow' using errcode = 'query_canceled';
            end if;
            if exists (select from gone where partition = 0) then
                raise exception 'broken';
            end if;
            return null;
        end $$;
        create trigger refuse after delete on topic_record referencing old table as gone
            for each statement execute function refuse();";
    sqlx::raw_sql(refuse).execute(&mut db).await.unwrap();
    let to = |partition, value: Vec<u8>| NewRecord { partition: Some(partition), value: Some(value), ..text("") };
    produce(&mut db, "events", &[to(0, b"stays".to_vec())]).await.unwrap();
    for _ in 0..10 {
        let five: Vec<NewRecord> = (0..5).map(|_| to(1, vec![7; 1_000_000])).collect();
        produce(&mut db, "events", &five).await.unwrap();
    }
    sqlx::query("update topic_record set at = now() - interval '8 days'").execute(&mut db).await.unwrap();
    let ended = drop_old_records(&mut db).await;
    assert!(ended.as_ref().is_err_and(|error| error.in_full().contains("broken")), "{ended:?}");
    let found = list_partitions(&mut db, &topic).await.unwrap();
    assert_eq!(found.iter().map(|p| (p.first_offset, p.next_offset)).collect::<Vec<_>>(), [(0, 1), (50, 50)]);
    assert_eq!(number(&mut db, "select count(*) from topic_record").await, 1);
}

#[tokio::test]
async fn a_deleted_topic_leaves_nothing_to_one_of_the_same_name() {
    let (_database, mut db, topic) = with_topic(1).await;
    append(&mut db, &["old"]).await;
    sqlx::query("delete from topic").execute(&mut db).await.unwrap();
    sqlx::query("insert into topic (name) values ('events')").execute(&mut db).await.unwrap();
    let again = get_topic(&mut db, "events").await.unwrap().unwrap();
    assert_ne!(again.no, topic.no);
    assert!(all(&mut db, &again, 0).await.is_empty());
    assert_eq!(append(&mut db, &["new"]).await[0].offset, 0);
    assert_eq!(drop_old_records(&mut db).await.unwrap(), 1);
    assert_eq!(values(&all(&mut db, &again, 0).await), ["new"]);
    assert_eq!(number(&mut db, "select count(*) from topic_partition").await, 1);
    let expected = PartitionRow { partition: 0, first_offset: 0, next_offset: 1, last_at: None };
    let found = list_partitions(&mut db, &again).await.unwrap().remove(0);
    assert_eq!(PartitionRow { last_at: None, ..found }, expected);
}
