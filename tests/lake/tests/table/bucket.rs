//! A warehouse in a bucket: the same tables behind the S3 protocol.

use crate::world::{by_state, named, orders, rows_of};
use orch_lake::bucket::Options;
use orch_lake::{Filter, Lake, LakeConfig};
use orch_store::MIGRATOR;
use orch_test_lake::S3Server;
use orch_test_support::TestDb;

#[tokio::test]
async fn tables_live_in_buckets_too() {
    let (db, server) = (TestDb::new(&MIGRATOR).await, S3Server::start().await);
    let storage = Options::of(&server.connection());
    std::fs::create_dir(server.folder().join("lake")).expect("the server keeps its buckets as folders");
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
    assert!(text.contains("/proc/nowhere/a/b/metadata"), "{text}");
}
