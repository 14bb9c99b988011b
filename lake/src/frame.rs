//! Integrates polars with Arrow: zero-copy conversion (`frame/bridge.rs`), the column types of tables, and threads
//! for long computations.

mod bridge;
pub mod sql;
pub(crate) mod threads;

pub use threads::{Stop, blocking};

use arrow::array::{Array, ArrayRef, AsArray as _, Float64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options, max, min};
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;
use orch_sdk::task::{TaskResult, fatal};
use polars::prelude::DataFrame;
use std::sync::Arc;

/// Converts a data frame to batches of a schema. Columns are matched by name and cast if needed. Text columns are
/// copied once because polars stores texts as views; other columns are copied only if they are cast.
///
/// # Errors
/// Returns an error if a column is missing or unknown, a value does not fit its type, or a required column contains a
/// null.
pub fn to_batches(frame: DataFrame, schema: &SchemaRef) -> TaskResult<Vec<RecordBatch>> {
    bridge::to_arrow(frame)?.into_iter().map(|batch| conform(&batch, schema)).collect()
}

/// Converts a data frame to batches with the types of its columns. Text becomes `Utf8`, and every column is nullable.
///
/// # Errors
/// Returns an error if Arrow has no equivalent of a column type.
pub fn batches_of(frame: DataFrame) -> TaskResult<(SchemaRef, Vec<RecordBatch>)> {
    let batches = bridge::to_arrow(frame)?;
    let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    let plain = |field: &Arc<Field>| field.as_ref().clone().with_data_type(plain_type(field.data_type()));
    let schema = Arc::new(Schema::new(schema.fields().iter().map(plain).collect::<Vec<_>>()));
    let batches = batches.into_iter().map(|batch| conform(&batch, &schema)).collect::<TaskResult<_>>()?;
    Ok((schema, batches))
}

/// Converts batches of the same schema to a data frame without copying. An empty list returns a frame without
/// columns.
///
/// # Errors
/// Returns an error if polars has no equivalent of a column type.
pub fn from_batches(batches: &[RecordBatch]) -> TaskResult<DataFrame> {
    let mut frame = DataFrame::empty();
    for batch in batches {
        frame.vstack_mut(&bridge::from_arrow(batch)?)?;
    }
    Ok(frame)
}

/// Returns an empty data frame with the columns of a schema.
///
/// # Errors
/// Returns an error if polars has no equivalent of a column type.
pub fn empty_frame(schema: &SchemaRef) -> TaskResult<DataFrame> {
    bridge::from_arrow(&RecordBatch::new_empty(schema.clone()))
}

/// Returns a batch with the columns of a schema, in the schema's order and cast if needed.
pub fn conform(batch: &RecordBatch, schema: &SchemaRef) -> TaskResult<RecordBatch> {
    if &batch.schema() == schema {
        return Ok(batch.clone());
    }
    let given = batch.schema();
    if let Some(more) = given.fields().iter().find(|field| schema.column_with_name(field.name()).is_none()) {
        let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        return Err(fatal(format!("column `{}` is not in the schema\nhint: it has {}", more.name(), known.join(", "))));
    }
    let columns = schema.fields().iter().map(|field| {
        let column = batch.column_by_name(field.name());
        fitted(column.ok_or_else(|| fatal(format!("column `{}` is missing", field.name())))?, field)
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns.collect::<TaskResult<_>>()?, &options)?)
}

fn fitted(column: &ArrayRef, field: &Field) -> TaskResult<ArrayRef> {
    let nulls = column.logical_null_count();
    if nulls > 0 && !field.is_nullable() {
        return Err(fatal(format!("column `{}` must not be null, but {nulls} of its values are", field.name())));
    }
    if column.data_type() == field.data_type() {
        return Ok(column.clone());
    }
    if let (Some(values), DataType::Decimal128(precision @ 0..=18, scale)) =
        (column.as_primitive_opt::<Float64Type>(), field.data_type())
        && let Some(decimals) = decimals(values, *precision, *scale)?
    {
        return Ok(decimals);
    }
    // The option `safe` would replace values that do not fit by nulls instead of returning an error.
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    cast_with_options(column, field.data_type(), &options).map_err(|error| {
        let (name, from, to) = (field.name(), column.data_type(), field.data_type());
        fatal(format!("column `{name}` cannot be made from `{from}` to `{to}`: {error}"))
    })
}

/// Converts floats to decimals, rounding half away from zero as Arrow's cast does. Checks the range once for all
/// values, which takes a third of the time of Arrow's cast. Returns `None` if a value does not fit.
fn decimals(values: &Float64Array, precision: u8, scale: i8) -> Result<Option<ArrayRef>, ArrowError> {
    let (factor, limit) = (10_f64.powi(scale.into()), 10_f64.powi(precision.into()));
    let fits = |value: Option<f64>| value.is_none_or(|value| (value * factor).round().abs() < limit);
    if !fits(min(values)) || !fits(max(values)) {
        return Ok(None);
    }
    #[expect(clippy::cast_possible_truncation, reason = "18 digits fit; what is below a null does not matter")]
    let rounded = values.unary::<_, Decimal128Type>(|value| i128::from((value * factor).round() as i64));
    Ok(Some(Arc::new(rounded.with_precision_and_scale(precision, scale)?)))
}

/// Returns the most widely supported variant of a type: text and binary types without views and with 32-bit offsets.
fn plain_type(of: &DataType) -> DataType {
    match of {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        other => other.clone(),
    }
}
