//! Detects numbers that arrow's decoder would change silently. For example, 3.7 becomes 3 in an integer field, a number
//! becomes a time in 1970, and 3.777 becomes 3.78 in a field with two decimal places. Such records are quarantined.
//!
//! Nearly all records contain no such number. Therefore each record is first searched for the names of affected fields,
//! and only a record in which a doubtful number follows such a name is parsed a second time.

use arrow::array::{Array, AsArray as _};
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type, Schema};
use arrow::record_batch::RecordBatch;
use memchr::memmem::Finder;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// From 2^53 on, a double may represent a different integer than the one in the JSON text.
const FIRST_INEXACT: f64 = 9_007_199_254_740_992.0;

/// Types of fields in which a number may not be representable.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Whole,
    Decimal { scale: i8 },
    Time,
}

/// The fields of a schema in which a number may not be representable.
#[derive(Debug)]
pub(super) struct Strict<'a> {
    schema: &'a Schema,
    /// Field names in quotes, as they occur in JSON.
    watched: Vec<(Finder<'static>, Kind)>,
    /// Searchers for JSON escapes. A name that is written with escapes is not found by `watched`.
    escapes: Vec<Finder<'static>>,
}

impl<'a> Strict<'a> {
    pub(super) fn of(schema: &'a Schema) -> Strict<'a> {
        let mut watched = Vec::new();
        for field in schema.fields() {
            watch(field.name(), field, &mut watched);
        }
        let mut escapes = vec![Finder::new(b"\\u")];
        // `/` is the only other character that JSON may contain with and without an escape. Some writers escape the `/`
        // of every URL, so search for `\/` only if a field name contains `/`.
        if watched.iter().any(|(name, _)| name.needle().contains(&b'/')) {
            escapes.push(Finder::new(br"\/"));
        }
        Strict { schema, watched, escapes }
    }

    /// Returns the reason why a record does not fit the schema. Returns `None` for invalid JSON, which the decoder
    /// reports.
    pub(super) fn misfit(&self, record: &[u8]) -> Option<String> {
        let is_doubtful = self.watched.iter().any(|(name, kind)| {
            name.find_iter(record).any(|at| kind.doubts(value_behind(&record[at + name.needle().len()..])))
        });
        let has_no_escape = || self.escapes.iter().all(|escape| escape.find(record).is_none());
        if !is_doubtful && (self.watched.is_empty() || has_no_escape()) {
            return None;
        }
        of_object(self.schema.fields(), std::str::from_utf8(record).ok()?)
    }
}

/// Adds the name of a field, or the names of its nested fields, to the names to search for.
fn watch(name: &str, field: &Field, watched: &mut Vec<(Finder<'static>, Kind)>) {
    match field.data_type() {
        DataType::Struct(fields) => fields.iter().for_each(|field| watch(field.name(), field, watched)),
        DataType::List(item) | DataType::LargeList(item) => watch(name, item, watched),
        DataType::Map(entries, _) => {
            if let DataType::Struct(pair) = entries.data_type()
                && let Some(value) = pair.get(1)
            {
                watch(name, value, watched);
            }
        }
        plain => {
            if let (Some(kind), Ok(name)) = (kind_of(plain), serde_json::to_string(name)) {
                watched.push((Finder::new(name.as_bytes()).into_owned(), kind));
            }
        }
    }
}

fn kind_of(data: &DataType) -> Option<Kind> {
    match data {
        other if other.is_integer() => Some(Kind::Whole),
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => Some(Kind::Decimal { scale: *scale }),
        DataType::Timestamp(..)
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Duration(_) => Some(Kind::Time),
        _ => None,
    }
}

/// Returns the rest of the record from the first byte of the value, or an empty slice if no colon follows the name.
fn value_behind(rest: &[u8]) -> &[u8] {
    match rest.trim_ascii_start().split_first() {
        Some((b':', value)) => value.trim_ascii_start(),
        _ => &[],
    }
}

impl Kind {
    /// Returns true if the value that starts here may not fit its field. Always true for lists and objects.
    fn doubts(self, value: &[u8]) -> bool {
        let end = value.iter().position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'));
        let value = &value[..end.unwrap_or(value.len())];
        match (self, value.first()) {
            (_, None) => false,
            (_, Some(b'[' | b'{')) => true,
            (Kind::Whole, Some(b'"')) => false,
            (Kind::Whole | Kind::Decimal { .. }, Some(_)) => {
                value.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
            }
            (Kind::Time, Some(first)) => is_number(*first),
        }
    }

    fn misfit(self, name: &str, raw: &str) -> Option<String> {
        let is_number = raw.bytes().next().is_some_and(is_number);
        let shown = || raw.chars().take(40).collect::<String>();
        match self {
            Kind::Whole if is_number && !is_whole(raw) => {
                Some(format!("`{name}` is {}, which is not a whole number", shown()))
            }
            Kind::Decimal { scale } if fraction_digits(raw.trim_matches('"')) > i64::from(scale) => {
                Some(format!("`{name}` is {}, and the field has {scale} digits after the point", shown()))
            }
            Kind::Time if is_number => {
                Some(format!("`{name}` is the number {}, and a time is written as text", shown()))
            }
            _ => None,
        }
    }
}

fn is_number(first: u8) -> bool {
    first == b'-' || first.is_ascii_digit()
}

fn is_whole(number: &str) -> bool {
    if !number.contains(['.', 'e', 'E']) {
        return true;
    }
    number.parse::<f64>().is_ok_and(|number| number.fract() == 0.0 && number.abs() < FIRST_INEXACT)
}

/// Returns the number of digits that a number needs after the decimal point.
pub(crate) fn fraction_digits(number: &str) -> i64 {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let digits = mantissa.split_once('.').map_or("", |(_, digits)| digits.trim_end_matches('0'));
    // In a number such as 1200e-2, trailing zeros cancel the negative exponent.
    let zeros = if digits.is_empty() {
        let whole = mantissa.split_once('.').map_or(mantissa, |(whole, _)| whole);
        whole.len() - whole.trim_end_matches('0').len()
    } else {
        0
    };
    let length = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    length(digits.len()).saturating_sub(length(zeros)).saturating_sub(exponent.parse().unwrap_or(0))
}

fn of_object(fields: &[FieldRef], object: &str) -> Option<String> {
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(object).ok()?;
    fields.iter().find_map(|field| of_value(field.name(), field.data_type(), members.get(field.name().as_str())?.get()))
}

fn of_value(name: &str, data: &DataType, raw: &str) -> Option<String> {
    match data {
        DataType::Struct(fields) => of_object(fields, raw),
        DataType::List(item) | DataType::LargeList(item) => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
            items.iter().find_map(|value| of_value(name, item.data_type(), value.get()))
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(pair) = entries.data_type() else { return None };
            let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(raw).ok()?;
            members.values().find_map(|value| of_value(name, pair.get(1)?.data_type(), value.get()))
        }
        plain => kind_of(plain)?.misfit(name, raw),
    }
}

/// Returns an error for the first column that contains NaN or infinity, which result from decoding "NaN" or 1e999.
pub(super) fn not_finite(rows: &RecordBatch) -> Option<String> {
    let schema = rows.schema_ref();
    let found = schema.fields().iter().zip(rows.columns()).find(|(_, column)| has_infinite(column.as_ref()));
    found.map(|(field, _)| format!("`{}` is not a finite number", field.name()))
}

fn has_infinite(column: &dyn Array) -> bool {
    match column.data_type() {
        DataType::Float32 => column.as_primitive::<Float32Type>().iter().flatten().any(|value| !value.is_finite()),
        DataType::Float64 => column.as_primitive::<Float64Type>().iter().flatten().any(|value| !value.is_finite()),
        DataType::Struct(_) => column.as_struct().columns().iter().any(|column| has_infinite(column.as_ref())),
        DataType::List(_) => has_infinite(column.as_list::<i32>().values().as_ref()),
        DataType::LargeList(_) => has_infinite(column.as_list::<i64>().values().as_ref()),
        DataType::Map(..) => has_infinite(column.as_map().values().as_ref()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::TimeUnit;

    fn schema() -> Schema {
        let inner = Field::new("count", DataType::Int32, true);
        Schema::new(vec![
            Field::new("age", DataType::Int64, true),
            Field::new("price", DataType::Decimal128(10, 2), true),
            Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true),
            Field::new("day", DataType::Date32, true),
            Field::new("temp", DataType::Float64, true),
            Field::new("inner", DataType::Struct(vec![inner].into()), true),
            Field::new_list("sizes", Field::new_list_field(DataType::Int64, true), true),
            Field::new("in/out", DataType::Int64, true),
        ])
    }

    #[test]
    fn a_number_that_would_change_is_a_misfit() {
        for (record, reason) in [
            (r#"{"age": 3.7}"#, "`age` is 3.7, which is not a whole number"),
            (r#"{"age":1e-1}"#, "`age` is 1e-1, which is not a whole number"),
            (r#"{"age":9007199254740993.0}"#, "`age` is 9007199254740993.0, which is not a whole number"),
            (r#"{ "temp" : 3.5 , "age" : -0.5 }"#, "`age` is -0.5, which is not a whole number"),
            (r#"{"\u0061ge":3.7}"#, "`age` is 3.7, which is not a whole number"),
            (r#"{"in\/out":3.7}"#, "`in/out` is 3.7, which is not a whole number"),
            (r#"{"in/out":3.7}"#, "`in/out` is 3.7, which is not a whole number"),
            (r#"{"inner":{"count":1.5}}"#, "`count` is 1.5, which is not a whole number"),
            (r#"{"sizes":[1,2.5]}"#, "`sizes` is 2.5, which is not a whole number"),
            (r#"{"price":3.777}"#, "`price` is 3.777, and the field has 2 digits after the point"),
            (r#"{"price":"3.777"}"#, "`price` is \"3.777\", and the field has 2 digits after the point"),
            (r#"{"price":5e-3}"#, "`price` is 5e-3, and the field has 2 digits after the point"),
            (r#"{"at":1772000000}"#, "`at` is the number 1772000000, and a time is written as text"),
            (r#"{"day":-5}"#, "`day` is the number -5, and a time is written as text"),
        ] {
            assert_eq!(Strict::of(&schema()).misfit(record.as_bytes()).as_deref(), Some(reason), "{record}");
        }
    }

    #[test]
    fn a_number_that_fits_is_none() {
        for record in [
            r#"{"age":3,"temp":3.7,"price":3.77,"at":"2026-11-30T00:00:00Z","day":"2026-11-30"}"#,
            r#"{"age":3.0}"#,
            r#"{"age":3e2,"price":3.7700,"temp":1e300}"#,
            r#"{"price":1200e-4}"#,
            r#"{"price":"0.10"}"#,
            r#"{"age":null,"at":null,"price":null,"sizes":[1,null],"inner":{"count":1}}"#,
            r#"{"note":"\"age\":3.7","more":{"age":3.7}}"#,
            r#"{"note":"age","age":1}"#,
            r#"{"note":"\u00e9","age":1}"#,
            r#"{"note":"http:\/\/h","in\/out":1}"#,
            "{\"age\":",
            "[1.5]",
        ] {
            assert_eq!(Strict::of(&schema()).misfit(record.as_bytes()), None, "{record}");
        }
    }
}
