//! Formats rows as lines of CSV, with quotes where needed. Types that are frequent in large tables are written
//! directly to the output; other types use Arrow's formatter.

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Decimal128Array, RecordBatch, StringArray};
use arrow::array::{Int32Array, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{Datelike as _, NaiveDate};

/// Characters that occur in numbers and times. If the delimiter is one of them, such values may need quotes.
const DIGITS: &[u8] = b"0123456789-.: ";
const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

pub(super) struct Lines<'a> {
    delimiter: u8,
    /// For each byte: true if a field that contains it must be quoted.
    is_special: [bool; 256],
    options: FormatOptions<'a>,
}

enum Cells<'a> {
    Int(&'a Int32Array),
    Long(&'a Int64Array),
    Text(&'a StringArray),
    /// Decimal column, with 10^scale and the scale.
    Decimal(&'a Decimal128Array, u128, usize),
    Day(&'a Date32Array, ArrayFormatter<'a>),
    Moment(&'a TimestampMicrosecondArray, ArrayFormatter<'a>),
    Other(ArrayFormatter<'a>),
}

/// Caches the text of the last formatted date, because consecutive rows often have the same date.
#[derive(Default)]
struct LastDay {
    days: Option<i32>,
    text: [u8; 10],
}

impl<'a> Lines<'a> {
    pub(super) fn new(delimiter: u8, options: FormatOptions<'a>) -> Lines<'a> {
        let mut is_special = [false; 256];
        for byte in [delimiter, b'"', b'\r', b'\n'] {
            is_special[usize::from(byte)] = true;
        }
        Lines { delimiter, is_special, options }
    }

    pub(super) fn names(&self, batch: &RecordBatch, into: &mut Vec<u8>) {
        let schema = batch.schema();
        for (at, field) in schema.fields().iter().enumerate() {
            self.divide(at, into);
            self.text(field.name(), into);
        }
        end(batch, into.is_empty(), into);
    }

    pub(super) fn rows(&self, batch: &RecordBatch, into: &mut Vec<u8>) -> Result<(), ArrowError> {
        let columns = batch.columns().iter().map(|column| Ok((column.nulls(), self.cells(column)?)));
        let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
        let mut days: Vec<LastDay> = columns.iter().map(|_| LastDay::default()).collect();
        let mut scratch = String::new();
        for row in 0..batch.num_rows() {
            let begin = into.len();
            for (at, (nulls, cells)) in columns.iter().enumerate() {
                self.divide(at, into);
                if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                    self.value(cells, row, (&mut days[at], &mut scratch), into)?;
                }
            }
            end(batch, into.len() == begin, into);
        }
        Ok(())
    }

    fn cells(&self, column: &'a ArrayRef) -> Result<Cells<'a>, ArrowError> {
        let formatter = || ArrayFormatter::try_new(column.as_ref(), &self.options);
        if DIGITS.iter().any(|digit| self.is_special[usize::from(*digit)]) && *column.data_type() != DataType::Utf8 {
            return Ok(Cells::Other(formatter()?));
        }
        Ok(match column.data_type() {
            DataType::Int32 => Cells::Int(column.as_primitive::<Int32Type>()),
            DataType::Int64 => Cells::Long(column.as_primitive::<Int64Type>()),
            DataType::Utf8 => Cells::Text(column.as_string::<i32>()),
            DataType::Decimal128(_, scale @ 1..) => {
                let digits = usize::from(scale.unsigned_abs());
                Cells::Decimal(
                    column.as_primitive::<Decimal128Type>(),
                    10_u128.pow(u32::from(scale.unsigned_abs())),
                    digits,
                )
            }
            DataType::Date32 => Cells::Day(column.as_primitive::<Date32Type>(), formatter()?),
            DataType::Timestamp(TimeUnit::Microsecond, None) => {
                Cells::Moment(column.as_primitive::<TimestampMicrosecondType>(), formatter()?)
            }
            _ => Cells::Other(formatter()?),
        })
    }

    fn value(
        &self,
        cells: &Cells<'_>,
        row: usize,
        (last, scratch): (&mut LastDay, &mut String),
        into: &mut Vec<u8>,
    ) -> Result<(), ArrowError> {
        match cells {
            Cells::Int(values) => number(values.value(row), into),
            Cells::Long(values) => number(values.value(row), into),
            Cells::Text(values) => self.text(values.value(row), into),
            Cells::Decimal(values, unit, digits) => decimal(values.value(row), *unit, *digits, into),
            Cells::Day(values, formatter) => {
                if !last.write(values.value(row), into) {
                    self.formatted(formatter, row, scratch, into)?;
                }
            }
            Cells::Moment(values, formatter) => {
                let micros = values.value(row);
                let (day, rest) = (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY));
                let is_whole = rest % MICROS_PER_SECOND == 0;
                if is_whole && i32::try_from(day).is_ok_and(|day| last.write(day, into)) {
                    clock(rest / MICROS_PER_SECOND, into);
                } else {
                    self.formatted(formatter, row, scratch, into)?;
                }
            }
            Cells::Other(formatter) => self.formatted(formatter, row, scratch, into)?,
        }
        Ok(())
    }

    fn formatted(
        &self,
        formatter: &ArrayFormatter<'_>,
        row: usize,
        scratch: &mut String,
        into: &mut Vec<u8>,
    ) -> Result<(), ArrowError> {
        scratch.clear();
        formatter.value(row).write(scratch)?;
        self.text(scratch, into);
        Ok(())
    }

    fn text(&self, text: &str, into: &mut Vec<u8>) {
        if !text.bytes().any(|byte| self.is_special[usize::from(byte)]) {
            return into.extend_from_slice(text.as_bytes());
        }
        into.push(b'"');
        for byte in text.bytes() {
            if byte == b'"' {
                into.push(b'"');
            }
            into.push(byte);
        }
        into.push(b'"');
    }

    fn divide(&self, at: usize, into: &mut Vec<u8>) {
        if at > 0 {
            into.push(self.delimiter);
        }
    }
}

impl LastDay {
    /// Writes a date. If the year does not have four digits, writes nothing and returns false.
    fn write(&mut self, days: i32, into: &mut Vec<u8>) -> bool {
        if self.days != Some(days) {
            let Some(date) = NaiveDate::from_epoch_days(days) else { return false };
            let Some(year) = u32::try_from(date.year()).ok().filter(|year| *year <= 9_999) else { return false };
            let [a, b] = [two(year / 100), two(year % 100)];
            let [c, d] = [two(date.month()), two(date.day())];
            (self.days, self.text) = (Some(days), [a[0], a[1], b[0], b[1], b'-', c[0], c[1], b'-', d[0], d[1]]);
        }
        into.extend_from_slice(&self.text);
        true
    }
}

/// Ends a line. If its only field is empty, the field is quoted, because readers ignore empty lines.
fn end(batch: &RecordBatch, is_empty: bool, into: &mut Vec<u8>) {
    if is_empty && batch.num_columns() == 1 {
        into.extend_from_slice(b"\"\"");
    }
    into.push(b'\n');
}

fn number(value: impl itoa::Integer, into: &mut Vec<u8>) {
    into.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn decimal(value: i128, unit: u128, digits: usize, into: &mut Vec<u8>) {
    if value < 0 {
        into.push(b'-');
    }
    let value = value.unsigned_abs();
    match (u64::try_from(value), u64::try_from(unit)) {
        // A 64-bit division is four times as fast as a 128-bit division.
        (Ok(value), Ok(unit)) => number(value / unit, into),
        _ => number(value / unit, into),
    }
    into.push(b'.');
    let mut text = itoa::Buffer::new();
    let fraction = text.format(value % unit);
    into.extend(std::iter::repeat_n(b'0', digits.saturating_sub(fraction.len())));
    into.extend_from_slice(fraction.as_bytes());
}

/// Writes a time of day: ` 23:59:59`.
fn clock(seconds: i64, into: &mut Vec<u8>) {
    let seconds = u32::try_from(seconds).unwrap_or_default();
    let [hour, minute, second] = [seconds / 3_600, seconds / 60 % 60, seconds % 60].map(two);
    into.extend_from_slice(&[b' ', hour[0], hour[1], b':', minute[0], minute[1], b':', second[0], second[1]]);
}

/// Returns the last two digits of a number as ASCII characters.
fn two(number: u32) -> [u8; 2] {
    let digit = |number: u32| b'0' + u8::try_from(number % 10).unwrap_or_default();
    [digit(number / 10), digit(number)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::csv::{MOMENT, MOMENT_AND_ZONE};
    use arrow::array::{BooleanArray, Float64Array};
    use arrow::csv::WriterBuilder;
    use std::sync::Arc;

    fn columns() -> Vec<(&'static str, ArrayRef)> {
        let day = 86_400_000_000;
        let moments = [0, 1, -1, day - 1_000_000, 16_000 * day, 16_000 * day + 500_000, i64::MAX / 2, i64::MIN / 2];
        let moments: Vec<_> = moments.into_iter().map(Some).chain([None]).collect();
        let days = [0, -1, 16_000, -800_000, 3_000_000, i32::MAX, i32::MIN, -719_528].map(Some);
        let decimals = [0, 5, -5, 99, -100, 12_345, i128::from(u64::MAX) * 7, -1].map(Some);
        let texts = ["", "plain", "a,b", "a;b", "say \"so\"", "two\nlines", "\r", " blanks "].map(Some);
        let decimal = |scale: i8| {
            let values: Decimal128Array = decimals.into_iter().chain([None]).collect();
            Arc::new(values.with_precision_and_scale(38, scale).expect("it fits")) as ArrayRef
        };
        vec![
            ("n", Arc::new((-4..4).map(Some).chain([None]).collect::<Int32Array>())),
            (
                "a \"long\" one",
                Arc::new((0..8).map(|n| Some(i64::MIN >> (n * 8))).chain([None]).collect::<Int64Array>()),
            ),
            ("text", Arc::new(texts.into_iter().chain([None]).collect::<StringArray>())),
            ("money", decimal(2)),
            ("fine", decimal(30)),
            ("whole", decimal(0)),
            ("day", Arc::new(days.into_iter().chain([None]).collect::<Date32Array>())),
            ("at", Arc::new(TimestampMicrosecondArray::from(moments.clone()))),
            ("zoned", Arc::new(TimestampMicrosecondArray::from(moments).with_timezone("+00:00"))),
            ("share", Arc::new((0..8).map(|n| Some(f64::from(n) / 3.0)).chain([None]).collect::<Float64Array>())),
            ("is_so", Arc::new((0..9).map(|n| (n > 0).then_some(n % 2 == 0)).collect::<BooleanArray>())),
        ]
    }

    #[test]
    fn lines_are_those_of_arrows_writer_to_the_byte() {
        let all = RecordBatch::try_from_iter(columns()).expect("columns of one length");
        let alone = columns().into_iter().map(|one| RecordBatch::try_from_iter([one]).expect("a column"));
        let batches: Vec<RecordBatch> = alone.chain([all]).collect();
        for (batch, delimiter) in batches.iter().flat_map(|batch| b",;\t.-1 ".map(|delimiter| (batch, delimiter))) {
            let writer = WriterBuilder::new().with_header(true).with_delimiter(delimiter);
            let writer = writer.with_timestamp_format(MOMENT.into()).with_timestamp_tz_format(MOMENT_AND_ZONE.into());
            let mut writer = writer.build(Vec::new());
            let expected = writer.write(batch).map(|()| writer.into_inner());
            let options = FormatOptions::default();
            let options = options.with_timestamp_format(Some(MOMENT)).with_timestamp_tz_format(Some(MOMENT_AND_ZONE));
            let (lines, mut found) = (Lines::new(delimiter, options), Vec::new());
            lines.names(batch, &mut found);
            let written = lines.rows(batch, &mut found).map(|()| found);
            let text =
                |bytes: Result<Vec<u8>, ArrowError>| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            assert_eq!(text(written).ok(), text(expected).ok(), "{:?} {delimiter}", batch.schema());
        }
    }
}
