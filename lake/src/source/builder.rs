//! Arrow column builders for sources that send data row by row.

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, FixedSizeBinaryBuilder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, StringBuilder, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, TimeUnit};
use std::sync::Arc;

/// Estimated size of a text value in bytes, for the initial allocation.
const TEXT_BYTES: usize = 16;

pub(super) enum Builder {
    Bool(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal { into: Decimal128Builder, precision: u8, scale: i8 },
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Moment(TimestampMicrosecondBuilder),
}

/// Calls a method that the column builders of all types have.
macro_rules! on_builder {
    ($builder:expr, $into:ident => $result:expr) => {
        match $builder {
            Builder::Bool($into) => $result,
            Builder::Int16($into) => $result,
            Builder::Int32($into) => $result,
            Builder::Int64($into) => $result,
            Builder::Float32($into) => $result,
            Builder::Float64($into) => $result,
            Builder::Decimal { into: $into, .. } => $result,
            Builder::Text($into) => $result,
            Builder::Bytes($into) => $result,
            Builder::Uuid($into) => $result,
            Builder::Date($into) => $result,
            Builder::Time($into) => $result,
            Builder::Moment($into) => $result,
        }
    };
}

impl Builder {
    /// Returns a builder with capacity for `rows` rows. `None` if no source sends values of this type.
    pub(super) fn of(of: &DataType, rows: usize) -> Option<Builder> {
        Some(match of {
            DataType::Boolean => Builder::Bool(BooleanBuilder::with_capacity(rows)),
            DataType::Int16 => Builder::Int16(Int16Builder::with_capacity(rows)),
            DataType::Int32 => Builder::Int32(Int32Builder::with_capacity(rows)),
            DataType::Int64 => Builder::Int64(Int64Builder::with_capacity(rows)),
            DataType::Float32 => Builder::Float32(Float32Builder::with_capacity(rows)),
            DataType::Float64 => Builder::Float64(Float64Builder::with_capacity(rows)),
            DataType::Decimal128(precision, scale) => {
                let into = Decimal128Builder::with_capacity(rows).with_data_type(of.clone());
                Builder::Decimal { into, precision: *precision, scale: *scale }
            }
            DataType::Utf8 => Builder::Text(StringBuilder::with_capacity(rows, rows * TEXT_BYTES)),
            DataType::Binary => Builder::Bytes(BinaryBuilder::with_capacity(rows, rows * TEXT_BYTES)),
            DataType::FixedSizeBinary(16) => Builder::Uuid(FixedSizeBinaryBuilder::with_capacity(rows, 16)),
            DataType::Date32 => Builder::Date(Date32Builder::with_capacity(rows)),
            DataType::Time64(TimeUnit::Microsecond) => Builder::Time(Time64MicrosecondBuilder::with_capacity(rows)),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Builder::Moment(TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(of.clone()))
            }
            _ => return None,
        })
    }

    pub(super) fn append_null(&mut self) {
        on_builder!(self, into => into.append_null());
    }

    /// Returns the collected values as a column, and resets the builder.
    pub(super) fn finish(&mut self) -> ArrayRef {
        on_builder!(self, into => Arc::new(into.finish()))
    }
}
