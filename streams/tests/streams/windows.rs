//! Time windows, and tables in Postgres.

use crate::world::{COMMIT, WAREHOUSE, World, named, readings, stream, text, world};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use iceberg::spec::PrimitiveType;
use orch_lake::TableDef;
use orch_store::stream::{Reset, ResetTo, StreamState, reset_stream};
use orch_streams::{CommitAt, Stream, Windows};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// Readings with a timestamp: `{"id": 7, "city": "c0", "at": "2026-01-01T00:00:07Z"}`.
fn timed() -> Stream {
    let at = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let record = [
        Field::new("id", DataType::Int64, false),
        Field::new("city", DataType::Utf8, true),
        Field::new("at", at, true),
    ];
    stream().json(Schema::new(record.to_vec()))
}

/// Produces one reading per second. Each partition has its seconds in another order, out of order by at most 20 s.
pub(crate) async fn produce_timed(world: &World, ids: std::ops::Range<i64>) {
    let records: Vec<_> = ids.map(|id| text(&reading(id, moment(id)), id)).collect();
    world.produce(&records).await;
}

fn moment(id: i64) -> i64 {
    id / 10 * 10 + (id * 7) % 10
}

fn reading(id: i64, second: i64) -> String {
    let at = chrono::DateTime::from_timestamp(1_767_225_600 + second, 0).expect("a moment");
    format!(r#"{{"id":{id},"city":"c{}","at":"{}"}}"#, id % 3, at.to_rfc3339())
}

/// Returns the expected windows of these ids, one line per city and minute: `city minute count sum`.
pub(crate) fn by_minute(ids: std::ops::Range<i64>) -> String {
    let mut windows: BTreeMap<(String, i64), (i64, i64)> = BTreeMap::new();
    for id in ids {
        let window = windows.entry((format!("c{}", id % 3), moment(id) / 60)).or_default();
        *window = (window.0 + 1, window.1 + id);
    }
    let mut lines = String::new();
    for ((city, minute), (many, sum)) in windows {
        writeln!(lines, "{city} {minute} {many} {sum}").expect("it is written");
    }
    lines
}

async fn minutes(world: &World) -> String {
    let lines = "select coalesce(string_agg(format(e'%s %s %s %s\\n', city, (extract(epoch from window_start) - 1767225600)::bigint / 60, n, total),
      '' order by city, window_start), '') from mart.readings";
    sqlx::query_scalar(lines).fetch_one(&mut world.db().await).await.expect("there is a table")
}

/// Number of readings and sum of their ids per city and minute.
pub(crate) fn of_minutes() -> Stream {
    let windows = Windows::tumbling(Duration::from_mins(1)).by(&["city"]).at("at").allow_late(Duration::from_mins(1));
    timed().windows(windows.count("n").sum("id", "total"))
}

fn minutes_in_postgres() -> Stream {
    of_minutes().upsert_postgres(WAREHOUSE, "mart.readings", &["city", "window_start"], None)
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_in_postgres_have_each_record_once_whatever_breaks() {
    let world = world().await;
    let records = world.break_while(&minutes_in_postgres(), produce_timed).await;
    assert_eq!(minutes(&world).await, by_minute(0..records));
    let mut db = world.db().await;
    let open: i64 = sqlx::query_scalar("select count(*) from stream_window").fetch_one(&mut db).await.unwrap();
    assert!((1..=15).contains(&open), "windows that are closed are forgotten: {open} are known");
    // A replay of the topic from its start has the same result.
    let host = world.host(&minutes_in_postgres());
    let to = Reset { partition: None, to: ResetTo::Earliest, empty_table: false };
    reset_stream(&mut db, "readings", &to).await.unwrap();
    world.steered();
    world.until(|row| row.records == 2 * records).await;
    assert_eq!(minutes(&world).await, by_minute(0..records));
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_in_postgres_once_whatever_breaks() {
    let world = world().await;
    let stream = readings().append_postgres(WAREHOUSE, "mart.readings");
    let records = world.break_while(&stream, World::produce_ids).await;
    let ids: Vec<i64> =
        sqlx::query_scalar("select id from mart.readings order by id").fetch_all(&mut world.db().await).await.unwrap();
    assert_eq!(ids, (0..records).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_too_late_goes_to_quarantine() {
    let world = world().await;
    world.topic().await;
    let host = world.host(&minutes_in_postgres());
    let seconds = [(0, 5), (1, 130), (2, 59), (3, 200), (4, 7)];
    let records: Vec<_> = seconds.iter().map(|(id, second)| text(&reading(3 * id, *second), 0)).collect();
    world.produce(&records).await;
    let row = world.until(|row| row.records == 5).await;
    assert_eq!((row.quarantined, row.failures), (2, 0));
    assert_eq!(minutes(&world).await, "c0 0 1 0\nc0 2 1 3\nc0 3 1 9\n");
    let late: Vec<(i64, String)> =
        sqlx::query_as("select \"offset\", quarantine_reason from mart.readings_quarantine order by \"offset\"")
            .fetch_all(&mut world.db().await)
            .await
            .unwrap();
    assert_eq!(late.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [2, 4]);
    assert!(late[0].1.starts_with("it is late: its window ended at 2026-01-01T00:01:00Z"), "{late:?}");
    host.end().await;
}

/// A reader may return all records of one partition before the first record of the next partition.
#[tokio::test(flavor = "multi_thread")]
async fn windows_wait_for_partitions_that_have_records_to_read() {
    let world = world().await;
    world.topic().await;
    let commit = CommitAt { records: 100, ..CommitAt::default() };
    let host = world.host(&minutes_in_postgres().commit_at(commit));
    world.until(|row| row.is_leased && row.partitions == 2).await;
    // Both partitions have the same seconds.
    let records: Vec<_> = (0..2_000).map(|id| text(&reading(id, id % 1_000), id / 1_000)).collect();
    world.produce(&records).await;
    let row = world.until(|row| row.records == 2_000).await;
    assert_eq!((row.quarantined, row.failures), (0, 0), "{:?}", row.error);
    let sums = "select sum(n)::bigint, sum(total)::bigint from mart.readings";
    let sums: (i64, i64) = sqlx::query_as(sums).fetch_one(&mut world.db().await).await.unwrap();
    assert_eq!(sums, (2_000, 1_999_000));
    host.end().await;
}

/// A visit is a session window: readings of a city without a gap of ten seconds.
fn visits() -> Stream {
    let table = TableDef::new()
        .required("city", PrimitiveType::String)
        .required("window_start", PrimitiveType::Timestamptz)
        .required("window_end", PrimitiveType::Timestamptz)
        .optional("n", PrimitiveType::Long)
        .key(["city", "window_start"]);
    let windows = Windows::session(Duration::from_secs(10)).by(&["city"]).at("at").allow_late(Duration::from_mins(5));
    timed().windows(windows.count("n")).upsert(named("test.readings"), table, &["city", "window_start"], None)
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_grow_together_when_a_record_joins_them() {
    let world = world().await;
    world.topic().await;
    let host = world.host(&visits());
    let produce = async |seconds: &[i64]| {
        let records: Vec<_> = seconds.iter().map(|second| text(&reading(0, *second), 0)).collect();
        world.produce(&records).await;
    };
    let lines = async || {
        let lines = world.lines("test.readings", &["window_start", "window_end", "n"]).await;
        lines.iter().map(|line| line.replace("2026-01-01T00:", "")).collect::<Vec<_>>()
    };
    produce(&[0, 4, 16, 60]).await;
    world.until(|row| row.records == 4).await;
    assert_eq!(lines().await, ["00:00Z 00:14Z 2", "00:16Z 00:26Z 1", "01:00Z 01:10Z 1"]);
    produce(&[9]).await;
    world.until(|row| row.records == 5).await;
    assert_eq!(lines().await, ["00:00Z 00:26Z 4", "01:00Z 01:10Z 1"]);
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_put_back_is_noticed() {
    let world = world().await;
    world.topic().await;
    let host = world.host(&readings().append_postgres(WAREHOUSE, "mart.readings"));
    world.produce_ids(0..10).await;
    world.until(|row| row.records == 10).await;
    // Simulates a restored backup of the table that is older than the stream.
    let mut db = world.db().await;
    sqlx::query("delete from mart.readings where id >= 4").execute(&mut db).await.unwrap();
    sqlx::query(r#"update mart.orch_stream set offsets = '{"0": 2, "1": 2}'"#).execute(&mut db).await.unwrap();
    world.produce_ids(10..20).await;
    let row = world.until(|row| row.state() == StreamState::Failed).await;
    let error = row.error.unwrap();
    assert!(error.contains("restored from a backup") && error.contains("--to-offset 2"), "{error}");
    for partition in [0, 1] {
        let to = Reset { partition: Some(partition), to: ResetTo::Offset(2), empty_table: false };
        reset_stream(&mut db, "readings", &to).await.unwrap();
        world.steered();
        world.until(|row| row.reset_to.is_none() && (partition == 0 || row.lag == 0)).await;
    }
    let ids: Vec<i64> =
        sqlx::query_scalar("select id from mart.readings order by id").fetch_all(&mut db).await.unwrap();
    assert_eq!(ids, (0..20).collect::<Vec<_>>());
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_another_stream_keeps_is_not_touched() {
    let world = world().await;
    world.topic().await;
    let stream = readings().append_postgres(WAREHOUSE, "mart.readings").commit_every(COMMIT);
    let host = world.host(&stream);
    world.produce_ids(0..10).await;
    world.until(|row| row.records == 10).await;
    host.end().await;
    // A stream that was deleted and declared again has the same name but is a different stream.
    let mut db = world.db().await;
    sqlx::query("delete from stream").execute(&mut db).await.unwrap();
    let host = world.host(&stream);
    let row = world.until(|row| row.state() == StreamState::Failed).await;
    let error = row.error.unwrap();
    assert!(error.contains("kept by another stream") && error.contains("--empty-table"), "{error}");
    let to = Reset { partition: None, to: ResetTo::Earliest, empty_table: true };
    reset_stream(&mut db, "readings", &to).await.unwrap();
    world.steered();
    world.until(|row| row.records == 10).await;
    let many: i64 = sqlx::query_scalar("select count(*) from mart.readings").fetch_one(&mut db).await.unwrap();
    assert_eq!(many, 10);
    host.end().await;
}
