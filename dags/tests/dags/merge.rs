//! `lake_merge` with the CLI, with several tasks, with a killed worker, and with invalid input.

use crate::upkeep::rows;
use crate::world::World;
use iceberg::spec::PrimitiveType;
use orch_lake::{Batches, Lake, TableDef, TableName};
use orch_test_lake::rows::{Rows, batch, row};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::Range;

const FROM: &str = "staging.orders";

pub(crate) fn definition() -> TableDef {
    let definition = TableDef::new().required("id", PrimitiveType::Long).optional("city", PrimitiveType::String);
    // The nightly maintenance skips the table.
    definition.property("orch.upkeep", "off").key(["id"])
}

/// Creates a table with one file per city. The file has the ids of the range.
pub(crate) async fn filled(lake: &Lake, name: &str, definition: TableDef, cities: &[(&str, Range<i64>)]) -> TableName {
    let name: TableName = name.parse().expect("a valid name");
    let mut table = lake.create(&name, &definition).await.expect("the table is created");
    for (city, ids) in cities {
        let rows: Rows = ids.clone().map(|id| row(&format!("{id} {city}"))).collect();
        let appended = table.append(Batches::from(batch(&["id", "city"], &rows))).await.expect("the rows are written");
        table = appended.commit(lake).await.expect("no concurrent writer").table;
    }
    name
}

/// Returns the expected rows in the form that [`rows`] returns.
pub(crate) fn expected(cities: &[(&str, Range<i64>)]) -> Rows {
    let by_id: BTreeMap<i64, &str> = cities.iter().flat_map(|(city, ids)| ids.clone().map(|id| (id, *city))).collect();
    let mut rows: Rows = by_id.iter().map(|(id, city)| row(&format!("{id} {city}"))).collect();
    rows.sort();
    rows
}

fn states(world: &World, run: &str) -> Vec<(String, String)> {
    let json = world.run(&["tasks", "states-for-dag-run", "lake_merge", run, "-o", "json"]).done();
    let tasks: Vec<Value> = serde_json::from_str(&json).expect("a list");
    let text = |task: &Value, field: &str| task[field].as_str().unwrap_or_default().to_owned();
    tasks.iter().map(|task| (text(task, "task_id"), text(task, "state"))).collect()
}

fn shares(world: &World, run: &str) -> usize {
    states(world, run).iter().filter(|(task, state)| task == "merge_share" && state == "success").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_merged_into_another_by_several_tasks() {
    let world = World::new().await.at_work();
    let lake = world.lake();
    let old = [("Oslo", 0..4_000), ("Rome", 4_000..8_000), ("Bern", 8_000..12_000)];
    let new = [("Kyiv", 3_000..5_000), ("Lima", 9_000..9_100), ("Cork", 20_000..21_000)];
    let into = filled(&lake, "retail.orders", definition(), &old).await;
    filled(&lake, FROM, definition(), &new).await;
    let all = expected(&[&old[..], &new[..]].concat());

    let merged = world.run(&["lake", "merge", FROM, "retail.orders", "-o", "json"]).done();
    let merged: Value = serde_json::from_str(&merged).unwrap();
    let report =
        |by: &str, replaced: u64| json!([{ "table": "retail.orders", "rows": 3_100, "replaced": replaced, "by": by }]);
    assert_eq!(merged, report("1 task", 2_100));
    assert_eq!(rows(&lake, &into).await, all);
    let snapshots = lake.table(&into).await.unwrap().snapshots().len();
    assert_eq!(snapshots, old.len() + 1);

    // Repeat the merge with several tasks: the same rows in one snapshot.
    let conf = json!({ "from": FROM, "into": "retail.orders", "key": ["id"], "bytes_per_task": 6_000 });
    world.good("lake_merge", "divided", &conf);
    assert!(shares(&world, "divided") > 2, "{:?}", states(&world, "divided"));
    assert_eq!(rows(&lake, &into).await, all);
    let table = lake.table(&into).await.unwrap();
    assert_eq!(table.snapshots().len(), snapshots + 1);
    let last = &table.current_snapshot().unwrap().summary().additional_properties;
    assert_eq!((last["orch.dag_id"].as_str(), last["orch.task_id"].as_str()), ("lake_merge", "commit_merge"));
    let events = "select count(*) from asset_event where uri = 'lake://retail/orders'";
    assert_eq!(sqlx::query_scalar::<_, i64>(events).fetch_one(&mut world.db().await).await.unwrap(), 2);
    let lineage = "select from_uri, rows from lineage where to_uri = 'lake://retail/orders'";
    let lineage: Vec<(String, i64)> = sqlx::query_as(lineage).fetch_all(&mut world.db().await).await.unwrap();
    assert_eq!(lineage, vec![("lake://staging/orders".to_owned(), 3_100); 2]);

    // Committed files are not committed twice. A rerun of the whole run is idempotent.
    let conflict = |run: &str| {
        world.run(&["tasks", "clear", "lake_merge", "--run-id", run, "--task-regex", "^commit_merge$", "--yes"]).done();
        world.run(&["runs", "wait", "lake_merge", run, "--timeout", "2m"]).failed();
        let log = world.log("lake_merge", "commit_merge", run);
        assert!(log.contains("is gone"), "{log}");
    };
    conflict("divided");
    assert_eq!(lake.table(&into).await.unwrap().metadata_location(), table.metadata_location());
    world.run(&["tasks", "clear", "lake_merge", "--run-id", "divided", "--yes"]).done();
    world.wait_good("lake_merge", "divided");
    assert_eq!(rows(&lake, &into).await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_with_a_killed_worker_is_committed_once() {
    let mut world = World::new().await.at_work();
    let lake = world.lake();
    let old = [("Oslo", 0..40_000), ("Rome", 40_000..80_000), ("Bern", 80_000..120_000)];
    let new = [("Kyiv", 30_000..60_000), ("Lima", 90_000..140_000)];
    let into = filled(&lake, "retail.orders", definition(), &old).await;
    filled(&lake, FROM, definition(), &new).await;
    let all = expected(&[&old[..], &new[..]].concat());
    let conf = json!({ "from": FROM, "into": into.to_string(), "bytes_per_task": 200_000 });
    world.run(&["dags", "trigger", "lake_merge", "--run-id", "killed", "--conf", &conf.to_string()]).done();
    let list_tasks = ["tasks", "states-for-dag-run", "lake_merge", "killed", "-o", "json"];
    world.wait_for("a share", &list_tasks, |ended| ended.out.contains("merge_share"));
    world.kill(world.first_worker());
    world.start_worker();
    world.wait_good("lake_merge", "killed");
    assert!(shares(&world, "killed") > 2, "{:?}", states(&world, "killed"));
    assert_eq!(rows(&lake, &into).await, all);
    assert_eq!(lake.table(&into).await.unwrap().snapshots().len(), old.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_cannot_be_is_refused_at_once() {
    let world = World::new().await.at_work();
    let lake = world.lake();
    filled(&lake, "retail.orders", definition(), &[("Oslo", 0..10)]).await;
    filled(&lake, FROM, definition(), &[("Rome", 5..8), ("Bern", 7..9)]).await;
    let nothing = filled(&lake, "staging.nothing", definition(), &[]).await;
    let refused = |run: &str, from: &str, task: &str, words: &str| {
        let conf = json!({ "from": from, "into": "retail.orders" });
        world.trigger("lake_merge", run, &conf).failed();
        let log = world.run(&[
            "tasks",
            "logs",
            "lake_merge",
            task,
            run,
            "--map-index",
            if task == "merge_share" { "0" } else { "-1" },
        ]);
        assert!(log.out.contains(words), "{log:?}");
    };
    refused("missing", "staging.nowhere", "divide_merge", "table `staging.nowhere` is not in the lake");
    refused("itself", "retail.orders", "divide_merge", "table `retail.orders` cannot be merged into itself");
    refused("twice", FROM, "merge_share", "two rows have the same key (id)");
    let tries =
        "select max(try_no) from (select run, try_no from task_instance union all select run, try_no from attempt) t";
    assert_eq!(sqlx::query_scalar::<_, i16>(tries).fetch_one(&mut world.db().await).await.unwrap(), 1, "no retries");
    let missing = world.run(&["lake", "merge", "staging.nowhere", "retail.orders"]);
    let why = "task `divide_merge` failed: table `staging.nowhere` is not in the lake `orch`\nhint: ";
    assert!(missing.code == 1 && missing.err.contains(why), "{missing:?}");
    let empty = world.run(&["lake", "merge", &nothing.to_string(), "retail.orders"]);
    assert!(empty.code == 0 && empty.err.starts_with("no new rows"), "{empty:?}");
    assert_eq!(rows(&lake, &"retail.orders".parse().unwrap()).await, expected(&[("Oslo", 0..10)]));
}
