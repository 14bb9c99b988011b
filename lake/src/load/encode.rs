//! Encodes record batches in the binary format of Postgres `copy`. A row is its number of fields followed by the
//! fields; a field is its length followed by its bytes.

use super::refusal::RowsRefused;
use crate::source::postgres::{EPOCH_DAYS, EPOCH_MICROS};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch, StringArray,
};
use arrow::array::{BinaryArray, Decimal128Array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use bytes::{BufMut, BytesMut};
use orch_sdk::task::{TaskResult, fatal};
use std::ops::{Range, RangeFrom};

/// Range of dates that Postgres supports, from 4713 BC to 5874897 AD, in days since the Unix epoch.
const DAYS: Range<i32> = -2_440_588..2_145_042_906;
/// Timestamps that Postgres supports, from 4713 BC on, in microseconds since the Unix epoch.
const MICROS: RangeFrom<i64> = -210_866_803_200_000_000..;

/// Header of a binary `copy`: signature, no flags, no header extension.
pub(super) const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Trailer of a binary `copy`, sent after the last row.
pub(super) const TAIL: &[u8] = &[0xff, 0xff];

enum Cells {
    Bool(BooleanArray),
    Int16(PrimitiveArray<Int16Type>),
    Int32(PrimitiveArray<Int32Type>),
    Int64(PrimitiveArray<Int64Type>),
    Float32(PrimitiveArray<Float32Type>),
    Float64(PrimitiveArray<Float64Type>),
    Decimal(Decimal128Array, u16),
    Text(StringArray),
    Bytes(BinaryArray),
    Uuid(FixedSizeBinaryArray),
    Date(PrimitiveArray<Date32Type>),
    Time(PrimitiveArray<Time64MicrosecondType>),
    Moment(PrimitiveArray<TimestampMicrosecondType>),
}

pub(super) fn rows(batch: &RecordBatch, into: &mut BytesMut) -> TaskResult<()> {
    let columns = batch.columns().iter().map(cast_plain).collect::<TaskResult<Vec<ArrayRef>>>()?;
    let columns = columns.iter().map(|column| Ok((column.nulls(), cells(column)?))).collect::<TaskResult<Vec<_>>>()?;
    for ((_, cells), field) in columns.iter().zip(batch.schema().fields()) {
        if !cells.are_in_range() {
            return Err(RowsRefused::because(format!("`{}` has a time that Postgres cannot keep", field.name())));
        }
    }
    let count = i16::try_from(columns.len()).map_err(|_| fatal("a table of Postgres has at most 1,600 columns"))?;
    for row in 0..batch.num_rows() {
        into.put_i16(count);
        for (nulls, cells) in &columns {
            if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                into.put_i32(-1);
            } else {
                cells.put(row, into);
            }
        }
    }
    Ok(())
}

/// Appends a copy of an encoded row with an additional boolean column at its end.
pub(super) fn longer(row: &[u8], last: bool, into: &mut BytesMut) {
    if let Some((count, fields)) = row.split_first_chunk() {
        into.put_i16(i16::from_be_bytes(*count) + 1);
        into.put_slice(fields);
        field(into, &[u8::from(last)]);
    }
}

/// Casts a column, without loss, to a type that can be encoded.
fn cast_plain(column: &ArrayRef) -> TaskResult<ArrayRef> {
    let plain = match column.data_type() {
        DataType::Int8 | DataType::UInt8 => Some(DataType::Int16),
        DataType::UInt16 => Some(DataType::Int32),
        DataType::UInt32 => Some(DataType::Int64),
        DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8),
        DataType::LargeBinary | DataType::BinaryView => Some(DataType::Binary),
        DataType::Time64(TimeUnit::Nanosecond) => Some(DataType::Time64(TimeUnit::Microsecond)),
        DataType::Timestamp(unit, zone) if *unit != TimeUnit::Microsecond => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
        }
        _ => None,
    };
    Ok(match plain {
        Some(plain) => cast(column, &plain)?,
        None => column.clone(),
    })
}

fn cells(column: &ArrayRef) -> TaskResult<Cells> {
    Ok(match column.data_type() {
        DataType::Boolean => Cells::Bool(column.as_boolean().clone()),
        DataType::Int16 => Cells::Int16(column.as_primitive().clone()),
        DataType::Int32 => Cells::Int32(column.as_primitive().clone()),
        DataType::Int64 => Cells::Int64(column.as_primitive().clone()),
        DataType::Float32 => Cells::Float32(column.as_primitive().clone()),
        DataType::Float64 => Cells::Float64(column.as_primitive().clone()),
        DataType::Decimal128(_, scale) => {
            let scale = u16::try_from(*scale).map_err(|_| fatal("a decimal with a scale below zero"))?;
            Cells::Decimal(column.as_primitive::<Decimal128Type>().clone(), scale)
        }
        DataType::Utf8 => Cells::Text(column.as_string().clone()),
        DataType::Binary => Cells::Bytes(column.as_binary().clone()),
        DataType::FixedSizeBinary(16) => Cells::Uuid(column.as_fixed_size_binary().clone()),
        DataType::Date32 => Cells::Date(column.as_primitive().clone()),
        DataType::Time64(_) => Cells::Time(column.as_primitive().clone()),
        DataType::Timestamp(..) => Cells::Moment(column.as_primitive().clone()),
        other => return Err(fatal(format!("a column of type `{other}` has no form in Postgres"))),
    })
}

impl Cells {
    /// Returns true if all dates and timestamps are in the ranges of Postgres. Values of other types are checked by
    /// the server.
    fn are_in_range(&self) -> bool {
        match self {
            Cells::Date(cells) => cells.iter().flatten().all(|day| DAYS.contains(&day)),
            Cells::Moment(cells) => cells.iter().flatten().all(|at| MICROS.contains(&at)),
            _ => true,
        }
    }

    fn put(&self, row: usize, into: &mut BytesMut) {
        match self {
            Cells::Bool(cells) => field(into, &[u8::from(cells.value(row))]),
            Cells::Int16(cells) => field(into, &cells.value(row).to_be_bytes()),
            Cells::Int32(cells) => field(into, &cells.value(row).to_be_bytes()),
            Cells::Int64(cells) => field(into, &cells.value(row).to_be_bytes()),
            Cells::Float32(cells) => field(into, &cells.value(row).to_be_bytes()),
            Cells::Float64(cells) => field(into, &cells.value(row).to_be_bytes()),
            Cells::Decimal(cells, scale) => numeric(cells.value(row), *scale, into),
            Cells::Text(cells) => field(into, cells.value(row).as_bytes()),
            Cells::Bytes(cells) => field(into, cells.value(row)),
            Cells::Uuid(cells) => field(into, cells.value(row)),
            Cells::Date(cells) => field(into, &(cells.value(row) - EPOCH_DAYS).to_be_bytes()),
            Cells::Time(cells) => field(into, &cells.value(row).to_be_bytes()),
            Cells::Moment(cells) => field(into, &(cells.value(row) - EPOCH_MICROS).to_be_bytes()),
        }
    }
}

pub(super) fn field(into: &mut BytesMut, bytes: &[u8]) {
    into.put_i32(bytes.len() as i32);
    into.put_slice(bytes);
}

/// Splits an encoded row into its first field and the remaining bytes. The field is `None` if it is null. Returns
/// `None` if the field is incomplete.
pub(super) fn split_field(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    match usize::try_from(i32::from_be_bytes(*length)) {
        Ok(length) => rest.split_at_checked(length).map(|(field, rest)| (Some(field), rest)),
        Err(_) => Some((None, rest)),
    }
}

/// Encodes a Postgres `numeric`: a list of base-10,000 digits that are aligned to the decimal point. It is preceded
/// by their number, the exponent of the first digit, the sign, and the number of decimal places.
fn numeric(value: i128, scale: u16, into: &mut BytesMut) {
    // The fraction is padded with zeros to complete groups of four digits: 12.3 becomes 0012 . 3000.
    let padding = (4 - scale % 4) % 4;
    let mut groups = [0_u16; 12]; // 38 digits, up to 3 of padding, and 1 group for alignment
    let mut rest = value.unsigned_abs();
    let (mut count, mut lowest) = (0, 0);
    // Only the lowest group is multiplied by the padding, because multiplying the whole value could overflow 128
    // bits.
    if padding > 0 {
        let own = 10_u128.pow(u32::from(4 - padding));
        groups[0] = (rest % own) as u16 * 10_u16.pow(u32::from(padding));
        rest /= own;
        count = 1;
    }
    while rest > 0 {
        groups[count] = (rest % 10_000) as u16;
        rest /= 10_000;
        count += 1;
    }
    while count > 0 && groups[count - 1] == 0 {
        count -= 1; // the padded group may be the only one, and be zero
    }
    while lowest < count && groups[lowest] == 0 {
        lowest += 1;
    }
    let behind = (scale + padding) / 4;
    let digits = count - lowest;
    into.put_i32(8 + 2 * digits as i32);
    into.put_i16(digits as i16);
    into.put_i16(if digits == 0 { 0 } else { count as i16 - 1 - behind as i16 });
    into.put_u16(if value < 0 { 0x4000 } else { 0 });
    into.put_u16(scale);
    groups[lowest..count].iter().rev().for_each(|group| into.put_u16(*group));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_postgres_does_not_have_is_refused() {
        let of = |day: i32| {
            let days: ArrayRef =
                std::sync::Arc::new(PrimitiveArray::<Date32Type>::from(vec![Some(0), None, Some(day)]));
            let batch = RecordBatch::try_from_iter([("day", days)]).unwrap();
            rows(&batch, &mut BytesMut::new()).map_err(|error| RowsRefused::reason(&error))
        };
        for day in [DAYS.start, 0, DAYS.end - 1] {
            assert!(of(day).is_ok(), "{day}");
        }
        for day in [i32::MIN, DAYS.start - 1, DAYS.end, i32::MAX] {
            assert_eq!(of(day).unwrap_err().as_deref(), Some("`day` has a time that Postgres cannot keep"), "{day}");
        }
        let at: ArrayRef = std::sync::Arc::new(PrimitiveArray::<TimestampMicrosecondType>::from(vec![i64::MIN]));
        let batch = RecordBatch::try_from_iter([("at", at)]).unwrap();
        assert!(rows(&batch, &mut BytesMut::new()).is_err());
    }

    /// Expected values (groups, weight, sign, scale and digits) are the output of the server's `numeric_send`.
    #[test]
    fn decimals_are_groups_of_four_digits_around_the_point() {
        for (value, scale, expected) in [
            (0, 2, vec![0, 0, 0, 2]),
            (29_998, 2, vec![2, 0, 0, 2, 299, 9_800]),
            (-5, 2, vec![1, -1, 0x4000, 2, 500]),
            (100, 2, vec![1, 0, 0, 2, 1]),
            (1_000_000, 2, vec![1, 1, 0, 2, 1]),
            (123_456_789, 4, vec![3, 1, 0, 4, 1, 2_345, 6_789]),
            (1, 5, vec![1, -2, 0, 5, 1_000]),
            (12_345, 0, vec![2, 1, 0, 0, 1, 2_345]),
        ] {
            let mut into = BytesMut::new();
            numeric(value, scale, &mut into);
            let words: Vec<i16> = into[4..].chunks(2).map(|word| i16::from_be_bytes([word[0], word[1]])).collect();
            assert_eq!(words, expected, "{value} at {scale}");
            assert_eq!(into[..4], (2 * words.len() as i32).to_be_bytes(), "{value} at {scale}");
        }
    }
}
