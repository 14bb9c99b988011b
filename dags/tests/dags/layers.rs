//! The retail pipelines by their SQL texts, layer by layer, on the engine of the worker.

use crate::golden::assert_golden;
use crate::shop;
use crate::world::World;
use orch_dags::retail::schema::GOLD;
use orch_dags::retail::spark::{GOLD_BUCKET, NAMESPACE, RAW_BUCKET, SILVER_BUCKET};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// By bucket and table: which engine made it, its rows and the hash of its content.
pub(crate) type Tables = BTreeMap<String, (String, u64, String)>;

const BUCKETS: [&str; 3] = [RAW_BUCKET, SILVER_BUCKET, GOLD_BUCKET];

/// What is published below a folder of buckets.
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
                    "{bucket}: {object} is not there"
                );
            }
            let (rows, hash) = (table["rows"].as_u64().unwrap(), table["hash"].as_str().unwrap());
            tables.insert(format!("{bucket}/{name}"), (engine.into(), rows, hash.into()));
        }
    }
    tables
}

pub(crate) async fn assert_loaded_is_golden(world: &World) {
    for table in &GOLD {
        assert_golden(table.name, &world.loaded_in(NAMESPACE, table.name).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_spark_the_worker_makes_the_golden_tables() {
    let mut world = World::new().await;
    world.set("ORCH_CONN_RETAIL_MYSQL", shop::whole().await.to_uri());
    let world = world.at_work();
    world.good("retail_master_pipeline", "local", &json!({}));
    let log = world.run(&["tasks", "logs", "retail_master_pipeline", "raw_to_silver", "local"]).done();
    assert!(log.contains("no Spark is set up as connection `spark_default`: the local engine runs"), "{log}");
    assert_loaded_is_golden(&world).await;
    assert!(published(&world.path().join("data/buckets")).values().all(|(engine, ..)| engine == "local"));
}
