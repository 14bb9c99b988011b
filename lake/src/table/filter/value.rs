//! Literal values in filters, and their conversion to column types.

use super::Column;
use crate::error::{LakeError, LakeResult};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use iceberg::spec::{Datum, PrimitiveType};
use std::fmt;

/// A literal in a filter: a boolean, a number, a text, or a value of the iceberg crate. Dates, times and decimals can
/// be written as texts.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Datum(Datum),
}

impl Value {
    pub(crate) fn datum(&self, column: &Column) -> LakeResult<Datum> {
        self.convert(&column.data).ok_or_else(|| {
            let what = format!("{self} is no value of column `{}`, which has the type {}", column.name, column.data);
            LakeError::input(what, "write a value of that type; dates and times as ISO text")
        })
    }

    fn convert(&self, data: &PrimitiveType) -> Option<Datum> {
        match (self, data) {
            (Value::Datum(datum), data) if datum.data_type() == data => Some(datum.clone()),
            (Value::Datum(datum), data) => datum.clone().to(&data.clone().into()).ok(),
            (Value::Bool(value), PrimitiveType::Boolean) => Some(Datum::bool(*value)),
            (Value::Int(value), PrimitiveType::Int) => Some(Datum::int(i32::try_from(*value).ok()?)),
            (Value::Int(value), PrimitiveType::Long) => Some(Datum::long(*value)),
            (Value::Int(value), PrimitiveType::Float) => Some(Datum::float(*value as f32)),
            (Value::Int(value), PrimitiveType::Double) => Some(Datum::double(*value as f64)),
            (Value::Int(value), PrimitiveType::Decimal { .. }) => decimal(&value.to_string(), data),
            (Value::Float(value), PrimitiveType::Float) => Some(Datum::float(*value as f32)),
            (Value::Float(value), PrimitiveType::Double) => Some(Datum::double(*value)),
            (Value::Float(value), PrimitiveType::Decimal { .. }) => decimal(&value.to_string(), data),
            (Value::Text(text), data) => parse(text, data),
            _ => None,
        }
    }
}

fn parse(text: &str, data: &PrimitiveType) -> Option<Datum> {
    match data {
        PrimitiveType::Boolean => text.parse::<bool>().ok().map(Datum::bool),
        PrimitiveType::Int => text.parse::<i32>().ok().map(Datum::int),
        PrimitiveType::Long => text.parse::<i64>().ok().map(Datum::long),
        PrimitiveType::Float => text.parse::<f32>().ok().map(Datum::float),
        PrimitiveType::Double => text.parse::<f64>().ok().map(Datum::double),
        PrimitiveType::Decimal { .. } => decimal(text, data),
        PrimitiveType::Date => Datum::date_from_str(text).ok(),
        PrimitiveType::Time => Datum::time_from_str(text).ok(),
        PrimitiveType::Timestamp => time(text).map(|time| Datum::timestamp_micros(time.and_utc().timestamp_micros())),
        PrimitiveType::Timestamptz => {
            let zoned = DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_micros());
            let micros = zoned.or_else(|| time(text).map(|time| time.and_utc().timestamp_micros()))?;
            Some(Datum::timestamptz_micros(micros))
        }
        PrimitiveType::String => Some(Datum::string(text)),
        PrimitiveType::Uuid => Datum::uuid_from_str(text).ok(),
        _ => None,
    }
}

/// Parses a timestamp. A date without a time means midnight.
fn time(text: &str) -> Option<NaiveDateTime> {
    let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let with = |format| NaiveDateTime::parse_from_str(text, format).ok();
    with("%Y-%m-%dT%H:%M:%S%.f").or_else(|| with("%Y-%m-%d %H:%M:%S%.f")).or_else(date)
}

/// Parses a decimal without rounding. For a column with two decimal places, `1.005` is rejected.
fn decimal(text: &str, data: &PrimitiveType) -> Option<Datum> {
    let PrimitiveType::Decimal { precision, scale } = data else { return None };
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let part = part.trim_end_matches('0');
    let missing = (*scale as usize).checked_sub(part.len())?;
    let number = format!("{whole}{part}{}", "0".repeat(missing));
    if whole.is_empty() || number.chars().any(|c| !c.is_ascii_digit()) {
        return None;
    }
    let number = number.parse::<i128>().ok().filter(|number| number.to_string().len() <= *precision as usize)?;
    Datum::try_from_bytes(&(sign * number).to_be_bytes(), data.clone()).ok()
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Text(value) => write!(f, "'{value}'"),
            Value::Datum(value) => write!(f, "{value}"),
        }
    }
}

macro_rules! from_types {
    ($($of:ty: $value:ident => $converted:expr,)+) => {$(
        impl From<$of> for Value {
            fn from($value: $of) -> Self {
                $converted
            }
        }
    )+};
}

from_types! {
    bool: value => Value::Bool(value),
    i32: value => Value::Int(value.into()),
    i64: value => Value::Int(value),
    f64: value => Value::Float(value),
    &str: value => Value::Text(value.to_owned()),
    String: value => Value::Text(value),
    NaiveDate: date => Value::Text(date.to_string()),
    DateTime<Utc>: at => Value::Datum(Datum::timestamptz_micros(at.timestamp_micros())),
    NaiveDateTime: at => Value::Datum(Datum::timestamp_micros(at.and_utc().timestamp_micros())),
    Datum: value => Value::Datum(value),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_in_the_type_of_its_column() {
        let money = PrimitiveType::Decimal { precision: 6, scale: 2 };
        let check = |text: &str, data: &PrimitiveType, expected: Option<&str>| {
            let datum = Value::from(text).convert(data);
            assert_eq!(datum.map(|datum| datum.to_string()).as_deref(), expected, "{text} as {data}");
        };
        check("12", &PrimitiveType::Int, Some("12"));
        check("1e", &PrimitiveType::Int, None);
        check("-1.5", &money, Some("-1.50"));
        check("1.500", &money, Some("1.50"));
        check("1.005", &money, None);
        check("12345.00", &money, None);
        check("2014-02-30", &PrimitiveType::Date, None);
        check("2014-02-03", &PrimitiveType::Date, Some("2014-02-03"));
        check("2014-02-03", &PrimitiveType::Timestamp, Some("2014-02-03 00:00:00"));
        check("2014-02-03T10:00:00+02:00", &PrimitiveType::Timestamptz, Some("2014-02-03 08:00:00 UTC"));
    }
}
