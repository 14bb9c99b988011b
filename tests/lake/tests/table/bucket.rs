//! Tables with a warehouse in a bucket, accessed over the S3 protocol.

use crate::world::{by_state, named, orders, rows_of};
use orch_lake::bucket::Options;
use orch_lake::table::maintain::{Compaction, Expiry, Orphans};
use orch_lake::{Filter, Lake, LakeConfig};
use orch_store::MIGRATOR;
use orch_test_lake::S3Server;
use orch_test_support::TestDb;
use std::path::Path;

#[tokio::test]
async fn tables_live_in_buckets_too() {
    let (db, server) = (TestDb::new(&MIGRATOR).await, S3Server::start().await);
    let storage = Options::of(&server.connection());
    server.make_bucket("lake");
    let warehouse = "s3://lake/warehouse".to_owned();
    let lake = Lake::open(LakeConfig { catalog: db.pool(), name: "orch".into(), warehouse, storage }).unwrap();
    let definition = by_state().property("write.merge.mode", "merge-on-read");
    let table = lake.create(&named("retail.orders"), &definition).await.unwrap();
    assert_eq!(table.metadata().location(), "s3://lake/warehouse/retail/orders");
    let rows = orders(&[(1, "CA", 10, 100), (2, "TX", 11, 250), (3, "TX", 12, 399)]);
    let table = table.append(rows).await.unwrap().commit(&lake).await.unwrap().table;
    let table = table.upsert(&[], orders(&[(2, "TX", 11, 251)])).await.unwrap().commit(&lake).await.unwrap().table;
    let table = table.delete(Filter::eq("state", "CA")).await.unwrap().commit(&lake).await.unwrap().table;
    assert_eq!(rows_of(&table).await, ["2 TX 1970-01-12 2.51", "3 TX 1970-01-13 3.99"]);
    assert!(lake.purge(table.name()).await.unwrap());
}

#[tokio::test]
async fn tables_in_buckets_are_maintained_too() {
    let (db, server) = (TestDb::new(&MIGRATOR).await, S3Server::start().await);
    let storage = Options::of(&server.connection());
    server.make_bucket("lake");
    let warehouse = "s3://lake/warehouse".to_owned();
    let lake = Lake::open(LakeConfig { catalog: db.pool(), name: "orch".into(), warehouse, storage }).unwrap();
    let definition = by_state().property("write.merge.mode", "merge-on-read");
    let mut table = lake.create(&named("retail.orders"), &definition).await.unwrap();
    for id in 1..=4 {
        let rows = orders(&[(id, "TX", 11, 100), (id + 10, "TX", 12, 200)]);
        table = table.append(rows).await.unwrap().commit(&lake).await.unwrap().table;
    }
    table = table.delete(Filter::eq("id", 2)).await.unwrap().commit(&lake).await.unwrap().table;
    // These files are written and never committed.
    drop(table.append(orders(&[(99, "TX", 1, 1)])).await.unwrap());
    let before = rows_of(&table).await;
    let data = || files_below(&server.folder().join("lake/warehouse/retail/orders/data"));
    let late = chrono::DateTime::from_timestamp(4_000_000_000, 0).unwrap();

    let compacted = lake.compact(table.name(), &Compaction::new().min_files(2)).await.unwrap();
    assert_eq!((compacted.files_before, compacted.files_after), (4, 1), "{compacted:?}");
    let expired =
        lake.expire(table.name(), &Expiry::new().keep_last(1).older_than(late).nobody_reads(), late).await.unwrap();
    assert_eq!(expired.snapshots.len(), 5, "{expired:?}");
    assert_eq!(data(), 2, "what is current, and what nobody committed");
    let removed = lake.remove_orphans(table.name(), &Orphans::new().nobody_writes(), late).await.unwrap();
    assert_eq!((removed.files, data()), (1, 1));
    let table = lake.table(table.name()).await.unwrap();
    assert_eq!(rows_of(&table).await, before);
}

fn files_below(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn a_warehouse_that_cannot_be_reached_says_so() {
    let db = TestDb::new(&MIGRATOR).await;
    let open = |warehouse: &str| {
        let (catalog, warehouse) = (db.pool(), warehouse.to_owned());
        Lake::open(LakeConfig { catalog, name: "orch".into(), warehouse, storage: Options::default() })
    };
    let error = open("warehouse").unwrap_err().to_string();
    assert!(error.starts_with("the warehouse `warehouse` is no URL\nhint: "), "{error}");
    let error = open("hdfs://x/y").unwrap_err().to_string();
    assert!(error.contains("`hdfs://x/y`") && error.contains("\nhint: "), "{error}");
    let error = open("file:///proc/nowhere").unwrap().create(&named("a.b"), &by_state()).await.unwrap_err();
    let text = format!("{:#}", anyhow::Error::from(error));
    assert!(text.contains("/proc/nowhere"), "{text}");
}
