//! How large the answer of a function can become, by its arguments.

use crate::sizes::row_bytes;
use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, TimeUnit};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::ColumnarValue;

/// Of what a value itself takes.
const VALUE_BYTES: u64 = 8;
const DAY_NANOS: i64 = 86_400_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Growth {
    /// As all arguments together.
    Sum,
    /// The first, as often as the second says.
    Times,
    /// As many letters as the second says.
    Padded,
    /// As many items as the second says, each like the third.
    Resized,
    /// The third for each place where the second can be.
    Replaced,
    /// A letter for each letter.
    Translated,
    /// The third, with parts of the first in it, behind each letter.
    Rewritten,
    /// Parts of the first for each group of the second.
    Matched,
    /// Items as text, with the second between them.
    Listed,
    /// Pieces of the first, each an item.
    Split,
    /// From the first to the second by the third.
    Series,
    /// A field of a date for each letter of the second.
    Formatted,
    /// Not the answer, but the steps to it: the letters of one by those of the other.
    Compared,
}

impl Growth {
    pub(crate) fn of(function: &str) -> Option<Growth> {
        Some(match function {
            "concat" | "concat_ws" | "overlay" | "make_array" | "make_list" | "array_append" | "array_prepend"
            | "array_concat" | "array_cat" | "named_struct" | "struct" | "row" | "map" | "make_map" | "arrays_zip"
            | "array_union" | "array_replace" | "array_replace_n" | "array_replace_all" => Growth::Sum,
            "repeat" | "array_repeat" => Growth::Times,
            "lpad" | "rpad" => Growth::Padded,
            "array_resize" => Growth::Resized,
            "replace" => Growth::Replaced,
            "translate" => Growth::Translated,
            "regexp_replace" => Growth::Rewritten,
            "regexp_match" => Growth::Matched,
            "array_to_string" => Growth::Listed,
            "string_to_array" => Growth::Split,
            "range" | "generate_series" | "gen_series" => Growth::Series,
            "to_char" | "date_format" => Growth::Formatted,
            "levenshtein" => Growth::Compared,
            _ => return None,
        })
    }
}

/// For each row how many bytes there will be at most.
pub(crate) fn reckoned(growth: Growth, args: &[ColumnarValue], rows: usize) -> DfResult<Vec<u64>> {
    let columns = args.iter().map(|arg| Column::of(arg, rows)).collect::<DfResult<Vec<_>>>()?;
    let bytes = |place: usize, row: usize| columns.get(place).map_or(0, |column| column.bytes(row));
    let number = |place: usize, row: usize| columns.get(place).map_or(0, |column| column.number(row));
    let count = |row: usize| u64::try_from(number(1, row)).unwrap_or(0);
    let times = |a: u64, b: u64| a.saturating_mul(b);
    let reckon = |row: usize| match growth {
        Growth::Sum => (0..columns.len()).map(|place| bytes(place, row)).sum(),
        Growth::Times => times(bytes(0, row), count(row)),
        Growth::Padded => times(count(row), if bytes(2, row) <= 1 { 1 } else { 4 }),
        Growth::Resized => times(count(row), bytes(2, row).max(VALUE_BYTES)),
        Growth::Replaced => {
            times(bytes(0, row) / bytes(1, row).max(1) + 1, bytes(2, row)).saturating_add(bytes(0, row))
        }
        Growth::Translated => times(bytes(0, row), 4),
        Growth::Rewritten => times(bytes(0, row) + 1, bytes(2, row) + 1),
        Growth::Matched => times(bytes(0, row), bytes(1, row) / 2 + 1),
        Growth::Listed => times(bytes(0, row), 3 + bytes(1, row) + bytes(2, row)),
        Growth::Split => times(bytes(0, row) / bytes(1, row).max(1) + 1, 2 * VALUE_BYTES).saturating_add(bytes(0, row)),
        Growth::Series => {
            let only_end = columns.len() < 2;
            let (from, to) = if only_end { (0, number(0, row)) } else { (number(0, row), number(1, row)) };
            let step = columns.get(2).map_or(1, |column| column.number(row)).unsigned_abs().max(1);
            times((to.abs_diff(from) / step).saturating_add(1), VALUE_BYTES)
        }
        Growth::Formatted => times(bytes(1, row), 32),
        Growth::Compared => times(bytes(0, row), bytes(1, row)) / 16,
    };
    Ok((0..rows).map(reckon).collect())
}

/// An argument: its sizes, and its values where they are numbers or times.
struct Column {
    bytes: Vec<u64>,
    numbers: Option<Vec<i64>>,
}

impl Column {
    fn of(arg: &ColumnarValue, rows: usize) -> DfResult<Column> {
        match arg {
            ColumnarValue::Array(array) => Column::of_array(array),
            // One value for all rows.
            ColumnarValue::Scalar(value) if rows > 0 => Column::of_scalar(value),
            ColumnarValue::Scalar(_) => Ok(Column { bytes: Vec::new(), numbers: None }),
        }
    }

    fn of_scalar(value: &ScalarValue) -> DfResult<Column> {
        Column::of_array(&value.to_array()?)
    }

    fn of_array(array: &ArrayRef) -> DfResult<Column> {
        let mut bytes = row_bytes(array.as_ref());
        if matches!(array.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
            // Letters alone, which tell a fill of one letter from a longer one.
            bytes.iter_mut().for_each(|bytes| *bytes = bytes.saturating_sub(4));
        }
        Ok(Column { bytes, numbers: numbers(array)? })
    }

    fn bytes(&self, row: usize) -> u64 {
        self.bytes.get(row).or(self.bytes.first()).copied().unwrap_or(0)
    }

    fn number(&self, row: usize) -> i64 {
        let numbers = self.numbers.as_deref().unwrap_or_default();
        numbers.get(row).or(numbers.first()).copied().unwrap_or(0)
    }
}

/// Numbers as they are, times and spans in nanoseconds; nothing where there is no value.
fn numbers(array: &ArrayRef) -> DfResult<Option<Vec<i64>>> {
    let array = match array.data_type() {
        DataType::Interval(_) => {
            let spans = cast(array, &DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano))?;
            let nanos = |span| {
                let (months, days, nanos) = IntervalMonthDayNanoType::to_parts(span);
                let days = i64::from(months).saturating_mul(28).saturating_add(i64::from(days));
                days.saturating_mul(DAY_NANOS).saturating_add(nanos)
            };
            let spans = spans.as_primitive::<IntervalMonthDayNanoType>();
            return Ok(Some(spans.iter().map(|span| span.map_or(0, nanos)).collect()));
        }
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
            let times = cast(array, &DataType::Timestamp(TimeUnit::Nanosecond, None))?;
            cast(&times, &DataType::Int64)?
        }
        data if data.is_integer() => cast(array, &DataType::Int64)?,
        _ => return Ok(None),
    };
    let numbers = array.as_primitive::<Int64Type>();
    Ok(Some((0..array.len()).map(|row| if numbers.is_null(row) { 0 } else { numbers.value(row) }).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_reckoned_from_the_arguments() {
        let text = |text: &str| ColumnarValue::Scalar(ScalarValue::from(text));
        let number = |number: i64| ColumnarValue::Scalar(ScalarValue::from(number));
        for (function, args, bytes) in [
            ("repeat", vec![text("abc"), number(1_000)], 3_000),
            ("repeat", vec![text("abc"), number(-1)], 0),
            ("lpad", vec![text("a"), number(1_000), text("b")], 1_000),
            ("rpad", vec![text("a"), number(1_000), text("é")], 4_000),
            ("concat", vec![text("abc"), text("de")], 5),
            ("replace", vec![text("aaaa"), text("a"), text("bbbb")], 24),
            ("regexp_replace", vec![text("aaa"), text("a"), text("\\1\\1"), text("g")], 20),
            ("range", vec![number(10)], 88),
            ("generate_series", vec![number(10), number(-10), number(-2)], 88),
            ("generate_series", vec![number(i64::MIN), number(i64::MAX)], u64::MAX),
        ] {
            let growth = Growth::of(function).expect(function);
            assert_eq!(reckoned(growth, &args, 1).expect(function), [bytes], "{function}");
        }
    }
}
