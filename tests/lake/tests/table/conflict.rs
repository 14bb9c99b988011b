//! Two writers on one table: which changes can both commit, and which are reported as conflicts.

use crate::world::{World, by_state, definition, many, orders, world};
use chrono::DateTime;
use orch_lake::table::maintain::Expiry;
use orch_lake::{Change, Filter, LakeError, Table};

async fn filled(world: &World, definition: orch_lake::TableDef) -> Table {
    let table = world.table("retail.orders", definition).await;
    let rows = orders(&[(1, "CA", 10, 100), (2, "NY", 11, 250), (3, "TX", 12, 399)]);
    let change = table.append(rows).await.expect("the rows are written");
    change.commit(&world.lake).await.expect("nobody else is there").table
}

/// Commits two changes that are based on the same state. Returns the number of retries of the second, or the reason
/// of its conflict.
async fn both(world: &World, first: Change, second: Change) -> Result<u32, String> {
    first.commit(&world.lake).await.expect("nobody was faster than the first");
    match second.commit(&world.lake).await {
        Ok(committed) => Ok(committed.retries),
        Err(LakeError::Conflict { why, .. }) => Err(why),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn appends_go_on_beside_everything() {
    let world = world().await;
    let table = filled(&world, definition()).await;
    let append = table.append(orders(&[(9, "CA", 1, 1)])).await.unwrap();
    let overwrite = table.overwrite(Filter::All, orders(&[(5, "CA", 1, 1)])).await.unwrap();
    assert_eq!(both(&world, overwrite, append).await, Ok(1));
    assert_eq!(world.rows("retail.orders").await, ["5 CA 1970-01-02 0.01", "9 CA 1970-01-02 0.01"]);
}

#[tokio::test]
async fn two_overwrites_of_the_same_rows_contradict_each_other() {
    let world = world().await;
    let table = filled(&world, definition()).await;
    let first = table.overwrite(Filter::All, orders(&[(5, "CA", 1, 1)])).await.unwrap();
    let second = table.overwrite(Filter::All, orders(&[(6, "CA", 1, 1)])).await.unwrap();
    let why = both(&world, first, second).await.unwrap_err();
    assert!(why.contains("is gone"), "{why}");
    assert_eq!(world.rows("retail.orders").await, ["5 CA 1970-01-02 0.01"]);
}

#[tokio::test]
async fn an_overwrite_sees_rows_that_were_added_to_its_filter_meanwhile() {
    let world = world().await;
    let table = filled(&world, by_state()).await;
    let append = table.append(orders(&[(9, "TX", 1, 1)])).await.unwrap();
    let overwrite = table.overwrite(Filter::eq("state", "TX"), orders(&[(5, "TX", 1, 1)])).await.unwrap();
    let why = both(&world, append, overwrite).await.unwrap_err();
    assert!(why.contains("rows were added"), "{why}");
}

#[tokio::test]
async fn with_snapshot_isolation_they_stay() {
    let world = world().await;
    let table = filled(&world, by_state().property("write.merge.isolation-level", "snapshot")).await;
    let append = table.append(orders(&[(9, "TX", 1, 1)])).await.unwrap();
    let overwrite = table.overwrite(Filter::eq("state", "TX"), orders(&[(5, "TX", 1, 1)])).await.unwrap();
    assert_eq!(both(&world, append, overwrite).await, Ok(1));
    assert_eq!(world.rows("retail.orders").await.len(), 4);
}

#[tokio::test]
async fn work_on_other_partitions_goes_on() {
    let world = world().await;
    let table = filled(&world, by_state()).await;
    let first = table.overwrite_partitions(orders(&[(9, "CA", 1, 1)])).await.unwrap();
    let second = table.overwrite_partitions(orders(&[(8, "TX", 1, 1)])).await.unwrap();
    assert_eq!(both(&world, first, second).await, Ok(1));
    let rows = world.rows("retail.orders").await;
    assert_eq!(rows, ["2 NY 1970-01-12 2.50", "8 TX 1970-01-02 0.01", "9 CA 1970-01-02 0.01"]);
}

/// Files of expired snapshots do not count as new files.
#[tokio::test]
async fn work_on_other_partitions_goes_on_after_an_expiry() {
    let world = world().await;
    let table = filled(&world, by_state()).await;
    let appended = table.append(orders(&[(4, "WA", 10, 100)])).await.unwrap();
    let table = appended.commit(&world.lake).await.unwrap().table;
    let later = DateTime::from_timestamp(4_000_000_000, 0).unwrap();
    let expiry = Expiry::new().keep_last(1).older_than(later);
    world.lake.expire(table.name(), &expiry, later).await.unwrap();
    let table = world.lake.table(table.name()).await.unwrap();
    assert_eq!(table.metadata().snapshots().count(), 1);
    let first = table.overwrite_partitions(orders(&[(9, "CA", 1, 1)])).await.unwrap();
    let second = table.overwrite_partitions(orders(&[(8, "TX", 1, 1)])).await.unwrap();
    assert_eq!(both(&world, first, second).await, Ok(1));
    assert_eq!(world.rows("retail.orders").await.len(), 4);
}

#[tokio::test]
async fn two_overwrites_of_one_partition_contradict_each_other() {
    let world = world().await;
    let table = filled(&world, by_state()).await;
    // The partition did not exist before: neither change removes anything, and yet they conflict.
    let first = table.overwrite_partitions(orders(&[(9, "WA", 1, 1)])).await.unwrap();
    let second = table.overwrite_partitions(orders(&[(8, "WA", 1, 1)])).await.unwrap();
    let why = both(&world, first, second).await.unwrap_err();
    assert!(why.contains("rows were added"), "{why}");
}

#[tokio::test]
async fn upserts_of_other_keys_go_on_and_of_the_same_keys_do_not() {
    for mode in ["copy-on-write", "merge-on-read"] {
        let world = world().await;
        let table = filled(&world, definition().property("write.merge.mode", mode)).await;
        // The ranges of the new keys overlap, so column bounds cannot separate them.
        let first = table.upsert(&[], orders(&[(10, "CA", 1, 1), (12, "CA", 1, 1)])).await.unwrap();
        let second = table.upsert(&[], orders(&[(11, "CA", 1, 2), (13, "CA", 1, 2)])).await.unwrap();
        let third = table.upsert(&[], orders(&[(12, "CA", 1, 3)])).await.unwrap();
        assert_eq!(both(&world, first, second).await, Ok(1), "{mode}");
        assert!(matches!(third.commit(&world.lake).await, Err(LakeError::Conflict { .. })), "{mode}");
        assert_eq!(world.rows("retail.orders").await.len(), 7);
    }
}

#[tokio::test]
async fn a_delete_of_rows_in_a_file_that_is_rewritten_is_not_lost() {
    let world = world().await;
    let table = filled(&world, definition()).await;
    let mut table = table.append(many(100, 30_000)).await.unwrap().commit(&world.lake).await.unwrap().table;
    let delete = table.delete(Filter::eq("id", 200)).await.unwrap();
    assert_eq!(delete.points_into.len(), 1, "its position is noted");
    let rewrite = table.delete(Filter::gt("id", 15_000)).await.unwrap();
    assert_eq!(rewrite.remove.len(), 1, "the file is written anew");
    let why = both(&world, delete.clone(), rewrite.clone()).await.unwrap_err();
    assert!(why.contains("were deleted"), "{why}");
    table = table.refresh().await.unwrap();
    assert_eq!(table.count().await.unwrap(), 30_002);
    // In the opposite order, the data file that the position delete references is gone.
    let world = crate::world::world().await;
    let table = world.table("retail.orders", definition()).await;
    let table = table.append(many(100, 30_000)).await.unwrap().commit(&world.lake).await.unwrap().table;
    let delete = table.delete(Filter::eq("id", 200)).await.unwrap();
    let rewrite = table.delete(Filter::gt("id", 15_000)).await.unwrap();
    let why = both(&world, rewrite, delete).await.unwrap_err();
    assert!(why.contains("is gone"), "{why}");
}

#[tokio::test]
async fn a_table_that_was_made_anew_is_another_one() {
    let world = world().await;
    let table = filled(&world, definition()).await;
    let append = table.append(orders(&[(9, "CA", 1, 1)])).await.unwrap();
    assert!(world.lake.drop(table.name()).await.unwrap());
    let gone = append.clone().commit(&world.lake).await.unwrap_err();
    assert!(matches!(gone, LakeError::Conflict { .. }), "{gone}");
    world.orders().await;
    let other = append.commit(&world.lake).await.unwrap_err().to_string();
    assert!(other.contains("dropped and made anew"), "{other}");
    assert_eq!(world.rows("retail.orders").await.len(), 0);
}
