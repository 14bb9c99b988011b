//! Maintenance of tables by `orch lake` commands and by the nightly DAG: compaction, rollback, expiry, orphaned files.

use crate::standalone::Standalone;
use crate::world::World;
use iceberg::spec::PrimitiveType;
use orch_lake::{Batches, Lake, TableDef, TableName};
use orch_test_lake::rows::{Rows, batch, printed, row};
use serde_json::{Value, json};

const WEATHER: &str = "nyc_weather_etl";
const TABLE: &str = "weather.hourly_weather";

fn run_line(standalone: &Standalone, line: &str) -> Value {
    run_json(standalone, &line.split(' ').collect::<Vec<_>>())
}

fn run_json(standalone: &Standalone, words: &[&str]) -> Value {
    let ended = standalone.run(&[words, &["-o", "json"]].concat());
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{words:?}: {error}: {ended:?}"))
}

/// Returns the snapshot ids, newest first.
fn snapshots(standalone: &Standalone) -> Vec<i64> {
    let table = run_line(standalone, &format!("lake show {TABLE}"));
    let newest = table["newest_snapshots"].as_array().unwrap_or_else(|| panic!("{table}"));
    newest.iter().map(|snapshot| snapshot["id"].as_i64().unwrap()).collect()
}

fn current(standalone: &Standalone) -> i64 {
    let table = run_line(standalone, &format!("lake show {TABLE}"));
    let newest = table["newest_snapshots"].as_array().unwrap().clone();
    newest.iter().find(|snapshot| snapshot["is_current"] == true).unwrap()["id"].as_i64().unwrap()
}

fn count(standalone: &Standalone) -> Value {
    run_json(standalone, &["sql", "select count(*) as n from weather.hourly_weather"])[0]["n"].clone()
}

/// Several tasks compact a table with more bytes than one task should.
fn compact_in_shares(standalone: &Standalone) {
    const TABLE: &str = "weather.openweather";
    let batch = || {
        standalone.run(&["dags", "trigger", "producer_weather_kafka", "--wait"]).done();
        standalone.run(&["dags", "trigger", "kafka_to_raw_dag", "--wait"]).done();
    };
    batch();
    batch();
    batch();
    let rows =
        || run_json(standalone, &["sql", "select count(*) as n, sum(kafka_offset) as o from weather.openweather"]);
    let before = rows();
    assert!(before[0]["n"].as_u64().unwrap() >= 9, "{before}");
    let conf = format!(r#"{{"tables": ["{TABLE}"], "work": ["compact"], "min_files": 2, "bytes_per_task": 3000}}"#);
    standalone.run(&["dags", "trigger", "lake_upkeep", "--run-id", "divided", "--conf", &conf, "--wait"]).done();
    let tasks = run_line(standalone, "tasks states-for-dag-run lake_upkeep divided");
    let of = |id: &str| tasks.as_array().unwrap().iter().filter(|task| task["task_id"] == id).count();
    assert!(of("compact_share") > 1 && of("keep_up") == 1, "{tasks}");
    let log = standalone.run(&["tasks", "logs", "lake_upkeep", "divide_large_tables", "divided"]).done();
    assert!(log.contains("are compacted by"), "{log}");
    assert_eq!(rows(), before);
    // A second compaction finds nothing to compact.
    let compact = || run_line(standalone, &format!("lake compact {TABLE} --min-files 2"));
    assert_eq!(compact(), json!([]));

    // New small files are compacted with the existing ones by one task.
    batch();
    batch();
    let (before, done) = (rows(), compact());
    let files = |when: &str| done[0][when].as_u64().unwrap_or_else(|| panic!("{when}: {done}"));
    assert!(files("files_before") > files("files_after"), "{done}");
    assert_eq!((rows(), compact()), (before, json!([])));
}

/// Writes eight rows in eight files, then replaces three of them. The nightly DAG skips the table.
pub(crate) async fn filled(lake: &Lake, name: &TableName, definition: TableDef) -> Rows {
    let definition =
        definition.property("write.merge.mode", "merge-on-read").property("orch.upkeep", "off").key(["id"]);
    let mut table = lake.create(name, &definition).await.unwrap();
    let batch = |from: i64, until: i64, city: &str| -> Batches {
        let rows = (from..until).map(|id| row(&format!("{} {city}", 7 * id % 8))).collect();
        Batches::from(batch(&["id", "city"], &rows))
    };
    for id in 0..8 {
        let appended = table.append(batch(id, id + 1, "Oslo")).await.unwrap();
        table = appended.commit(lake).await.unwrap().table;
    }
    let upserted = table.upsert(&["id"], batch(2, 5, "Rome")).await.unwrap();
    upserted.commit(lake).await.unwrap();
    rows(lake, name).await
}

pub(crate) async fn rows(lake: &Lake, name: &TableName) -> Rows {
    printed(&lake.table(name).await.unwrap().scan().collect().await.unwrap())
}

/// If Spark fails to compact a table, the next run compacts it, not the worker.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_spark_does_not_compact_waits_for_the_next_run() {
    let mut world = World::new().await;
    let extra = json!({ "spark-home": "/nowhere", "conf": { "spark.sql.catalog.orch": "a catalog" } });
    let connection = json!({ "conn_type": "spark", "host": "local[1]", "extra": extra });
    world.set("ORCH_CONN_SPARK_DEFAULT", connection.to_string());
    let world = world.at_work();
    let (lake, name) = (world.lake(), "upkeep.large".parse().unwrap());
    let definition = TableDef::new().required("id", PrimitiveType::Long).optional("city", PrimitiveType::String);
    filled(&lake, &name, definition).await;
    let before = lake.table(&name).await.unwrap();

    world.run(&["dags", "unpause", "lake_upkeep"]).done();
    let upkeep = json!({ "tables": [name.to_string()], "work": ["compact"], "min_files": 2, "spark_from_bytes": 1 });
    world.trigger("lake_upkeep", "left", &upkeep).failed();
    let log = |task: &str| world.run(&["tasks", "logs", "lake_upkeep", task, "left", "--map-index", "0"]);
    let (share, kept) = (log("compact_share").done(), log("keep_up").done());
    assert!(share.contains("there is no `/nowhere"), "{share}");
    assert!(kept.contains("of `upkeep.large` are left for the next run"), "{kept}");
    assert_eq!(lake.table(&name).await.unwrap().metadata_location(), before.metadata_location());
}

#[test]
fn tables_are_maintained_by_command() {
    let standalone = Standalone::start();
    let done = ["dags", "list-runs", WEATHER, "--state", "success", "-o", "json"];
    standalone.wait_for(&done, |ended| ended.out.contains("scheduled__"));
    for _ in 0..5 {
        standalone.run(&["dags", "trigger", WEATHER, "--wait"]).done();
    }
    let tables = run_line(&standalone, "lake tables");
    let table = tables.as_array().unwrap().iter().find(|table| table["table"] == TABLE);
    let table = table.unwrap_or_else(|| panic!("{tables}"));
    assert!(table["rows"].as_u64().unwrap() > 0 && table["files"].as_u64().unwrap() > 0, "{table}");

    let before = (count(&standalone), snapshots(&standalone));
    assert!(before.1.len() >= 6, "{before:?}");
    // Each run rewrites whole days as one file each.
    assert_eq!(run_line(&standalone, &format!("lake compact {TABLE} --min-files 2")), json!([]));

    // Roll back to the oldest snapshot, then try to roll forward.
    let (oldest, newest) = (before.1.last().unwrap().to_string(), before.1[0].to_string());
    standalone.run(&["lake", "rollback", TABLE, &oldest]).done();
    assert_eq!(current(&standalone).to_string(), oldest);
    let forward = standalone.run(&["lake", "rollback", TABLE, &newest]);
    assert_eq!(forward.code, 1, "the newest snapshot is not in the history of the oldest: {forward:?}");

    let expired = run_line(&standalone, &format!("lake expire {TABLE} --older-than 0s --keep-last 1"));
    assert!(expired[0]["snapshots"].as_u64().unwrap() >= 5, "{expired}");
    // Queries that run may still read these files.
    assert!(expired[0]["expired_files"].as_u64().unwrap() >= 5 && expired[0]["removed_files"] == 0, "{expired}");
    assert_eq!(snapshots(&standalone).len(), 1);
    assert_eq!(run_line(&standalone, &format!("lake orphans {TABLE} --dry-run"))[0]["orphans"], 0);

    // The warehouse belongs to this installation already.
    let adopted = run_line(&standalone, "lake adopt --yes");
    assert!(adopted["owner"].is_string() && adopted["previous_owner"] == adopted["owner"], "{adopted}");

    // The error message names the DAG of the failed run.
    let nowhere = standalone.run(&["lake", "compact", "weather.nowhere"]);
    assert!(nowhere.code == 1 && nowhere.err.contains("lake_upkeep"), "{nowhere:?}");
    let young = standalone.run(&["lake", "orphans", TABLE, "--older-than", "1h"]);
    assert_eq!(young.code, 1, "{young:?}");
    assert_eq!(standalone.run(&["lake", "orphans", "--older-than", "1h"]).code, 1, "also for all tables");
    let minute = standalone.run(&["lake", "expire", TABLE, "--older-than", "1m"]);
    assert!(minute.code == 2 && minute.err.contains("whole hours"), "it was taken for an hour: {minute:?}");
    // In a run that also expires snapshots, an age below the minimum for files applies only to the snapshots.
    let conf = format!(r#"{{"tables": ["{TABLE}"], "work": ["expire", "orphans"], "older_than_hours": 1}}"#);
    standalone.run(&["dags", "trigger", "lake_upkeep", "--conf", &conf, "--wait"]).done();
    compact_in_shares(&standalone);
    // Run the nightly maintenance of all tables.
    standalone.run(&["dags", "trigger", "lake_upkeep", "--wait"]).done();
    assert_eq!(standalone.run(&["lake", "show", "weather.nowhere"]).code, 2);
    let all = run_line(&standalone, "runs list");
    let mine = all.as_array().unwrap().iter().filter(|run| run["dag_id"] == "lake_upkeep").count();
    assert!(mine >= 5, "{all}");

    // If the DAG is paused, the command would wait forever, so it fails.
    standalone.run(&["dags", "pause", "lake_upkeep"]).done();
    let paused = standalone.run(&["lake", "orphans", TABLE]);
    assert!(paused.code == 2 && paused.err.contains("orch dags unpause lake_upkeep"), "{paused:?}");
}
