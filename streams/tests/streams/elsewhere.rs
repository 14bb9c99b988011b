//! Streams into a lake whose catalog is outside of orch's database: in another Postgres, or on a server over HTTP.

use crate::once::{answers_are_lost, poison, tombstones, users_that_may_go, whatever_breaks};
use crate::steer::{reads_again, reset};
use crate::windows::{by_minute, of_minutes, produce_timed};
use crate::world::{World, named, readings, text, world};
use iceberg::spec::PrimitiveType;
use orch_lake::TableDef;
use orch_lake::table::evolve::Properties;
use orch_store::stream::{ResetTo, StreamState};
use serde_json::{Value, json};

const READ: &str = "orch.stream.readings.read";

async fn elsewhere() -> World {
    world().await.with_catalog_elsewhere().await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_is_there_once_whatever_breaks() {
    whatever_breaks(elsewhere().await, &readings()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_is_there_once_whatever_breaks_of_a_catalog_over_http() {
    whatever_breaks(world().await.with_catalog_over_http().await, &readings()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_is_there_once_when_answers_to_commits_are_lost() {
    answers_are_lost(elsewhere().await, &readings(), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_row_goes_to_quarantine_with_where_it_was() {
    poison(elsewhere().await, &readings()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_deletes_the_row_of_its_key() {
    let [users, _] = users_that_may_go();
    let lines = async |world: &World| world.lines("test.readings", &["id", "age"]).await;
    tombstones(elsewhere().await, &users, lines).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_reads_again_and_can_build_the_table_anew() {
    reads_again(elsewhere().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_have_each_record_once_whatever_breaks() {
    let world = elsewhere().await;
    let table = TableDef::new()
        .required("city", PrimitiveType::String)
        .required("window_start", PrimitiveType::Timestamptz)
        .required("window_end", PrimitiveType::Timestamptz)
        .optional("n", PrimitiveType::Long)
        .optional("total", PrimitiveType::Long)
        .key(["city", "window_start"]);
    let stream = of_minutes().upsert(named("test.readings"), table, &["city", "window_start"], None);
    let records = world.break_while(&stream, produce_timed).await;
    let mut lines = world.lines("test.readings", &["city", "window_start", "n", "total"]).await;
    let mut expected: Vec<String> = by_minute(0..records)
        .lines()
        .map(|line| {
            let [city, minute, rest] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let minute: u32 = minute.parse().expect("a number");
            format!("{city} 2026-01-01T{:02}:{:02}:00Z {rest}", minute / 60, minute % 60)
        })
        .collect();
    lines.sort();
    expected.sort();
    assert_eq!(lines, expected);
}

/// Returns the read position in the topic that the table's properties contain.
async fn read(world: &World) -> Value {
    let table = world.lake().table(&named("test.readings")).await.expect("it is there");
    serde_json::from_str(table.property(READ).expect("the stream has claimed it")).expect("it is JSON")
}

async fn set_read(world: &World, to: &Value) {
    let set = Properties::new().set(READ, to.to_string());
    world.lake().evolve(&named("test.readings"), set).await.expect("it is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_has_lost_the_table_publishes_nothing() {
    let world = elsewhere().await;
    world.topic().await;
    let host = world.host(&readings());
    world.produce_ids(0..10).await;
    let row = world.until(|row| row.records == 10).await;
    let before = read(&world).await;
    assert_eq!((&before["epoch"], &before["next"]), (&json!(row.epoch), &json!({"0": 5, "1": 5})));
    // Simulates another process that has claimed the table without orch's database.
    let mut taken = before.clone();
    taken["epoch"] = json!(1_000_000);
    set_read(&world, &taken).await;
    world.produce_ids(10..20).await;
    // The stream neither publishes with its old epoch nor starts with a lower one.
    let row = world.until(|now| now.epoch > row.epoch + 1).await;
    assert_eq!((row.records, world.ids().await.len()), (10, 10));
    set_read(&world, &before).await;
    world.until(|row| row.records == 20).await;
    assert_eq!(world.ids().await, (0..20).collect::<Vec<_>>());
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_was_put_back_is_noticed() {
    let world = elsewhere().await;
    world.topic().await;
    let host = world.host(&readings());
    world.produce_ids(0..10).await;
    // A batch without rows also moves the position of the table.
    world.produce(&[text("[]", 0)]).await;
    world.until(|row| row.records == 11).await;
    let mut back = read(&world).await;
    assert_eq!(back["next"], json!({"0": 6, "1": 5}));
    back["next"] = json!({"0": 5, "1": 5});
    set_read(&world, &back).await;
    world.produce_ids(10..12).await;
    let row = world.until(|row| row.state() == StreamState::Failed).await;
    let error = row.error.unwrap();
    assert!(error.contains("restored from a backup") && error.contains("--to-offset 5 --partition 0"), "{error}");
    reset(&world, ResetTo::Earliest, true).await;
    world.until(|row| row.records == 11 + 13).await;
    assert_eq!(world.ids().await, (0..12).collect::<Vec<_>>());
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_another_stream_keeps_is_not_touched() {
    let world = elsewhere().await;
    world.topic().await;
    let host = world.host(&readings());
    world.produce_ids(0..10).await;
    world.until(|row| row.records == 10).await;
    host.end().await;
    // A stream that was deleted and declared again has the same name but is a different stream.
    sqlx::query("delete from stream").execute(&mut world.db().await).await.unwrap();
    let host = world.host(&readings());
    let row = world.until(|row| row.state() == StreamState::Failed).await;
    let error = row.error.unwrap();
    assert!(error.contains("kept by another stream") && error.contains("--empty-table"), "{error}");
    assert_eq!(world.ids().await.len(), 10);
    reset(&world, ResetTo::Earliest, true).await;
    world.until(|row| row.records == 10).await;
    assert_eq!(world.ids().await, (0..10).collect::<Vec<_>>());
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_do_not_write_into_it() {
    let world = elsewhere().await;
    world.topic().await;
    let host = world.host(&readings().shares(2));
    let row = world.until(|row| row.state() == StreamState::Failed).await;
    let error = row.error.unwrap();
    assert!(error.contains("is read by several processes") && error.contains("hint: "), "{error}");
    assert!(row.waits_for_restart);
    host.end().await;
}
