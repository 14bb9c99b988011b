//! Several processes read one stream in parallel.

use crate::world::{World, named, readings, world};
use iceberg::spec::PrimitiveType;
use orch_lake::TableDef;
use orch_lake::contract::{Contract, Policy};
use orch_store::stream::partitions_of_stream;
use std::collections::BTreeSet;

/// Waits until `processes` processes read the two partitions. Returns their names.
async fn until_read_by(world: &World, processes: usize) -> BTreeSet<String> {
    let by = async |world: &World| {
        let partitions = partitions_of_stream(&mut world.db().await, "readings").await.expect("they are read");
        let by: Vec<String> = partitions.into_iter().filter_map(|one| one.process).collect();
        let different: BTreeSet<String> = by.iter().cloned().collect();
        (by.len() == 2 && different.len() == processes).then_some(different)
    };
    world.until_so(by).await
}

async fn in_shares() -> World {
    let world = world().await;
    sqlx::raw_sql(
        "create trigger tell after insert or update on stream_share for each statement execute function tell()",
    )
    .execute(&mut world.db().await)
    .await
    .expect("the trigger is made");
    world.topic().await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_are_spread_over_the_processes_that_are_there() {
    let world = in_shares().await;
    let stream = readings().shares(2);
    let first = world.host(&stream);
    let alone = until_read_by(&world, 1).await;
    world.produce_ids(0..500).await;
    world.until(|row| row.records == 500).await;
    // A process that starts later takes its part, and no record is read twice.
    let second = world.host(&stream);
    let both = until_read_by(&world, 2).await;
    assert!(both.is_superset(&alone), "{both:?} {alone:?}");
    world.produce_ids(500..1_000).await;
    world.until(|row| row.records == 1_000).await;
    // A process that ends leaves its part to the other.
    first.end().await;
    let left = until_read_by(&world, 1).await;
    assert!(left.is_disjoint(&alone), "{left:?} {alone:?}");
    world.produce_ids(1_000..1_500).await;
    let row = world.until(|row| row.records == 1_500).await;
    assert_eq!((row.lag, row.failures), (0, 0));
    second.end().await;
    assert_eq!(world.ids().await, (0..1_500).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_shares_than_partitions_leave_some_without_work() {
    let world = in_shares().await;
    let host = world.host(&readings().shares(5));
    world.produce_ids(0..100).await;
    let row = world.until(|row| row.records == 100).await;
    assert_eq!((row.lag, row.failures), (0, 0));
    host.end().await;
    assert_eq!(world.ids().await, (0..100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_fails_with_any_of_its_shares() {
    let world = in_shares().await;
    let contract = Contract::of("lake://test/readings").at_most("id", 600).or(Policy::Fail);
    let host = world.host(&readings().contract(contract).shares(2));
    world.produce_ids(0..600).await;
    world.until(|row| row.records == 600).await;
    world.produce_ids(601..602).await;
    let row = world.until(|row| row.failures > 0).await;
    assert!(row.error.as_deref().unwrap_or_default().contains("breaks its contract"), "{row:?}");
    host.end().await;
    assert_eq!(world.ids().await, (0..600).collect::<Vec<_>>());
}

/// Files that were written before a column was added stay part of the table.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_is_added_later_is_empty_in_earlier_files() {
    let world = in_shares().await;
    let before = world.host(&readings().shares(2));
    world.produce_ids(0..10).await;
    world.until(|row| row.records == 10).await;
    before.end().await;
    let table = TableDef::new()
        .optional("id", PrimitiveType::Long)
        .optional("city", PrimitiveType::String)
        .optional("country", PrimitiveType::String);
    let after = world.host(&readings().append(named("test.readings"), table).shares(2));
    world.produce_ids(10..20).await;
    world.until(|row| row.records == 20).await;
    after.end().await;
    assert_eq!(world.ids().await, (0..20).collect::<Vec<_>>());
}
