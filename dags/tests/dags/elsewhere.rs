//! A connection `lake` whose catalog is not in the database of orch. Another Postgres database is probably a mistake
//! and is rejected. A catalog over HTTP is intended; tasks commit to it before their outcome is recorded.

use crate::retail::killed_at_every_stage;
use crate::world::{FinishedCommand, World, command};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use iceberg::spec::PrimitiveType;
use orch::Connection;
use orch_lake::bucket::Options;
use orch_lake::{Batches, Lake, TableDef};
use orch_test_support::{Durability, IcebergCatalog, TestDb, private_server};
use serde_json::json;
use sqlx::migrate::Migrator;
use std::borrow::Cow;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_in_another_postgres_is_refused_before_a_task_reads_or_writes_anything() {
    let nothing = Migrator { migrations: Cow::Borrowed(&[]), ..Migrator::DEFAULT };
    let (server, beside) = (private_server(Durability::None).await, TestDb::new(&nothing).await);
    // Databases of another installation: on another server, and on the same server.
    for url in [server.url(), beside.url()] {
        let mut world = World::new().await;
        let migrate = command(world.path()).env("ORCH_DATABASE_URL", &url).args(["db", "migrate"]).output();
        FinishedCommand::of(&migrate.unwrap()).done();
        let warehouse = world.path().join("warehouse");
        world.set("ORCH_CONN_LAKE", format!("{url}&warehouse=file://{}", warehouse.display()));
        // No server listens on this port, so a task that connects to the source fails with another error.
        world.set("ORCH_CONN_RETAIL_MYSQL", "mysql://root@127.0.0.1:1/retail");
        let world = world.at_work();

        is_refused(
            &world,
            &[
                "connection `lake` leads to another database than that of orch",
                "hint: put the catalog into the metadata database of orch",
                "`ORCH_DATABASE_URL`",
            ],
        );
        // Streams may write to this database, because they need no transaction with the database of orch.
        assert!(!world.path().join("data/buckets").exists(), "no task wrote anything");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_in_a_catalog_over_http_is_read() {
    let server = IcebergCatalog::start().await;
    let uri = format!("iceberg://{}", server.address());
    let lake = Lake::of(&Connection::parse("lake", &uri).unwrap(), &Options::default()).unwrap();
    let definition = TableDef::new().required("id", PrimitiveType::Long);
    let table = lake.create(&"retail.counted".parse().unwrap(), &definition).await.unwrap();
    let rows = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![3, 4])) as ArrayRef)]).unwrap();
    table.append(Batches::from(rows)).await.unwrap().commit(&lake).await.unwrap();

    let mut world = World::new().await;
    world.set("ORCH_CONN_LAKE", uri);
    let sum = world.run(&["sql", "select sum(id) as s from retail.counted", "-o", "csv"]).done();
    assert_eq!(sum.replace("\r\n", "\n"), "s\n7\n");
    let tables = world.run(&["sql", "show tables from retail", "-o", "csv"]).done();
    assert!(tables.contains("counted"), "{tables}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_at_every_stage_leaves_golden_tables_in_a_catalog_over_http() {
    let server = IcebergCatalog::start().await;
    let mut world = World::new().await;
    world.set("ORCH_CONN_LAKE", format!("iceberg://{}", server.address()));
    let world = killed_at_every_stage(world).await;
    let sums = world.run(&["sql", "select count(*) as n from retail.orders_fact", "-o", "csv"]).done();
    assert_eq!(sums.replace("\r\n", "\n"), "n\n172198\n");
}

/// Asserts that a run is rejected before it accesses anything else.
fn is_refused(world: &World, said: &[&str]) {
    world.trigger("retail_medallion", "far", &json!({})).failed();
    let log = world.log("retail_medallion", "raw.ingest_orders", "far");
    for part in said {
        assert!(log.contains(part), "{log}");
    }
    let states = world.run(&["tasks", "states-for-dag-run", "retail_medallion", "far", "-o", "json"]).done();
    let states: Vec<serde_json::Value> = serde_json::from_str(&states).unwrap();
    let ingest = states.iter().find(|task| task["task_id"] == "raw.ingest_orders").unwrap();
    assert_eq!((&ingest["state"], &ingest["try_number"]), (&json!("failed"), &json!(1)), "another try cannot help");
}
