//! Each record is in the table exactly once, after any interruption.

use crate::world::{Elsewhere, WAREHOUSE, World, named, readings, stream, text, world};
use arrow::datatypes::{DataType, Field, Schema};
use iceberg::spec::PrimitiveType;
use orch_lake::TableDef;
use orch_lake::table::At;
use orch_store::topic::NewRecord;
use orch_streams::{CommitAt, Stream};
use orch_test_support::proxy::{Cut, Proxy, Statement};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn records_come_to_the_table_in_the_order_of_their_partitions() {
    let world = world().await;
    let host = world.host(&readings());
    world.until(|row| row.is_leased).await;
    world.topic().await;
    world.produce_ids(0..1_000).await;
    let row = world.until(|row| row.records == 1_000).await;
    assert_eq!((row.lag, row.partitions, row.quarantined, row.failures), (0, 2, 0, 0));
    assert!(row.last_record_at.is_some() && row.last_commit_at.is_some());
    assert_eq!(world.ids().await, (0..1_000).collect::<Vec<_>>());
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_is_there_once_whatever_breaks() {
    whatever_breaks(world().await, &readings()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_is_there_once_whatever_breaks_of_a_stream_in_shares() {
    whatever_breaks(world().await, &readings().shares(2)).await;
}

/// None of the records is lost or duplicated, and the snapshots cover the offsets without a gap.
pub(crate) async fn whatever_breaks(world: World, stream: &Stream) {
    let records = world.break_while(stream, World::produce_ids).await;
    assert_eq!(world.ids().await, (0..records).collect::<Vec<_>>());
    assert_covered(&world, records).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_is_there_once_when_answers_to_commits_are_lost() {
    answers_are_lost(world().await, &readings(), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_is_there_once_when_answers_to_a_stream_in_shares_are_lost() {
    // A batch takes twice as many transactions as without shares.
    answers_are_lost(world().await, &readings().shares(2), 4).await;
}

/// A stream whose commit gets no response cannot know whether it succeeded. It restarts at the offset in the database.
pub(crate) async fn answers_are_lost(mut world: World, stream: &Stream, one_in: usize) {
    const LOTS: i64 = 40;
    const LOT: i64 = 20;
    world.topic().await;
    world.cut_one_in(one_in).await;
    let host = world.host(stream);
    for lot in 1..=LOTS {
        world.produce_ids((lot - 1) * LOT..lot * LOT).await;
        let published = world.until_so(async |world: &World| {
            let row = world.row().await?;
            if row.retry_at.is_some() {
                world.try_again().await;
            }
            (row.records >= lot * LOT).then_some(row)
        });
        assert_eq!(published.await.records, lot * LOT, "what the stream counts");
    }
    host.end().await;
    // The catalog in another database swaps the metadata with a statement outside of a transaction.
    let catalog = match &world.elsewhere {
        Some(Elsewhere::Database(_, proxy)) => proxy.as_ref(),
        _ => None,
    };
    let proxies = [(world.proxy.as_ref(), Statement::Commit), (catalog, Statement::Other)];
    for (proxy, statement) in proxies {
        let Some(cuts) = proxy.map(Proxy::cuts) else { continue };
        for cut in [Cut::Before, Cut::After] {
            let commits = cuts.get(&(statement, cut)).copied().unwrap_or_default();
            assert!(commits >= 5, "too few commits were cut: {cuts:?}");
        }
    }
    assert_eq!(world.ids().await, (0..LOTS * LOT).collect::<Vec<_>>());
    assert_covered(&world, LOTS * LOT).await;
}

/// Checks in the history of the table that the offset ranges are contiguous and cover all records.
async fn assert_covered(world: &World, records: i64) {
    let table = world.lake().table(&named("test.readings")).await.expect("it is there");
    let mut next: BTreeMap<String, i64> = BTreeMap::new();
    let mut snapshots = table.snapshots();
    snapshots.sort_by_key(|snapshot| snapshot.sequence_number());
    for snapshot in snapshots {
        let summary = &snapshot.summary().additional_properties;
        let Some(offsets) = summary.get("orch.stream.readings.offsets") else { continue };
        let offsets: BTreeMap<String, Value> = serde_json::from_str(offsets).expect("it is there");
        for (partition, range) in offsets {
            let place = next.entry(partition.clone()).or_insert(0);
            assert_eq!(range["from"], *place, "partition {partition}: a hole, or an overlap");
            *place = range["to"].as_i64().expect("it is there");
        }
    }
    assert_eq!(next.values().sum::<i64>(), records);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_row_goes_to_quarantine_with_where_it_was() {
    poison(world().await, &readings()).await;
    poison(world().await, &readings().shares(2)).await;
}

pub(crate) async fn poison(world: World, stream: &Stream) {
    world.topic().await;
    let poison = [r#"{"id":"x"}"#, "\0", r#"{"id":1,"more":true}"#, "[]", r#"{"city":"no id"}"#];
    let mut records = vec![text(r#"{"id":1,"city":"first"}"#, 0)];
    records.extend(poison.iter().map(|value| text(value, 0)));
    records.push(text(r#"{"id":2,"city":"last"}"#, 0));
    world.produce(&records).await;
    let host = world.host(stream);
    let row = world.until(|row| row.records == 7).await;
    assert_eq!((row.quarantined, row.failures), (5, 0));
    assert_eq!(world.ids().await, [1, 2]);
    let aside = world.lines("test.readings_quarantine", &["topic", "partition", "offset", "value"]).await;
    let expected: Vec<String> = (1..)
        .zip(poison)
        .map(|(offset, value)| format!("readings 0 {offset} {}", value.replace('\0', "\u{fffd}")))
        .collect();
    assert_eq!(aside, expected);
    let reasons = world.lines("test.readings_quarantine", &["quarantine_reason"]).await;
    assert!(reasons.iter().all(|reason| reason.len() > 5), "{reasons:?}");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_a_key_has_the_newest_row_of_each() {
    let world = world().await;
    world.topic().await;
    let fields = [("id", DataType::Utf8), ("age", DataType::Int64), ("name", DataType::Utf8)];
    let fields = fields.map(|(name, data)| Field::new(name, data, true));
    let table = TableDef::new()
        .required("id", PrimitiveType::String)
        .optional("age", PrimitiveType::Long)
        .optional("name", PrimitiveType::String)
        .key(["id"]);
    let users = stream().json(Schema::new(fields.to_vec())).numbers_as_text().upsert(
        named("test.readings"),
        table,
        &["id"],
        Some("age"),
    );
    let host = world.host(&users);
    let user = |id: &str, age: &str, name: &str| text(&format!(r#"{{"id":{id},"age":{age},"name":"{name}"}}"#), 0);
    world
        .produce(&[
            user("1", "5", "old"),
            user(r#""1""#, "7", "newest"),
            user("1", "6", "late"),
            user("2", "null", "undated"),
            user("3", "1", "stays"),
            user("null", "1", "nobody"),
        ])
        .await;
    world.until(|row| row.records == 6).await;
    let lines = || world.lines("test.readings", &["id", "age", "name"]);
    assert_eq!(lines().await, ["1 7 newest", "2 - undated", "3 1 stays"]);
    // Compared with the stored row: a smaller value loses, an equal one that comes later wins, and any value beats
    // null.
    world
        .produce(&[user("1", "6", "older"), user("2", "0", "dated"), user("3", "1", "same"), user("4", "9", "new")])
        .await;
    let row = world.until(|row| row.records == 10).await;
    assert_eq!(lines().await, ["1 7 newest", "2 0 dated", "3 1 same", "4 9 new"]);
    assert_eq!(row.quarantined, 1);
    host.end().await;
}

/// Users by id with the greatest age of each, in the lake and in Postgres.
pub(crate) fn users_that_may_go() -> [Stream; 2] {
    let fields = [Field::new("id", DataType::Utf8, true), Field::new("age", DataType::Int64, true)];
    let users = stream().json(Schema::new(fields.to_vec())).delete_on_tombstone();
    let table = TableDef::new().required("id", PrimitiveType::String).optional("age", PrimitiveType::Long).key(["id"]);
    let lake = users.clone().upsert(named("test.readings"), table, &["id"], Some("age"));
    [lake, users.upsert_postgres(WAREHOUSE, "mart.readings", &["id"], Some("age"))]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_deletes_the_row_of_its_key() {
    let [lake, postgres] = users_that_may_go();
    let in_lake = async |world: &World| world.lines("test.readings", &["id", "age"]).await;
    tombstones(world().await, &lake, in_lake).await;
    let in_postgres = async |world: &World| {
        let lines = sqlx::query_scalar("select id || ' ' || age from mart.readings order by id");
        lines.fetch_all(&mut world.db().await).await.expect("there is a table")
    };
    tombstones(world().await, &postgres, in_postgres).await;
}

pub(crate) async fn tombstones(world: World, users: &Stream, lines: impl AsyncFn(&World) -> Vec<String>) {
    world.topic().await;
    let host = world.host(users);
    let user = |id: i64, age: i64| text(&format!(r#"{{"id":"{id}","age":{age}}}"#), 0);
    let tombstone = |key: Option<&str>| {
        let record = NewRecord { partition: Some(0), ..NewRecord::default() };
        key.map_or_else(|| record.clone(), |key| record.clone().key(key))
    };
    world.produce(&[user(1, 5), user(2, 7), user(3, 1), user(5, 5)]).await;
    world.until(|row| row.records == 4).await;
    // A record after a tombstone is a new row, however old it is.
    world
        .produce(&[
            tombstone(Some("1")),
            user(1, 2),
            user(2, 9),
            tombstone(Some("2")),
            tombstone(Some("4")),
            user(5, 4),
            tombstone(None),
        ])
        .await;
    let row = world.until(|row| row.records == 11).await;
    assert_eq!((row.quarantined, row.failures), (1, 0), "{:?}", row.error);
    // A batch that contains only tombstones.
    world.produce(&[tombstone(Some("3"))]).await;
    world.until(|row| row.records == 12).await;
    assert_eq!(lines(&world).await, ["1 2", "5 5"]);
    host.end().await;
}

/// Number of consecutive commits. Long tests use as many as one per second for a day.
#[expect(clippy::disallowed_methods, reason = "it says how long a test takes")]
fn commits() -> i64 {
    if std::env::var_os("ORCH_TEST_LONG").is_some() { 86_400 } else { 2_000 }
}

/// Each commit has two records, and the next follows immediately. Maintenance runs concurrently and must keep up: the
/// numbers of files, manifests and snapshots stay small, and the last commits take no longer than the first.
#[tokio::test(flavor = "multi_thread")]
async fn many_small_commits_leave_few_files_and_take_no_longer() {
    const STEP: i64 = 100;
    let world = world().await;
    world.topic().await;
    let each = CommitAt { every: Duration::ZERO, records: 2, ..CommitAt::default() };
    let host = world.host(&readings().commit_at(each));
    let mut steps = Vec::new();
    for step in 0..commits() / STEP {
        let begun = Instant::now();
        world.produce_ids(step * 2 * STEP..(step + 1) * 2 * STEP).await;
        world.until(|row| row.records == (step + 1) * 2 * STEP).await;
        steps.push(begun.elapsed());
        let table = world.lake().table(&named("test.readings")).await.unwrap();
        let files = table.files(&At::Now).await.unwrap().files.len();
        let snapshot = table.current_snapshot().expect("it has rows");
        let list = table.iceberg().manifest_list_reader(snapshot).load().await.unwrap();
        let (manifests, snapshots) = (list.entries().len(), table.snapshots().len());
        assert!(
            files < 1_000 && manifests < 250 && snapshots < 1_000,
            "{files} files, {manifests} manifests, {snapshots} snapshots"
        );
    }
    let row = world.row().await.unwrap();
    assert!(row.commits >= commits(), "{} commits", row.commits);
    host.end().await;
    let (first, last) = steps.split_at(steps.len() / 2);
    let (first, last) = (median(first), median(last));
    assert!(last < first * 2, "{STEP} commits took {first:?} in the first half, and {last:?} in the second");
    assert_eq!(world.ids().await, (0..commits() * 2).collect::<Vec<_>>());
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}
