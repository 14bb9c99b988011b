//! Conversions between Polars and Arrow in both directions.

use crate::support::{field, lines, sales, sales_schema, schema, words};
use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type};
use orch_lake::frame::{batches_of, blocking, from_batches, to_batches};
use polars::prelude::{IntoLazy, SortMultipleOptions, col, df, lit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn batches_become_a_frame_and_come_back() {
    let batches =
        [sales(&[(1, Some("x"), 29_998), (2, None, 5)]), sales(&[(3, Some("a longer text than views hold"), 0)])];
    let frame = from_batches(&batches).expect("a frame");
    assert_eq!(frame.shape(), (3, 3));
    let back = to_batches(frame, &sales_schema()).expect("batches");
    let rows: Vec<String> = back.iter().flat_map(lines).collect();
    assert_eq!(rows, ["1 | x | 299.98", "2 | - | 0.05", "3 | a longer text than views hold | 0.00"]);
    assert!(back.iter().all(|batch| batch.schema() == sales_schema()));
}

#[test]
fn numbers_cross_without_a_copy() {
    let numbers = Int64Array::from_iter_values(0..1_000);
    let address = numbers.values().as_ptr();
    let wanted = schema(vec![field("n", DataType::Int64)]);
    let batch = RecordBatch::try_new(wanted.clone(), vec![Arc::new(numbers)]).expect("it fits");
    let there = from_batches(&[batch]).expect("a frame");
    let back = to_batches(there, &wanted).expect("batches");
    assert_eq!(back[0].column(0).as_primitive::<Int64Type>().values().as_ptr(), address);
}

#[test]
fn what_polars_computes_has_the_types_that_tables_want() {
    let frame = df!("city" => ["Oslo", "Rome", "Oslo"], "n" => [1_i32, 2, 3]).expect("a frame");
    let sums =
        frame.lazy().group_by([col("city")]).agg([col("n").sum()]).sort(["city"], SortMultipleOptions::default());
    let sums = sums.with_column(lit(7_u32).alias("u")).collect().expect("it computes");
    let (plain, _) = batches_of(sums.clone()).expect("batches");
    assert_eq!(plain.field(0).data_type(), &DataType::Utf8);
    let wanted = schema(vec![
        field("n", DataType::Int64),
        field("city", DataType::Utf8),
        field("u", DataType::Decimal128(12, 2)),
    ]);
    let rows: Vec<String> = to_batches(sums, &wanted).expect("batches").iter().flat_map(lines).collect();
    assert_eq!(rows, ["4 | Oslo | 7.00", "2 | Rome | 7.00"]);
}

#[test]
fn what_does_not_fit_the_schema_is_told_by_its_column() {
    let wanted = schema(vec![field("id", DataType::Int32), Field::new("name", DataType::Utf8, true)]);
    for (frame, told) in [
        (df!("id" => [1]), "column `name` is missing"),
        (df!("id" => [1], "name" => ["x"], "more" => [1]), "column `more` is not in the schema\nhint: it has id, name"),
        (df!("id" => [Some(1), None], "name" => ["x", "y"]), "column `id` must not be null, but 1 of its values are"),
        (df!("id" => [1_i64 << 40], "name" => ["x"]), "column `id` cannot be made from `Int64` to `Int32`"),
        (df!("id" => ["x"], "name" => ["x"]), "column `id` cannot be made"),
    ] {
        let error = words(&to_batches(frame.expect("a frame"), &wanted).expect_err("it does not fit"));
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn a_frame_without_rows_has_its_columns() {
    let frame = from_batches(&[RecordBatch::new_empty(sales_schema())]).expect("a frame");
    assert_eq!(frame.shape(), (0, 3));
    let back = to_batches(frame, &sales_schema()).expect("batches");
    assert_eq!(back.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
}

#[tokio::test]
async fn a_computation_that_nobody_waits_for_ends_at_its_next_step() {
    let ended = Arc::new(AtomicBool::new(false));
    let (begun, is_begun) = tokio::sync::oneshot::channel();
    let told = ended.clone();
    let work = blocking(move |stop| {
        begun.send(()).ok();
        while stop.check().is_ok() {
            std::thread::yield_now();
        }
        told.store(true, Ordering::SeqCst);
        stop.check()
    });
    tokio::select! {
        _ = work => panic!("it ends only when it is dropped"),
        begun = is_begun => begun.expect("it begins"),
    }
    // The thread of the pool is free again: more computations than the pool has threads finish.
    let cores = std::thread::available_parallelism().expect("a number").get();
    let all = futures::future::join_all((0..cores * 4).map(|n| blocking(move |_| Ok(n)))).await;
    assert!(all.into_iter().all(|result| result.is_ok()));
    while !ended.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
}
