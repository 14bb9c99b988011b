//! A connection `lake` whose catalog is not in the database of orch: no commit of a task could succeed.

use crate::world::{Ended, World, command};
use orch_test_support::{Durability, TestDb, private_server};
use serde_json::json;
use sqlx::migrate::Migrator;
use std::borrow::Cow;

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_in_another_postgres_is_refused_before_a_task_reads_or_writes_anything() {
    let nothing = Migrator { migrations: Cow::Borrowed(&[]), ..Migrator::DEFAULT };
    let (server, beside) = (private_server(Durability::None).await, TestDb::new(&nothing).await);
    // The databases of another installation: on a server of its own, and beside this one's.
    for url in [server.url(), beside.url()] {
        let mut world = World::new().await;
        let migrate = command(world.path()).env("ORCH_DATABASE_URL", &url).args(["db", "migrate"]).output();
        Ended::of(&migrate.unwrap()).done();
        let warehouse = world.path().join("warehouse");
        world.set("ORCH_CONN_LAKE", format!("{url}&warehouse=file://{}", warehouse.display()));
        // No server listens there: a task that asks the source fails with another error.
        world.set("ORCH_CONN_RETAIL_MYSQL", "mysql://root@127.0.0.1:1/retail");
        let world = world.at_work();

        world.trigger("retail_medallion", "far", &json!({})).failed();
        let log = world.log("retail_medallion", "raw.ingest_orders", "far");
        for part in [
            "connection `lake` leads to another database than that of orch",
            "hint: put the catalog into the metadata database of orch",
            "`ORCH_DATABASE_URL`",
        ] {
            assert!(log.contains(part), "{log}");
        }
        let states = world.run(&["tasks", "states-for-dag-run", "retail_medallion", "far", "-o", "json"]).done();
        let states: Vec<serde_json::Value> = serde_json::from_str(&states).unwrap();
        let ingest = states.iter().find(|task| task["task_id"] == "raw.ingest_orders").unwrap();
        assert_eq!((&ingest["state"], &ingest["try_number"]), (&json!("failed"), &json!(1)), "another try cannot help");
        assert!(!world.path().join("data/buckets").exists() && !warehouse.exists(), "nothing was written");
    }
}
