//! Record batches from Rust structs and from SQL.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::json::ReaderBuilder;
use orch::TaskResult;
use orch_lake::frame::sql::query_rows;
use orch_lake::frame::{batches_of, blocking};
use polars::prelude::DataFrame;
use serde::Serialize;

/// Builds a batch from structs whose serialized fields have the names of the columns. Fields without a column are
/// ignored.
///
/// # Errors
/// Returns an error if a value does not fit the type of its column or a required value is missing.
pub(crate) fn batch_of<T: Serialize>(schema: &SchemaRef, rows: &[T]) -> TaskResult<RecordBatch> {
    let mut decoder = ReaderBuilder::new(schema.clone()).with_batch_size(rows.len().max(1)).build_decoder()?;
    decoder.serialize(rows)?;
    Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(schema.clone())))
}

/// Runs a `SELECT` on another thread, because the engine panics if it blocks a single-threaded runtime, which tasks may
/// have.
pub(crate) async fn query(rows: &RecordBatch, statement: &'static str) -> TaskResult<DataFrame> {
    let rows = rows.clone();
    blocking(move |_| query_rows(&[rows], statement)).await
}

/// Runs a `SELECT` over a batch, which it names `rows`. Every column of the result is nullable. Panics on a
/// single-threaded runtime, which task functions may have: there, call it in [`orch_lake::frame::blocking`].
///
/// # Errors
/// Returns an error if the statement does not fit the batch or a value does not fit a cast.
pub(crate) fn select(rows: &RecordBatch, statement: &str) -> TaskResult<RecordBatch> {
    let (schema, batches) = batches_of(query_rows(std::slice::from_ref(rows), statement)?)?;
    Ok(concat_batches(&schema, &batches)?)
}
