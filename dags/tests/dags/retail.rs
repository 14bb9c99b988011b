//! The retail pipelines with real processes and real servers: results are golden to the cent, even if processes are
//! killed.

mod changes;
mod faults;
mod months;
mod runs;
mod windows;

#[cfg(feature = "torture")]
pub(crate) use self::faults::{assert_gold_is_as_in_process, world_of_a_dirty_shop};
pub(crate) use self::runs::killed_at_every_stage;
use crate::data::{Raw, gold, silver};
use crate::golden::{RAW, assert_golden, csv, golden_tables};
use crate::shop;
use crate::world::World;
use orch_dags::retail::tables::GOLD;
use serde_json::{Value, json};

/// Returns a world with MySQL as the source and folders as buckets.
async fn world_of(shop: &orch::Connection) -> World {
    let mut world = World::new().await;
    world.set("ORCH_CONN_RETAIL_MYSQL", shop.to_uri());
    world.at_work()
}

/// Runs the four DAGs that trigger each other, starting with the first.
fn run_the_chain(world: &World, run: &str) {
    world.run(&["dags", "unpause", "mysql_to_minio_ingestion"]).done();
    world.good("ingest-retail-data-mysql", run, &full());
    world.wait_for(
        "the load",
        &["dags", "list-runs", "minio_to_postgres", "--state", "success", "-o", "json"],
        |ended| ended.out.contains("asset_triggered__"),
    );
}

fn full() -> Value {
    json!({})
}

async fn assert_gold_is_golden(world: &World) {
    for name in golden_tables() {
        assert_golden(name, &world.loaded(name).await);
    }
}

/// Returns every table of silver and gold as CSV, computed by the SQL files in this process.
fn expected(raw: &Raw) -> Vec<(&'static str, String)> {
    let layer = silver(raw);
    let gold = gold(&layer);
    layer.into_iter().chain(gold).map(|made| (made.model.table.name, csv(made.frame))).collect()
}

/// Compares gold in Postgres with the result of the SQL files on the same data.
async fn assert_gold_is(world: &World, raw: &Raw) {
    for (name, expected) in expected(raw) {
        if GOLD.iter().any(|model| model.table.name == name) {
            let loaded = world.loaded(name).await;
            let differ = loaded.lines().zip(expected.lines()).find(|(loaded, expected)| loaded != expected);
            assert_eq!((differ, loaded.len()), (None, expected.len()), "`{name}`");
        }
    }
}

fn month_of(end: &str) -> Raw {
    shop::between(&RAW, shop::MONTH.0, end)
}
