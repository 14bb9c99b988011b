//! The retail SQL pipelines on the local engine and on Sail: all layers must be equal.

use crate::golden::{assert_golden, golden_tables};
use crate::shop;
use crate::world::World;
use orch_dags::retail::spark::{GOLD_BUCKET, NAMESPACE, RAW_BUCKET, SILVER_BUCKET};
use orch_test_support::Sail;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Engine, number of rows and content hash of each table, by bucket and table.
pub(crate) type Tables = BTreeMap<String, (String, u64, String)>;

const BUCKETS: [&str; 3] = [RAW_BUCKET, SILVER_BUCKET, GOLD_BUCKET];

/// Returns the published tables in a folder of buckets. Asserts that their objects exist.
pub(crate) fn published(folder: &Path) -> Tables {
    let mut tables = Tables::new();
    for bucket in BUCKETS {
        let text = std::fs::read(folder.join(bucket).join("_tables.json")).unwrap();
        let layer: Value = serde_json::from_slice(&text).unwrap();
        let engine = layer["engine"].as_str().unwrap();
        for (name, table) in layer["tables"].as_object().unwrap() {
            for object in table["objects"].as_array().unwrap() {
                assert!(
                    folder.join(bucket).join(object.as_str().unwrap()).is_file(),
                    "{bucket}: {object} does not exist"
                );
            }
            let (rows, hash) = (table["rows"].as_u64().unwrap(), table["hash"].as_str().unwrap());
            tables.insert(format!("{bucket}/{name}"), (engine.into(), rows, hash.into()));
        }
    }
    tables
}

/// Returns the number of rows and the content hash of each table, without the engine.
pub(crate) fn content(tables: &Tables) -> BTreeMap<&str, (u64, &str)> {
    tables.iter().map(|(name, (_, rows, hash))| (name.as_str(), (*rows, hash.as_str()))).collect()
}

pub(crate) async fn assert_loaded_is_golden(world: &World) {
    for name in golden_tables() {
        assert_golden(name, &world.loaded_in(NAMESPACE, name).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_and_sail_make_the_same_golden_tables() {
    let mut world = World::new().await;
    world.set("ORCH_CONN_RETAIL_MYSQL", shop::whole().await.to_uri());
    let mut world = world.at_work();
    world.good("retail_master_pipeline", "local", &json!({}));
    let log = world.run(&["tasks", "logs", "retail_master_pipeline", "raw_to_silver", "local"]).done();
    assert!(log.contains("no Spark is set up as connection `spark_default`: the local engine runs"), "{log}");
    assert!(!log.contains("datafusion"), "the log contains messages of DataFusion: {log}");
    assert_loaded_is_golden(&world).await;
    let buckets = world.path().join("data/buckets");
    let local = published(&buckets);
    assert!(local.values().all(|(engine, ..)| engine == "local"));

    let sail = Sail::start();
    world.kill(world.first_worker());
    world.set("ORCH_CONN_SPARK_DEFAULT", sail.connection());
    world.start_worker();
    world.good("retail_master_pipeline", "sail", &json!({}));
    let log = world.run(&["tasks", "logs", "retail_master_pipeline", "ingest_mysql_to_raw", "sail"]).done();
    assert!(log.contains("a Spark Connect server may have no driver for MySQL"), "{log}");
    assert_loaded_is_golden(&world).await;
    let remote = published(&buckets);
    let engine = |name: &str| if name.starts_with(RAW_BUCKET) { "local" } else { "spark_connect" };
    assert!(remote.iter().all(|(name, (by, ..))| by == engine(name)), "{remote:?}");
    assert_eq!(content(&remote), content(&local));

    drop(sail);
    world.run(&["dags", "trigger", "process_raw_to_silver", "--run-id", "down"]).done();
    let log = ["tasks", "logs", "process_raw_to_silver", "raw_to_silver", "down"];
    let words = "the Spark Connect server `sc://127.0.0.1:";
    world.wait_for("the error", &log, |ended| format!("{}{}", ended.out, ended.err).contains(words));
    assert_eq!(published(&buckets), remote);
}
