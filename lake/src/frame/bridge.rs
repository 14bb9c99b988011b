//! Converts between polars and Arrow through Arrow's C data interface, without copying buffers. This is the only file
//! of the lake with unsafe code.
//!
//! Each of the two crates has its own Rust type for the same C struct, whose layout is defined by the interface. The
//! unsafe operations are the transmutes between these types, and the import of data that the other crate has
//! exported.

#![expect(unsafe_code, reason = "two crates have a type each for the same C struct")]

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, make_array};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi};
use orch_sdk::task::TaskResult;
use polars::prelude::{Column, CompatLevel, DataFrame, IntoColumn, PolarsResult, Series};
use polars_arrow::ffi::{ArrowArray, ArrowSchema};
use std::mem::{align_of, size_of, transmute};
use std::sync::Arc;

const _: () = assert!(size_of::<ArrowArray>() == size_of::<FFI_ArrowArray>());
const _: () = assert!(align_of::<ArrowArray>() == align_of::<FFI_ArrowArray>());
const _: () = assert!(size_of::<ArrowSchema>() == size_of::<FFI_ArrowSchema>());
const _: () = assert!(align_of::<ArrowSchema>() == align_of::<FFI_ArrowSchema>());

type PolarsArray = Box<dyn polars_arrow::array::Array>;
type PolarsField = polars_arrow::datatypes::Field;

/// Returns one batch per chunk of the frame. An empty frame has one chunk without rows.
pub(super) fn to_arrow(mut frame: DataFrame) -> TaskResult<Vec<RecordBatch>> {
    frame.align_chunks();
    let series: Vec<&Series> = frame.columns().iter().map(Column::as_materialized_series).collect();
    let chunks = series.first().map_or(0, |first| first.n_chunks());
    (0..chunks).map(|chunk| batch(&series, chunk)).collect()
}

fn batch(series: &[&Series], chunk: usize) -> TaskResult<RecordBatch> {
    let level = CompatLevel::newest();
    let mut fields = Vec::with_capacity(series.len());
    let mut columns = Vec::with_capacity(series.len());
    for series in series {
        let (field, column) = out(series.to_arrow(chunk, level), &series.field().to_arrow(level))?;
        fields.push(field);
        columns.push(column);
    }
    let rows = columns.first().map_or(0, arrow::array::Array::len);
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

pub(super) fn from_arrow(batch: &RecordBatch) -> TaskResult<DataFrame> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let series = Series::from_arrow(field.name().as_str().into(), into(column, field)?)?;
        Ok(series.into_column())
    });
    Ok(DataFrame::new(batch.num_rows(), columns.collect::<TaskResult<Vec<Column>>>()?)?)
}

fn out(array: PolarsArray, field: &PolarsField) -> Result<(Field, ArrayRef), ArrowError> {
    let (array, schema) = (polars_arrow::ffi::export_array_to_c(array), polars_arrow::ffi::export_field_to_c(field));
    // SAFETY: both types are the structs of the C data interface, `repr(C)` with the same fields in the same order.
    // Both transfer ownership with the same `release` callback. The source is moved, so each struct is released once.
    let (array, schema) =
        unsafe { (transmute::<ArrowArray, FFI_ArrowArray>(array), transmute::<ArrowSchema, FFI_ArrowSchema>(schema)) };
    // SAFETY: polars has just exported this array with this schema.
    let data = unsafe { from_ffi(array, &schema) }?;
    // Field metadata of polars is dropped, because it has no meaning in Arrow.
    let field = Field::new(field.name.as_str(), data.data_type().clone(), true);
    Ok((field, make_array(data)))
}

fn into(array: &ArrayRef, field: &Field) -> TaskResult<PolarsArray> {
    let array = FFI_ArrowArray::new(&array.to_data());
    let schema = FFI_ArrowSchema::try_from(field.data_type())?;
    // SAFETY: both types are the same C struct, as in `out`, and the source is moved.
    let (array, schema) =
        unsafe { (transmute::<FFI_ArrowArray, ArrowArray>(array), transmute::<FFI_ArrowSchema, ArrowSchema>(schema)) };
    // SAFETY: arrow has just exported this array with this schema.
    let imported: PolarsResult<PolarsArray> = unsafe {
        polars_arrow::ffi::import_field_from_c(&schema)
            .and_then(|field| polars_arrow::ffi::import_array_from_c(array, field.dtype.clone()))
    };
    Ok(imported?)
}
