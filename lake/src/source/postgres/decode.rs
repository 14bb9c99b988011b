//! Decodes binary `copy` output of Postgres: a header, then rows of length-prefixed fields. It arrives in chunks that
//! can end anywhere. Values are appended directly to Arrow builders.

use super::{EPOCH_DAYS, EPOCH_MICROS};
use crate::source::builder::Builder;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use bytes::{Buf, BytesMut};
use orch_sdk::task::{TaskResult, fatal};

const HEAD_BYTES: usize = 19;

/// Returns the Arrow type for a Postgres type name in the notation of `format_type`.
pub fn type_of(has: &str) -> Option<DataType> {
    Some(match has {
        "boolean" | "bool" => DataType::Boolean,
        "smallint" | "int2" => DataType::Int16,
        "integer" | "int4" => DataType::Int32,
        "bigint" | "int8" => DataType::Int64,
        "real" | "float4" => DataType::Float32,
        "double precision" | "float8" => DataType::Float64,
        "text" | "varchar" | "char" | "bpchar" | "name" | "json" | "citext" | "character varying" | "character" => {
            DataType::Utf8
        }
        "bytea" => DataType::Binary,
        "uuid" => DataType::FixedSizeBinary(16),
        "date" => DataType::Date32,
        "time" | "time without time zone" => DataType::Time64(TimeUnit::Microsecond),
        "timestamp" | "timestamp without time zone" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "timestamptz" | "timestamp with time zone" => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        other => {
            if other.starts_with("character varying(") || other.starts_with("character(") {
                return Some(DataType::Utf8);
            }
            let (precision, scale) = other.strip_prefix("numeric(")?.strip_suffix(')')?.split_once(',')?;
            let precision: u8 = precision.parse().ok().filter(|precision| *precision <= 38)?;
            DataType::Decimal128(precision, scale.parse().ok().filter(|scale| *scale >= 0)?)
        }
    })
}

pub(super) struct Rows {
    schema: SchemaRef,
    builders: Vec<Builder>,
    /// Received bytes that are not decoded yet, because their row is incomplete.
    pending: BytesMut,
    is_past_head: bool,
    is_over: bool,
    rows: usize,
    all_rows: u64,
    batch_rows: usize,
}

impl Rows {
    pub(super) fn of(schema: SchemaRef, batch_rows: usize) -> TaskResult<Rows> {
        let builders = schema.fields().iter().map(|field| {
            Builder::of(field.data_type(), batch_rows).ok_or_else(|| {
                fatal(format!("column `{}` cannot be read from Postgres as `{}`", field.name(), field.data_type()))
            })
        });
        let builders = builders.collect::<TaskResult<_>>()?;
        let pending = BytesMut::new();
        Ok(Rows { schema, builders, pending, is_past_head: false, is_over: false, rows: 0, all_rows: 0, batch_rows })
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        self.pending.extend_from_slice(piece);
    }

    /// Returns a batch if enough rows have been decoded.
    pub(super) fn full(&mut self) -> TaskResult<Option<RecordBatch>> {
        while self.rows < self.batch_rows {
            if !self.row()? {
                return Ok(None);
            }
        }
        self.finish().map(Some)
    }

    /// Returns the remaining rows at the end of the stream.
    pub(super) fn rest(&mut self) -> TaskResult<Option<RecordBatch>> {
        if !self.is_over {
            anyhow::bail!("the server stopped sending after {} rows", self.all_rows);
        }
        if self.rows == 0 { Ok(None) } else { self.finish().map(Some) }
    }

    /// Decodes the next row. Returns false if the row is not completely received yet.
    fn row(&mut self) -> TaskResult<bool> {
        if !self.is_past_head {
            if self.pending.len() < HEAD_BYTES {
                return Ok(false);
            }
            self.pending.advance(HEAD_BYTES);
            self.is_past_head = true;
        }
        if self.is_over || self.pending.len() < 2 {
            return Ok(false);
        }
        let count = (&self.pending[..2]).get_i16();
        if count < 0 {
            self.is_over = true;
            return Ok(false);
        }
        if usize::try_from(count) != Ok(self.builders.len()) {
            anyhow::bail!(
                "the server sent a row of {count} fields, not {}: was the table changed?",
                self.builders.len()
            );
        }
        let Some(end) = self.end_of_row() else { return Ok(false) };
        let row = self.pending.split_to(end);
        let mut at = 2;
        self.all_rows += 1;
        for (builder, field) in self.builders.iter_mut().zip(self.schema.fields()) {
            let length = (&row[at..at + 4]).get_i32();
            at += 4;
            let value = usize::try_from(length).ok().map(|length| &row[at..at + length]);
            at += value.map_or(0, <[u8]>::len);
            if !push(builder, value) {
                let (name, number, wanted) = (field.name(), self.all_rows, field.data_type());
                return Err(fatal(format!("column `{name}`, row {number}: the value is no `{wanted}`")));
            }
        }
        self.rows += 1;
        Ok(true)
    }

    fn end_of_row(&self) -> Option<usize> {
        let mut at = 2;
        for _ in &self.builders {
            let length = self.pending.get(at..at + 4)?.get_i32();
            at += 4 + usize::try_from(length).unwrap_or(0);
        }
        (at <= self.pending.len()).then_some(at)
    }

    fn finish(&mut self) -> TaskResult<RecordBatch> {
        let columns = self.builders.iter_mut().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

/// Appends a value to a builder. Returns `false` if the bytes are not a valid value of the column type.
fn push(builder: &mut Builder, value: Option<&[u8]>) -> bool {
    macro_rules! number {
        ($into:expr, $type:ty, $map:expr) => {
            match value.map(<[u8; size_of::<$type>()]>::try_from) {
                None => $into.append_null(),
                Some(Ok(bytes)) => $into.append_value($map(<$type>::from_be_bytes(bytes))),
                Some(Err(_)) => return false,
            }
        };
    }
    match builder {
        Builder::Bool(into) => into.append_option(value.map(|bytes| bytes.first().is_some_and(|byte| *byte != 0))),
        Builder::Int16(into) => number!(into, i16, |v| v),
        Builder::Int32(into) => number!(into, i32, |v| v),
        Builder::Int64(into) => number!(into, i64, |v| v),
        Builder::Float32(into) => number!(into, f32, |v| v),
        Builder::Float64(into) => number!(into, f64, |v| v),
        Builder::Date(into) => number!(into, i32, |v: i32| v.saturating_add(EPOCH_DAYS)),
        Builder::Time(into) => number!(into, i64, |v| v),
        Builder::Moment(into) => number!(into, i64, |v: i64| v.saturating_add(EPOCH_MICROS)),
        Builder::Decimal { into, precision, scale } => match value {
            None => into.append_null(),
            Some(bytes) => match numeric(bytes, *precision, *scale) {
                Some(found) => into.append_value(found),
                None => return false,
            },
        },
        Builder::Text(into) => match value.map(std::str::from_utf8) {
            None => into.append_null(),
            Some(Ok(text)) => into.append_value(text),
            Some(Err(_)) => return false,
        },
        Builder::Bytes(into) => into.append_option(value),
        Builder::Uuid(into) => match value {
            None => into.append_null(),
            Some(bytes) => return into.append_value(bytes).is_ok(),
        },
    }
    true
}

/// Decodes a binary `numeric`: a list of base-10,000 digits, the first of which has the exponent `weight`. Returns
/// `None` for NaN, infinity, or a value with too many digits.
fn numeric(mut bytes: &[u8], precision: u8, scale: i8) -> Option<i128> {
    if bytes.len() < 8 {
        return None;
    }
    let (groups, weight, sign) = (usize::try_from(bytes.get_i16()).ok()?, i32::from(bytes.get_i16()), bytes.get_u16());
    bytes.advance(2);
    if sign > 0x4000 || bytes.len() != groups * 2 {
        return None;
    }
    let mut value = 0_i128;
    for (at, group) in (0..).zip(bytes.chunks(2)) {
        let group = i128::from(i16::from_be_bytes([group[0], group[1]]));
        let place = (weight - at) * 4 + i32::from(scale);
        let worth = if place >= 0 {
            group.checked_mul(10_i128.checked_pow(place.unsigned_abs())?)?
        } else {
            // The digits beyond the scale of the column must be zeros.
            let below = 10_i128.pow(place.unsigned_abs().min(4));
            if group % below != 0 {
                return None;
            }
            group / below
        };
        value = value.checked_add(worth)?;
    }
    let value = if sign == 0x4000 { -value } else { value };
    (value.unsigned_abs() < 10_u128.pow(u32::from(precision))).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_by_their_names() {
        assert_eq!(type_of("numeric(12,2)"), Some(DataType::Decimal128(12, 2)));
        assert_eq!(type_of("character varying(45)"), Some(DataType::Utf8));
        for unknown in ["numeric", "numeric(60,2)", "integer[]", "point"] {
            assert_eq!(type_of(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn numbers_are_read_from_their_groups() {
        let read = |words: &[i16]| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            numeric(&bytes, 12, 2)
        };
        assert_eq!(read(&[0, 0, 0, 2]), Some(0));
        assert_eq!(read(&[2, 0, 0, 2, 299, 9_800]), Some(29_998));
        assert_eq!(read(&[1, -1, 0x4000, 2, 500]), Some(-5));
        assert_eq!(read(&[1, 1, 0, 0, 1]), Some(1_000_000));
        assert_eq!(read(&[1, -1, 0, 3, 5]), None, "0.0005 has more than two places");
        assert_eq!(read(&[0, 0, -0x4000, 0]), None, "NaN");
    }
}
