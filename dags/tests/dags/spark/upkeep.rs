//! `lake_upkeep` leaves large tables to Spark.

use super::{with_spark, world_with_spark};
use crate::upkeep::{filled, rows};
use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use iceberg::spec::{Operation, PrimitiveType};
use orch_lake::{TableDef, TableName};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn spark_compacts_the_largest_tables() {
    let (_turn, mut world, worker, connection) = world_with_spark().await;
    let lake = world.lake();
    let definition = || TableDef::new().required("id", PrimitiveType::Long).optional("city", PrimitiveType::String);
    let tables: [(TableName, TableDef); 2] = [
        ("upkeep.plain".parse().unwrap(), definition()),
        ("upkeep.sorted".parse().unwrap(), definition().sorted(["id"])),
    ];
    let mut before = vec![];
    for (name, definition) in &tables {
        before.push(filled(&lake, name, definition.clone()).await);
    }

    with_spark(&mut world, worker, connection);
    let names = tables.each_ref().map(|(name, _)| name.to_string());
    let upkeep = json!({ "tables": names, "work": ["compact"], "min_files": 2, "spark_from_bytes": 1 });
    world.run(&["dags", "unpause", "lake_upkeep"]).done();
    world.good("lake_upkeep", "spark", &upkeep);
    let divided = world.run(&["tasks", "logs", "lake_upkeep", "divide_large_tables", "spark"]).done();
    assert!(divided.contains("bytes of `upkeep.sorted` are compacted by Spark"), "{divided}");

    for ((name, _), before) in tables.iter().zip(before) {
        assert_eq!(rows(&lake, name).await, before);
        let table = lake.table(name).await.unwrap();
        let last = table.current_snapshot().unwrap().summary();
        assert_eq!(last.operation, Operation::Replace);
        let said = |what: &str| last.additional_properties.get(what).map_or("", String::as_str);
        let counts = ["engine-name", "total-data-files", "total-delete-files", "total-records"].map(said);
        assert_eq!(counts, ["spark", "1", "0", "8"], "{name}: {last:?}");
    }
    // The rows are sorted in the table's sort order.
    let sorted = lake.table(&tables[1].0).await.unwrap().scan().columns(["id"]).collect().await.unwrap();
    let ids = sorted.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    assert_eq!(ids.collect::<Vec<i64>>(), (0..8).collect::<Vec<_>>());
    let events: i64 = sqlx::query_scalar("select count(*) from asset_event where uri like 'lake://upkeep/%'")
        .fetch_one(&mut world.db().await)
        .await
        .unwrap();
    assert_eq!(events, 0, "the rows are the same");
}
