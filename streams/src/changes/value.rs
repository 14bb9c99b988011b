//! Converts JSON values of row changes to Arrow columns.

use crate::decode::fraction_digits;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::compute::kernels::cast_utils::parse_decimal;
use arrow::datatypes::{DataType, Decimal128Type, Schema, TimeUnit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _};
use serde_json::Value;
use std::sync::Arc;

/// Placeholder that Debezium writes for a large unchanged value (TOAST), which Postgres does not send.
const UNAVAILABLE: &str = "__debezium_unavailable_value";
/// The base64 encoding of `UNAVAILABLE`.
const UNAVAILABLE_BYTES: &str = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";
/// Number of days since 1970 that Debezium writes for an infinite Postgres date.
const INFINITE_DATE: i64 = 2_146_033_979;

pub(super) fn is_unavailable(value: &Value) -> bool {
    match value {
        Value::String(text) => text == UNAVAILABLE || text == UNAVAILABLE_BYTES,
        Value::Array(values) => matches!(values.as_slice(), [one] if is_unavailable(one)),
        _ => false,
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Wire {
    /// Scale of decimals that are encoded as the bytes of an unscaled integer. `None` if decimals are text.
    pub(super) decimal_scale: Option<i8>,
    /// Unit of integer times.
    pub(super) unit: TimeUnit,
}

impl Wire {
    /// Normalizes a value: decimals become text, and times become microseconds.
    pub(super) fn plain(self, value: Value, data: &DataType) -> Result<Value, String> {
        match (data, &value) {
            (DataType::Decimal128(..) | DataType::Utf8, Value::Object(parts)) if parts.contains_key("scale") => {
                let scale = parts["scale"].as_i64().and_then(|scale| i8::try_from(scale).ok());
                let digits = parts.get("value").and_then(Value::as_str);
                let (Some(scale), Some(digits)) = (scale, digits) else { return Ok(value) };
                Ok(Value::String(decimal_text(digits, scale)?))
            }
            (DataType::Decimal128(..), Value::String(digits)) => match self.decimal_scale {
                Some(scale) => Ok(Value::String(decimal_text(digits, scale)?)),
                None => Ok(value),
            },
            (DataType::Timestamp(..) | DataType::Time64(_), Value::Number(number)) => {
                let Some(number) = number.as_i64() else { return Ok(value) };
                Ok(match self.unit {
                    TimeUnit::Second => number.saturating_mul(1_000_000),
                    TimeUnit::Millisecond => number.saturating_mul(1_000),
                    TimeUnit::Microsecond => number,
                    TimeUnit::Nanosecond => number.div_euclid(1_000),
                }
                .into())
            }
            _ => Ok(value),
        }
    }
}

/// Returns the encodings that a record's schema declares. Columns that are missing from the schema keep the encoding in
/// `declared`.
pub(super) fn wires_of(schema: &str, row: &Schema, declared: &[Wire]) -> Result<Vec<Wire>, String> {
    let schema: Value = serde_json::from_str(schema).map_err(|error| error.to_string())?;
    let named = |fields: &Value, name: &str| {
        fields.as_array().and_then(|fields| fields.iter().find(|field| field["field"] == name).cloned())
    };
    // In flattened records, the columns are not nested in `after`.
    let fields = named(&schema["fields"], "after").unwrap_or(schema)["fields"].clone();
    let wires = row.fields().iter().zip(declared).map(|(field, declared)| {
        let Some(carried) = named(&fields, field.name()) else { return *declared };
        let scale = carried["parameters"]["scale"].as_str().and_then(|scale| scale.parse().ok());
        match carried["name"].as_str().unwrap_or_default() {
            "org.apache.kafka.connect.data.Decimal" => Wire { decimal_scale: scale, ..*declared },
            "io.debezium.time.Timestamp"
            | "io.debezium.time.Time"
            | "org.apache.kafka.connect.data.Timestamp"
            | "org.apache.kafka.connect.data.Time" => Wire { decimal_scale: None, unit: TimeUnit::Millisecond },
            "io.debezium.time.NanoTimestamp" | "io.debezium.time.NanoTime" => {
                Wire { decimal_scale: None, unit: TimeUnit::Nanosecond }
            }
            _ => Wire { decimal_scale: None, unit: TimeUnit::Microsecond },
        }
    });
    Ok(wires.collect())
}

/// Converts the base64-encoded bytes of an unscaled integer to a decimal number as text.
fn decimal_text(bytes: &str, scale: i8) -> Result<String, String> {
    let bytes = STANDARD.decode(bytes).map_err(|error| format!("is no decimal: {error}"))?;
    if bytes.len() > 16 {
        return Err(format!("has {} bytes; a decimal has 16 at most", bytes.len()));
    }
    let fill = if bytes.first().is_some_and(|first| first & 0x80 != 0) { 0xff } else { 0 };
    let mut whole = [fill; 16];
    whole[16 - bytes.len()..].copy_from_slice(&bytes);
    let number = i128::from_be_bytes(whole);
    let digits = format!("{:0width$}", number.unsigned_abs(), width = usize::try_from(scale).unwrap_or(0) + 1);
    let sign = if number < 0 { "-" } else { "" };
    match usize::try_from(scale) {
        Ok(0) => Ok(format!("{sign}{digits}")),
        Ok(scale) => {
            let (whole, part) = digits.split_at(digits.len() - scale);
            Ok(format!("{sign}{whole}.{part}"))
        }
        Err(_) => Ok(format!("{sign}{digits}{}", "0".repeat(usize::from(scale.unsigned_abs())))),
    }
}

/// Converts values to a column. Returns an error for the first value that does not fit, or for an unsupported type.
pub(super) fn column(data: &DataType, values: &[Value]) -> Result<ArrayRef, String> {
    Ok(match data {
        DataType::Boolean => Arc::new(each::<_, BooleanArray>(values, boolean)?),
        DataType::Int8 => Arc::new(each::<_, Int8Array>(values, integer)?),
        DataType::Int16 => Arc::new(each::<_, Int16Array>(values, integer)?),
        DataType::Int32 => Arc::new(each::<_, Int32Array>(values, integer)?),
        DataType::Int64 => Arc::new(each::<_, Int64Array>(values, integer)?),
        DataType::Float32 => {
            Arc::new(each::<_, Float32Array>(values, |value| Ok(float(value)?.map(|one| one as f32)))?)
        }
        DataType::Float64 => Arc::new(each::<_, Float64Array>(values, float)?),
        DataType::Utf8 => Arc::new(each::<_, StringArray>(values, |value| Ok(Some(text(value))))?),
        DataType::Binary => Arc::new(each::<_, BinaryArray>(values, bytes)?),
        DataType::Decimal128(precision, scale) => {
            let decimals: Decimal128Array = each(values, |value| decimal(value, *precision, *scale))?;
            Arc::new(decimals.with_precision_and_scale(*precision, *scale).map_err(|error| error.to_string())?)
        }
        DataType::Date32 => Arc::new(each::<_, Date32Array>(values, date)?),
        DataType::Time64(TimeUnit::Microsecond) => Arc::new(each::<_, Time64MicrosecondArray>(values, time)?),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            Arc::new(each::<_, TimestampMicrosecondArray>(values, timestamp)?.with_timezone_opt(zone.clone()))
        }
        other => return Err(format!("cannot be read as {other}")),
    })
}

fn each<T, A: FromIterator<Option<T>>>(
    values: &[Value],
    read: impl Fn(&Value) -> Result<Option<T>, String>,
) -> Result<A, String> {
    values.iter().map(|value| if value.is_null() { Ok(None) } else { read(value) }).collect()
}

fn unfit<T>(value: &Value, what: &str) -> Result<T, String> {
    let shown: String = value.to_string().chars().take(60).collect();
    Err(format!("has {shown}, which is no {what}"))
}

fn boolean(value: &Value) -> Result<Option<bool>, String> {
    match value {
        Value::Bool(is) => Ok(Some(*is)),
        // MySQL's `tinyint(1)` and `bit(1)` are sent as 0 or 1.
        Value::Number(number) if number.as_i64().is_some_and(|number| number == 0 || number == 1) => {
            Ok(Some(number.as_i64() == Some(1)))
        }
        other => unfit(other, "boolean"),
    }
}

fn integer<T: TryFrom<i64>>(value: &Value) -> Result<Option<T>, String> {
    let number = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        Value::Bool(is) => Some(i64::from(*is)),
        _ => None,
    };
    match number.and_then(|number| T::try_from(number).ok()) {
        Some(number) => Ok(Some(number)),
        None => unfit(value, "integer of the column's size"),
    }
}

fn float(value: &Value) -> Result<Option<f64>, String> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        // Also accepts "NaN", "Infinity" and "-Infinity".
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.map_or_else(|| unfit(value, "number"), |number| Ok(Some(number)))
}

/// Converts a value to text. Lists and objects become JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn bytes(value: &Value) -> Result<Option<Vec<u8>>, String> {
    match value.as_str().and_then(|text| STANDARD.decode(text).ok()) {
        Some(bytes) => Ok(Some(bytes)),
        None => unfit(value, "base64"),
    }
}

fn decimal(value: &Value, precision: u8, scale: i8) -> Result<Option<i128>, String> {
    let digits = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.eq_ignore_ascii_case("nan") => return Ok(None),
        Value::String(text) => text.clone(),
        other => return unfit(other, "decimal"),
    };
    if fraction_digits(&digits) > i64::from(scale) {
        let shown: String = value.to_string().chars().take(60).collect();
        return Err(format!("has {shown}, and the column has {scale} digits after the point"));
    }
    match parse_decimal::<Decimal128Type>(&digits, precision, scale) {
        Ok(number) => Ok(Some(number)),
        Err(_) => unfit(value, &format!("decimal of {precision} digits with {scale} behind the point")),
    }
}

/// Returns true if the text is an infinite date, or a year that is out of range, which some connectors write instead.
fn is_infinite(text: &str) -> bool {
    let unsigned = text.trim_start_matches(['-', '+']);
    unsigned.eq_ignore_ascii_case("infinity") || unsigned.bytes().take_while(u8::is_ascii_digit).count() > 6
}

fn date(value: &Value) -> Result<Option<i32>, String> {
    let days = match value {
        Value::Number(number) if number.as_i64().is_some_and(|days| days.abs() >= INFINITE_DATE) => return Ok(None),
        Value::Number(number) => number.as_i64().and_then(|days| i32::try_from(days).ok()),
        Value::String(text) if is_infinite(text) => return Ok(None),
        Value::String(text) => {
            let date = NaiveDate::parse_from_str(text.trim_end_matches('Z'), "%Y-%m-%d").ok();
            date.and_then(|date| i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok())
        }
        _ => None,
    };
    days.map_or_else(|| unfit(value, "date"), |days| Ok(Some(days)))
}

fn time(value: &Value) -> Result<Option<i64>, String> {
    let micros = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => NaiveTime::parse_from_str(text.trim_end_matches('Z'), "%H:%M:%S%.f")
            .ok()
            .map(|time| i64::from(time.num_seconds_from_midnight()) * 1_000_000 + i64::from(time.nanosecond() / 1_000)),
        _ => None,
    };
    micros.map_or_else(|| unfit(value, "time"), |micros| Ok(Some(micros)))
}

fn timestamp(value: &Value) -> Result<Option<i64>, String> {
    let micros = match value {
        Value::Number(number) => match number.as_i64() {
            // Debezium writes an infinite Postgres timestamp as a number that is out of range.
            Some(micros) if DateTime::from_timestamp_micros(micros).is_none() => return Ok(None),
            micros => micros,
        },
        Value::String(text) if is_infinite(text) => return Ok(None),
        Value::String(text) => {
            let zoned = DateTime::parse_from_rfc3339(text).map(|at| at.timestamp_micros());
            let plain = |text: &str| NaiveDateTime::parse_from_str(text.trim_end_matches('Z'), "%Y-%m-%dT%H:%M:%S%.f");
            zoned.or_else(|_| plain(text).map(|at| at.and_utc().timestamp_micros())).ok()
        }
        _ => None,
    };
    micros.map_or_else(|| unfit(value, "timestamp"), |micros| Ok(Some(micros)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decode_to_text(data: &DataType, wire: Wire, value: Value) -> String {
        let read = wire.plain(value, data).and_then(|value| column(data, &[value]));
        match read {
            Err(why) => format!("refused: {why}"),
            Ok(array) if array.null_count() == 1 => "null".into(),
            Ok(array) => arrow::util::display::array_value_to_string(&array, 0).unwrap(),
        }
    }

    #[test]
    fn values_are_read_however_debezium_was_told_to_write_them() {
        let micros = Wire { decimal_scale: None, unit: TimeUnit::Microsecond };
        let (millis, bytes) =
            (Wire { unit: TimeUnit::Millisecond, ..micros }, Wire { decimal_scale: Some(2), ..micros });
        let money = DataType::Decimal128(10, 2);
        let at = DataType::Timestamp(TimeUnit::Microsecond, None);
        let time = DataType::Time64(TimeUnit::Microsecond);
        let cases = [
            (&money, bytes, json!("BUY="), "13.50"),
            (&money, bytes, json!("/w=="), "-0.01"),
            (&money, micros, json!("13.50"), "13.50"),
            (&money, micros, json!(13.5), "13.50"),
            (&money, micros, json!({"scale": 1, "value": "hw=="}), "-12.10"),
            (&money, micros, json!("NAN"), "null"),
            (&money, micros, json!("NaN"), "null"),
            (
                &money,
                micros,
                json!("123456789012.5"),
                "refused: has \"123456789012.5\", which is no decimal of 10 digits with 2 behind the point",
            ),
            (&money, micros, json!("13.5000"), "13.50"),
            (&money, micros, json!("0.125"), "refused: has \"0.125\", and the column has 2 digits after the point"),
            (&DataType::Float64, micros, json!("NaN"), "NaN"),
            (&DataType::Float64, micros, json!("-Infinity"), "-inf"),
            (
                &DataType::Int32,
                micros,
                json!(3_000_000_000_i64),
                "refused: has 3000000000, which is no integer of the column's size",
            ),
            (&DataType::Boolean, micros, json!(1), "true"),
            (&DataType::Date32, micros, json!(20177), "2025-03-30"),
            (&DataType::Date32, micros, json!("2025-03-30Z"), "2025-03-30"),
            (&DataType::Date32, micros, json!("-0043-03-13Z"), "-0043-03-13"),
            (&DataType::Date32, micros, json!(INFINITE_DATE), "null"),
            (&at, micros, json!(1_743_299_999_123_456_i64), "2025-03-30T01:59:59.123456"),
            (&at, millis, json!(1_743_299_999_123_i64), "2025-03-30T01:59:59.123"),
            (&at, micros, json!("2025-03-30T01:59:59.123456Z"), "2025-03-30T01:59:59.123456"),
            (&at, micros, json!("infinity"), "null"),
            (&at, micros, json!("-292275055-05-16T23:00:00Z"), "null"),
            (&at, micros, json!(i64::MIN), "null"),
            (&at, micros, json!("soon"), "refused: has \"soon\", which is no timestamp"),
            (&time, micros, json!(86_399_999_999_i64), "23:59:59.999999"),
            (&time, micros, json!("23:59:59.999999Z"), "23:59:59.999999"),
            (&DataType::Binary, micros, json!("3q2+7w=="), "deadbeef"),
            (&DataType::Utf8, micros, json!([1, null]), "[1,null]"),
        ];
        for (data, wire, value, wanted) in cases {
            assert_eq!(decode_to_text(data, wire, value.clone()), wanted, "{value} as {data}");
        }
    }

    #[test]
    fn a_value_that_was_not_told_is_known_in_each_of_its_shapes() {
        for value in [json!(UNAVAILABLE), json!(UNAVAILABLE_BYTES), json!([UNAVAILABLE])] {
            assert!(is_unavailable(&value), "{value}");
        }
        assert_eq!(STANDARD.encode(UNAVAILABLE), UNAVAILABLE_BYTES);
        assert!(!is_unavailable(&json!(["a", UNAVAILABLE])));
    }
}
