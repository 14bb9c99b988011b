//! Reads with selected columns, filters and earlier states.

use crate::world::{World, by_state, definition, many, named, orders, text, world};
use arrow::array::{ArrayRef, AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use chrono::{DateTime, TimeDelta};
use iceberg::spec::PrimitiveType;
use orch_lake::batches::Batches;
use orch_lake::table::At;
use orch_lake::{Filter, LakeError, Table, TableDef};
use std::sync::Arc;

async fn three_states(world: &World) -> Table {
    let mut table = world.orders().await;
    for id in 1..=3 {
        let change = table.append(orders(&[(id, "CA", 1, 100)])).await.expect("the rows are written");
        table = change.commit(&world.lake).await.expect("nobody else is there").table;
    }
    table
}

#[tokio::test]
async fn columns_come_in_the_order_in_which_they_are_asked() {
    let world = world().await;
    let table = world.table("retail.orders", by_state()).await;
    let table = table.append(orders(&[(1, "CA", 10, 100)])).await.unwrap().commit(&world.lake).await.unwrap().table;
    assert_eq!(text(&table.scan().columns(["state", "id"]).collect().await.unwrap()), ["CA 1"]);
    let error = table.scan().columns(["city"]).collect().await.unwrap_err().to_string();
    assert!(
        error.starts_with("there is no column `city`\nhint: the columns are `id`, `state`, `day`, `amount`"),
        "{error}"
    );
}

/// The `iceberg` crate mistakes reordered columns of the same types for renamed ones.
#[tokio::test]
async fn columns_of_one_type_keep_their_values_in_any_order() {
    let world = world().await;
    let definition = TableDef::new().optional("city", PrimitiveType::String).optional("zone", PrimitiveType::String);
    let table = world.table("retail.places", definition).await;
    let texts = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![Some(text)])) };
    let rows = RecordBatch::try_from_iter([("city", texts("New York")), ("zone", texts("Midtown"))]).unwrap();
    let change = table.append(Batches::from(rows)).await.unwrap();
    let table = change.commit(&world.lake).await.unwrap().table;
    let batches = table.scan().columns(["zone", "city"]).collect().await.unwrap();
    let value = |name: &str| batches[0].column_by_name(name).unwrap().as_string::<i32>().value(0);
    assert_eq!((value("city"), value("zone")), ("New York", "Midtown"));
    assert_eq!(text(&batches), ["Midtown New York"]);
}

#[tokio::test]
async fn filters_mean_what_sql_means() {
    let world = world().await;
    let table = world.orders().await;
    let table = table.append(many(0, 90)).await.unwrap().commit(&world.lake).await.unwrap().table;
    let check = async |filter: Filter, expected: u64| {
        assert_eq!(table.scan().filter(filter.clone()).count().await.unwrap(), expected, "{filter}");
    };
    check(Filter::eq("state", "CA"), 30).await;
    check(!Filter::eq("state", "CA"), 60).await;
    check(Filter::eq("state", "CA").or(Filter::eq("state", "NY")), 60).await;
    check(!Filter::eq("state", "CA").or(Filter::lt("id", 30)), 40).await;
    check(Filter::is_in("id", [1, 2, 500]), 2).await;
    check(!Filter::is_in("id", [1, 2, 500]), 88).await;
    check(Filter::eq("amount", "0.07"), 1).await;
    check(Filter::gt("amount", 0.8), 9).await;
    check(Filter::eq("day", "1970-01-05"), 3).await;
    check(Filter::is_null("state"), 0).await;
    check(Filter::All, 90).await;
    check(!Filter::All, 0).await;
}

#[tokio::test]
async fn a_filter_that_makes_no_sense_is_refused() {
    let world = world().await;
    let table = world.orders().await;
    let check = async |filter: Filter, expected: &str| {
        let error = table.scan().filter(filter).count().await.unwrap_err().to_string();
        assert!(error.starts_with(expected) && error.contains("\nhint: "), "{error}");
    };
    check(Filter::eq("city", 1), "there is no column `city`").await;
    check(Filter::eq("id", "many"), "'many' is no value of column `id`, which has the type long").await;
    check(Filter::eq("amount", "0.001"), "'0.001' is no value of column `amount`").await;
}

#[tokio::test]
async fn earlier_states_are_read_by_snapshot_by_time_and_by_name() {
    let world = world().await;
    let table = three_states(&world).await;
    let snapshots = table.snapshots();
    let count = async |at: At| table.scan().at(at).count().await.unwrap();
    assert_eq!(count(At::Snapshot(snapshots[0].snapshot_id())).await, 1);
    assert_eq!(count(At::Snapshot(snapshots[1].snapshot_id())).await, 2);
    assert_eq!(count(At::Ref("main".into())).await, 3);
    let time = DateTime::from_timestamp_millis(table.metadata().history()[0].timestamp_ms()).unwrap();
    let before = table.scan().at(At::Time(time - TimeDelta::milliseconds(1))).count().await.unwrap_err().to_string();
    assert!(before.contains("has no snapshot from before"), "{before}");
    let last = DateTime::from_timestamp_millis(snapshots[2].timestamp_ms()).unwrap();
    assert_eq!(count(At::Time(last)).await, 3);
    let error = table.scan().at(At::Ref("gone".into())).count().await.unwrap_err().to_string();
    assert!(error.starts_with("table `retail.orders` has no branch or tag `gone`"), "{error}");
}

#[tokio::test]
async fn a_loaded_table_stays_as_it_was() {
    let world = world().await;
    let table = three_states(&world).await;
    let committed = table.delete(Filter::All).await.unwrap().commit(&world.lake).await.unwrap();
    assert_eq!((table.count().await.unwrap(), committed.table.count().await.unwrap()), (3, 0));
}

#[tokio::test]
async fn a_table_is_made_once_and_checked_afterwards() {
    let world = world().await;
    let name = named("retail.orders");
    let made = world.lake.ensure(&name, &definition()).await.unwrap();
    let again = world.lake.ensure(&name, &definition()).await.unwrap();
    assert_eq!(made.metadata().uuid(), again.metadata().uuid());
    let error = world.lake.create(&name, &definition()).await.unwrap_err();
    assert!(matches!(error, LakeError::TableExists { .. }), "{error}");
    let wider = definition().optional("city", PrimitiveType::String);
    let error = world.lake.ensure(&name, &wider).await.unwrap_err().to_string();
    assert!(error.starts_with("table `retail.orders` has no column `city`"), "{error}");
    let other = TableDef::new().required("id", PrimitiveType::String);
    let error = world.lake.ensure(&name, &other).await.unwrap_err().to_string();
    assert!(error.starts_with("column `id` of table `retail.orders` is long, not string"), "{error}");
    let error = world.lake.table(&named("retail.none")).await.unwrap_err().to_string();
    assert!(error.starts_with("table `retail.none` is not in the lake `orch`\nhint: "), "{error}");
}

#[tokio::test]
async fn a_table_made_of_batches_holds_all_their_types() {
    let world = world().await;
    let batch = orders(&[(1, "CA", 10, 100)]);
    let definition = TableDef::of(&batch.schema()).unwrap().key(["id"]);
    let table = world.table("retail.orders", definition).await;
    assert_eq!(table.key(), ["id"]);
    let table = table.append(batch).await.unwrap().commit(&world.lake).await.unwrap().table;
    assert_eq!(world.rows("retail.orders").await, ["1 CA 1970-01-11 1.00"]);
    assert!(table.schema().field_by_name("id").unwrap().required);
}

#[tokio::test]
async fn files_are_read_in_the_order_of_their_keys() {
    let world = world().await;
    let mut table = world.orders().await;
    for first in [4000, 0, 6000, 2000] {
        table = table.append(many(first, 500)).await.unwrap().commit(&world.lake).await.unwrap().table;
    }
    let read = table.scan().columns(["id"]).in_order().batch_size(100).collect().await.unwrap();
    let ids = read.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    let expected = [0, 2000, 4000, 6000].into_iter().flat_map(|first| first..first + 500);
    assert!(ids.eq(expected), "{read:?}");
}
