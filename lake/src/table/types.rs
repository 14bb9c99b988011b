//! Maps Arrow column types to the types that Iceberg supports, and converts batches to the schema of a table.

use super::definition::no_column;
use crate::error::{LakeError, LakeResult};
use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

/// Maximum number of digits of a decimal in Iceberg.
const MAX_DIGITS: u8 = 38;

/// Returns the Iceberg-compatible type that can hold all values of a column.
pub(crate) fn plain_type(name: &str, data: &DataType) -> LakeResult<DataType> {
    Ok(match data {
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        // `u64::MAX` has 20 decimal digits.
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => DataType::Utf8,
        DataType::Binary | DataType::BinaryView => DataType::LargeBinary,
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(_, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| "+00:00".into()))
        }
        DataType::Dictionary(_, value) => plain_type(name, value)?,
        DataType::RunEndEncoded(_, values) => plain_type(name, values.data_type())?,
        DataType::List(field) | DataType::LargeList(field) => DataType::List(Arc::new(plain_field(field)?)),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| plain_field(field)).collect::<LakeResult<Vec<_>>>()?.into())
        }
        // SQL expressions can produce a decimal with a negative scale, which Iceberg does not support.
        DataType::Decimal128(digits, scale @ ..0) if digits.saturating_add(scale.unsigned_abs()) <= MAX_DIGITS => {
            DataType::Decimal128(digits + scale.unsigned_abs(), 0)
        }
        DataType::Decimal128(_, ..0)
        | DataType::Decimal256(..)
        | DataType::Duration(_)
        | DataType::Interval(_)
        | DataType::Union(..) => {
            let what = format!("column `{name}` has the type {data}, which Iceberg does not have");
            return Err(LakeError::input(what, "cast it: a decimal of at most 38 digits, a number, a text"));
        }
        other => other.clone(),
    })
}

/// Converts the column types of a schema to types that Iceberg supports.
///
/// # Errors
/// Returns an error if Iceberg has no type for a column.
pub fn plain_types(schema: &Schema) -> LakeResult<Schema> {
    Ok(Schema::new(schema.fields().iter().map(|field| plain_field(field)).collect::<LakeResult<Vec<_>>>()?))
}

pub(crate) fn plain_field(field: &Field) -> LakeResult<Field> {
    Ok(field.clone().with_data_type(plain_type(field.name(), field.data_type())?))
}

/// Converts a batch to the schema of the table. Columns are matched by name, reordered and cast. Missing optional
/// columns are filled with null.
///
/// # Errors
/// Returns an error for an unknown column, a missing required column, a null in a required column, or a value that
/// does not fit. Its message contains the column and the row.
pub(crate) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> LakeResult<RecordBatch> {
    let given = batch.schema();
    if let Some(extra) = given.fields().iter().find(|field| schema.field_with_name(field.name()).is_err()) {
        return Err(no_column(extra.name(), schema.fields().iter().map(|field| field.name().as_str())));
    }
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => fit(column, field),
        None if field.is_nullable() => Ok(new_null_array(field.data_type(), batch.num_rows())),
        None => {
            let what = format!("column `{}` is missing, and the table requires it", field.name());
            Err(LakeError::input(what, "give it a value in every row"))
        }
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<LakeResult<_>>()?)?)
}

fn fit(column: &ArrayRef, field: &Field) -> LakeResult<ArrayRef> {
    let column = if column.data_type() == field.data_type() {
        column.clone()
    } else {
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(column, field.data_type(), &strict).map_err(|error| {
            let (name, from, to) = (field.name(), column.data_type(), field.data_type());
            let what = format!("column `{name}` has the type {from} and cannot become {to}: {error}");
            LakeError::input(what, "change the values, or the type of the table's column")
        })?
    };
    if !field.is_nullable() && column.null_count() > 0 {
        let row = (0..column.len()).find(|row| column.is_null(*row)).unwrap_or_default();
        let what =
            format!("column `{}` is null in row {} of a batch, and the table requires it", field.name(), row + 1);
        return Err(LakeError::input(what, "give it a value, or make the column optional"));
    }
    Ok(column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_with_a_negative_scale_becomes_one_without_fraction() {
        let plain = |digits, scale| plain_type("n", &DataType::Decimal128(digits, scale)).ok();
        assert_eq!(plain(16, -3), Some(DataType::Decimal128(19, 0)));
        assert_eq!(plain(16, 3), Some(DataType::Decimal128(16, 3)));
        assert_eq!(plain(38, -1), None);
    }
}
