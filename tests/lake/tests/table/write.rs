//! Append, overwrite, upsert and delete: the rows of the table afterwards, and its data files.

use crate::world::{by_state, definition, many, named, orders, rows_of, text, world};
use arrow::array::{Array, ArrayRef, Float32Array, Int32Array, Int64Array, LargeStringArray, RecordBatch, StringArray};
use iceberg::spec::{Operation, PrimitiveType};
use orch_lake::batches::Batches;
use orch_lake::table::At;
use orch_lake::table::evolve::Columns;
use orch_lake::{Filter, Lake, Table, TableDef};
use std::sync::Arc;

const ROWS: [(i64, &str, i32, i128); 4] =
    [(1, "CA", 10, 100), (2, "NY", 11, 250), (3, "TX", 12, 399), (4, "TX", 13, 5)];

async fn filled(lake: &Lake, table: &Table) -> Table {
    table.append(orders(&ROWS)).await.expect("written").commit(lake).await.expect("committed").table
}

fn summary(table: &Table, key: &str) -> String {
    let snapshot = table.current_snapshot().expect("there is a snapshot");
    snapshot.summary().additional_properties.get(key).cloned().unwrap_or_default()
}

#[tokio::test]
async fn what_is_appended_is_read_back() {
    let world = world().await;
    let table = filled(&world.lake, &world.orders().await).await;
    assert_eq!(
        rows_of(&table).await,
        ["1 CA 1970-01-11 1.00", "2 NY 1970-01-12 2.50", "3 TX 1970-01-13 3.99", "4 TX 1970-01-14 0.05"]
    );
    let table = table.append(orders(&[(5, "CA", 1, 1)])).await.unwrap().commit(&world.lake).await.unwrap().table;
    assert_eq!(table.count().await.unwrap(), 5);
    assert_eq!(summary(&table, "total-records"), "5");
    assert_eq!(summary(&table, "added-records"), "1");
    assert_eq!(summary(&table, "total-data-files"), "2");
}

#[tokio::test]
async fn an_append_without_rows_makes_no_snapshot() {
    let world = world().await;
    let table = world.orders().await;
    let committed = table.append(orders(&[])).await.unwrap().commit(&world.lake).await.unwrap();
    assert_eq!(committed.snapshot_id, None);
    assert!(committed.table.current_snapshot().is_none());
    assert_eq!(world.files("parquet"), 0);
}

#[tokio::test]
async fn columns_are_taken_by_name_and_cast_to_the_tables_types() {
    let world = world().await;
    let table = world.orders().await;
    let batch = RecordBatch::try_from_iter([
        ("state", Arc::new(LargeStringArray::from(vec!["CA"])) as Arc<dyn Array>),
        ("id", Arc::new(Int32Array::from(vec![7]))),
    ]);
    let table = table.append(batch.unwrap()).await.unwrap().commit(&world.lake).await.unwrap().table;
    assert_eq!(rows_of(&table).await, ["7 CA - -"]);
}

#[tokio::test]
async fn rows_that_do_not_fit_are_refused_by_name() {
    let world = world().await;
    let table = world.orders().await;
    let check = async |batch: Vec<(&str, Arc<dyn Array>)>, expected: &str| {
        let error = table.append(RecordBatch::try_from_iter(batch).unwrap()).await.unwrap_err().to_string();
        assert!(error.starts_with(expected) && error.contains("\nhint: "), "{error}");
    };
    let ids = || Arc::new(Int64Array::from(vec![1, 2])) as Arc<dyn Array>;
    check(vec![("state", Arc::new(StringArray::from(vec!["CA"])))], "column `id` is missing").await;
    check(vec![("id", ids()), ("city", ids())], "there is no column `city`").await;
    check(vec![("id", Arc::new(Int64Array::from(vec![Some(1), None])))], "column `id` is null in row 2").await;
    check(vec![("id", Arc::new(StringArray::from(vec!["x"])))], "column `id` has the type Utf8").await;
}

#[tokio::test]
async fn an_overwrite_of_a_filter_replaces_its_rows_and_no_others() {
    for definition in [definition(), by_state()] {
        let world = world().await;
        let table = filled(&world.lake, &world.table("retail.orders", definition).await).await;
        for _ in 0..2 {
            let table = table.refresh().await.unwrap();
            let change = table.overwrite(Filter::eq("state", "TX"), orders(&[(9, "TX", 1, 900)])).await.unwrap();
            change.commit(&world.lake).await.unwrap();
            assert_eq!(
                world.rows("retail.orders").await,
                ["1 CA 1970-01-11 1.00", "2 NY 1970-01-12 2.50", "9 TX 1970-01-02 9.00"]
            );
        }
    }
}

#[tokio::test]
async fn an_overwrite_refuses_rows_that_a_second_run_would_add_again() {
    let world = world().await;
    let table = world.orders().await;
    let error = table.overwrite(Filter::eq("state", "TX"), orders(&[(1, "CA", 1, 1)])).await.unwrap_err().to_string();
    assert!(error.contains("row 1 of a batch is none of those that are replaced"), "{error}");
    assert!(error.contains("state = 'TX'"), "{error}");
}

#[tokio::test]
async fn a_full_overwrite_leaves_only_the_new_rows() {
    let world = world().await;
    let table = filled(&world.lake, &world.orders().await).await;
    let change = table.overwrite(Filter::All, orders(&[(9, "TX", 1, 900)])).await.unwrap();
    let table = change.commit(&world.lake).await.unwrap().table;
    assert_eq!(rows_of(&table).await, ["9 TX 1970-01-02 9.00"]);
    assert_eq!(summary(&table, "total-records"), "1");
    assert_eq!(summary(&table, "total-data-files"), "1");
    let table = table.overwrite(Filter::All, orders(&[])).await.unwrap().commit(&world.lake).await.unwrap().table;
    assert_eq!(table.count().await.unwrap(), 0);
}

#[tokio::test]
async fn an_overwrite_of_partitions_replaces_those_that_the_rows_are_in() {
    let world = world().await;
    let table = filled(&world.lake, &world.table("retail.orders", by_state()).await).await;
    let change = table.overwrite_partitions(orders(&[(9, "TX", 1, 900), (8, "WA", 1, 800)])).await.unwrap();
    change.commit(&world.lake).await.unwrap();
    assert_eq!(
        world.rows("retail.orders").await,
        ["1 CA 1970-01-11 1.00", "2 NY 1970-01-12 2.50", "8 WA 1970-01-02 8.00", "9 TX 1970-01-02 9.00"]
    );
}

#[tokio::test]
async fn an_upsert_replaces_by_key_and_adds_the_others() {
    for mode in ["by-cost", "copy-on-write", "merge-on-read"] {
        for definition in [definition(), by_state()] {
            let world = world().await;
            let table = world.table("retail.orders", definition.property("write.merge.mode", mode)).await;
            let table = filled(&world.lake, &table).await;
            // Order 3 moves to another partition, and order 5 is new.
            let rows = orders(&[(1, "CA", 10, 101), (3, "WA", 12, 398), (5, "NY", 20, 7)]);
            let table = table.upsert(&[], rows).await.unwrap().commit(&world.lake).await.unwrap().table;
            let expected = [
                "1 CA 1970-01-11 1.01",
                "2 NY 1970-01-12 2.50",
                "3 WA 1970-01-13 3.98",
                "4 TX 1970-01-14 0.05",
                "5 NY 1970-01-21 0.07",
            ];
            assert_eq!(rows_of(&table).await, expected, "{mode}");
            assert_eq!(table.count().await.unwrap(), 5, "{mode}");
            // The second upsert applies to the files of the first.
            let rows = orders(&[(1, "CA", 10, 102), (3, "WA", 12, 397)]);
            let table = table.upsert(&["id"], rows).await.unwrap().commit(&world.lake).await.unwrap().table;
            let again = rows_of(&table).await;
            assert_eq!((again[0].as_str(), again[2].as_str()), ("1 CA 1970-01-11 1.02", "3 WA 1970-01-13 3.97"));
            assert_eq!(again.len(), 5, "{mode}");
        }
    }
}

#[tokio::test]
async fn a_small_part_of_a_large_file_is_noted_beside_it() {
    let world = world().await;
    let table = world.orders().await;
    let table = table.append(many(0, 50_000)).await.unwrap().commit(&world.lake).await.unwrap().table;
    let change = table.upsert(&[], orders(&[(7, "CA", 1, 1), (49_999, "CA", 1, 1)])).await.unwrap();
    assert!(change.remove.is_empty() && change.points_into.len() == 1, "the large file stays");
    let table = change.commit(&world.lake).await.unwrap().table;
    assert_eq!(table.count().await.unwrap(), 50_000);
    assert_eq!(summary(&table, "total-position-deletes"), "2");
    // Deleting most of its rows rewrites the file, and its position deletes are removed.
    let change = table.delete(Filter::ge("id", 100)).await.unwrap();
    let table = change.commit(&world.lake).await.unwrap().table;
    assert_eq!(table.count().await.unwrap(), 100);
    assert_eq!(summary(&table, "total-position-deletes"), "0");
    assert_eq!(table.scan().filter(Filter::eq("id", 7)).count().await.unwrap(), 1);
}

#[tokio::test]
async fn files_that_hold_no_key_are_not_touched() {
    let world = world().await;
    let mut table = world.orders().await;
    for first in [0, 1000, 2000] {
        table = table.append(many(first, 1000)).await.unwrap().commit(&world.lake).await.unwrap().table;
    }
    let change = table.upsert(&[], orders(&[(1500, "CA", 1, 1)])).await.unwrap();
    assert_eq!(change.remove.len(), 1, "one file of three holds such a key");
    assert_eq!(change.added_rows(), 1000);
}

#[tokio::test]
async fn the_same_key_twice_is_refused() {
    let world = world().await;
    let table = world.orders().await;
    let error = table.upsert(&[], orders(&[(1, "CA", 1, 1), (1, "NY", 1, 1)])).await.unwrap_err().to_string();
    assert!(error.starts_with("two rows have the same key (id): the second is row 2"), "{error}");
    let bare = world.table("retail.bare", TableDef::new().optional("id", PrimitiveType::Long)).await;
    let ids = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1])) as Arc<dyn Array>)]).unwrap();
    let error = bare.upsert(&[], ids).await.unwrap_err().to_string();
    assert!(error.starts_with("table `retail.bare` has no key"), "{error}");
}

#[tokio::test]
async fn a_delete_takes_rows_out_and_nulls_stay() {
    for definition in [definition(), by_state(), definition().property("write.merge.mode", "merge-on-read")] {
        let world = world().await;
        let table = filled(&world.lake, &world.table("retail.orders", definition).await).await;
        let ids = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![9])) as Arc<dyn Array>)]).unwrap();
        let table = table.append(ids).await.unwrap().commit(&world.lake).await.unwrap().table;
        let filter = Filter::ne("state", "NY").and(Filter::lt("id", 4));
        let table = table.delete(filter).await.unwrap().commit(&world.lake).await.unwrap().table;
        assert_eq!(rows_of(&table).await, ["2 NY 1970-01-12 2.50", "4 TX 1970-01-14 0.05", "9 - - -"]);
        let table = table.delete(Filter::is_null("state")).await.unwrap().commit(&world.lake).await.unwrap().table;
        assert_eq!(table.count().await.unwrap(), 2);
        let nothing = table.delete(Filter::eq("id", 77)).await.unwrap();
        assert!(nothing.is_empty());
    }
}

#[tokio::test]
async fn a_delete_of_whole_partitions_reads_no_file() {
    let world = world().await;
    let table = filled(&world.lake, &world.table("retail.orders", by_state()).await).await;
    let change = table.delete(Filter::is_in("state", ["TX", "CA"])).await.unwrap();
    assert_eq!((change.remove.len(), change.add.len(), change.operation.clone()), (2, 0, Operation::Delete));
    let table = change.commit(&world.lake).await.unwrap().table;
    assert_eq!(rows_of(&table).await, ["2 NY 1970-01-12 2.50"]);
}

#[tokio::test]
async fn declared_order_is_the_order_of_rows_in_each_file() {
    let world = world().await;
    let table = world.table("retail.orders", definition().sorted(["amount", "id"])).await;
    let rows = orders(&[(1, "CA", 1, 300), (2, "CA", 1, 100), (3, "CA", 1, 200), (4, "CA", 1, 100)]);
    let table = table.append(rows).await.unwrap().commit(&world.lake).await.unwrap().table;
    let batches = table.scan().columns(["id"]).collect().await.unwrap();
    let ids = batches.iter().flat_map(|batch| {
        let ids = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
        ids.values().to_vec()
    });
    assert_eq!(ids.collect::<Vec<_>>(), [2, 4, 3, 1]);
    let plan = table.files(&At::Now).await.unwrap();
    assert_eq!(plan.files[0].file.data().sort_order_id(), Some(1));
}

#[tokio::test]
async fn files_are_rolled_at_the_target_size() {
    let world = world().await;
    let definition = definition()
        .property("write.target-file-size-bytes", "20000")
        .property("write.parquet.row-group-size-bytes", "10000");
    let table = world.table("retail.orders", definition).await;
    let batches: Vec<_> = (0..20).map(|part| many(part * 1000, 1000)).collect();
    let table = table.append(batches).await.unwrap().commit(&world.lake).await.unwrap().table;
    assert!(table.files(&At::Now).await.unwrap().files.len() > 3);
    assert_eq!(table.count().await.unwrap(), 20_000);
    assert_eq!(text(&table.scan().filter(Filter::eq("id", 12_345)).collect().await.unwrap()).len(), 1);
}

#[tokio::test]
async fn more_partitions_than_open_files_are_written_within_bounds() {
    let world = world().await;
    let definition = definition().partition("id", iceberg::spec::Transform::Truncate(10));
    let table = world.table("retail.orders", definition).await;
    let table = table.append(many(0, 1000)).await.unwrap().commit(&world.lake).await.unwrap().table;
    assert_eq!(table.files(&At::Now).await.unwrap().files.len(), 100);
    assert_eq!(table.count().await.unwrap(), 1000);
    let again = world.lake.table(&named("retail.orders")).await.unwrap();
    assert_eq!(again.plan(&Filter::lt("id", 20)).await.unwrap().files.len(), 2);
}

/// Files of rows that arrive day by day are closed before the last day arrives. Rows that arrive mixed are written to
/// one file per partition.
#[tokio::test]
async fn a_file_that_a_million_rows_went_past_is_closed() {
    let world = world().await;
    let by_id = definition().partition("id", iceberg::spec::Transform::Truncate(600_000));
    let mixed = definition().partition("state", iceberg::spec::Transform::Identity);
    for (name, definition, files) in [("retail.by_id", by_id, 4), ("retail.mixed", mixed, 3)] {
        let table = world.table(name, definition).await;
        let lots = (0..18).map(|lot| many(lot * 100_000, 100_000)).chain([many(0, 10)]).map(Ok);
        let rows = Batches::new(table.arrow_schema().unwrap(), futures::stream::iter(lots));
        let table = table.append(rows).await.unwrap().commit(&world.lake).await.unwrap().table;
        assert_eq!(table.files(&At::Now).await.unwrap().files.len(), files, "{name}");
        assert_eq!(table.count().await.unwrap(), 1_800_010);
    }
}

/// Another engine widened a column: rows with the old type can still be written. If it renamed a column, the error
/// contains both names.
#[tokio::test]
async fn columns_that_another_engine_changed_are_taken_over_or_named() {
    let world = world().await;
    let narrow = || TableDef::new().required("id", PrimitiveType::Int).optional("price", PrimitiveType::Float);
    let table = world.table("retail.prices", narrow()).await;
    let rows = |ids: &[i32]| {
        let columns: [(&str, ArrayRef); 2] = [
            ("id", Arc::new(Int32Array::from_iter_values(ids.iter().copied()))),
            ("price", Arc::new(Float32Array::from_iter_values(ids.iter().map(|id| *id as f32 / 4.0)))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    table.append(rows(&[1])).await.unwrap().commit(&world.lake).await.unwrap();
    let widened = Columns::new().widen("id", PrimitiveType::Long).widen("price", PrimitiveType::Double);
    world.lake.evolve(table.name(), widened).await.unwrap();
    let table = world.lake.ensure(table.name(), &narrow()).await.unwrap();
    table.append(rows(&[2])).await.unwrap().commit(&world.lake).await.unwrap();
    assert_eq!(world.rows("retail.prices").await, ["1 0.25", "2 0.5"]);

    world.lake.evolve(table.name(), Columns::new().rename("price", "amount")).await.unwrap();
    let wide = TableDef::new().required("id", PrimitiveType::Long).optional("price", PrimitiveType::Double);
    let error = world.lake.ensure(table.name(), &wide).await.unwrap_err();
    let said = error.to_string();
    assert!(error.is_fatal() && said.contains("no column `price`") && said.contains("renamed to `amount`"), "{said}");
}
