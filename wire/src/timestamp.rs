//! Timestamps in the API: written as RFC 3339 in UTC, and read in the formats that pydantic accepts.

use crate::problem::Problem;
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeDelta, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::borrow::Cow;

/// Written as `2026-11-20T06:47:44.888345Z`, without the fraction if it is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp(pub DateTime<Utc>);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = self.0.timestamp_subsec_micros() == 0;
        let precision = if whole { SecondsFormat::Secs } else { SecondsFormat::Micros };
        serializer.serialize_str(&self.0.to_rfc3339_opts(precision, true))
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        if generator.contract().is_deserialize() {
            return moment_schema();
        }
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// Like `Timestamp`, but a value without a time zone is in UTC, as in some requests of Airflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UtcTimestamp(pub DateTime<Utc>);

impl JsonSchema for UtcTimestamp {
    fn schema_name() -> Cow<'static, str> {
        "UtcTimestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Timestamp::json_schema(generator)
    }
}

/// Years 1 to 9999 in milliseconds since the Unix epoch, as a half-open range. Small numbers are seconds, as in
/// pydantic.
const MOMENTS: (i64, i64) = (-62_135_596_800_000, 253_402_300_800_000);

/// Returns the schema of a timestamp in a request body.
pub fn moment_schema() -> Schema {
    json_schema!({ "anyOf": [{ "type": "string", "format": "date-time" },
        { "type": "number", "minimum": MOMENTS.0, "exclusiveMaximum": MOMENTS.1 }] })
}

/// Returns the schema of a timestamp or date in a query string, which has no JSON types.
pub fn query_moment_schema() -> Schema {
    json_schema!({ "anyOf": [{ "type": "string", "format": "date-time" }, { "type": "string", "format": "date" },
        { "type": "number", "minimum": MOMENTS.0, "exclusiveMaximum": MOMENTS.1 }] })
}

pub fn stamp(at: Option<DateTime<Utc>>) -> Option<Timestamp> {
    at.map(Timestamp)
}

/// Converts a timestamp that Postgres wrote as JSON to the format of responses. Other values are returned unchanged.
pub fn rewritten(written: &Value) -> Value {
    let moment = written.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let said = moment.and_then(|moment| serde_json::to_value(Timestamp(moment.with_timezone(&Utc))).ok());
    said.unwrap_or_else(|| written.clone())
}

/// Returns the seconds between two timestamps, which is how Airflow writes durations.
pub fn seconds_between(start: Option<DateTime<Utc>>, end: Option<DateTime<Utc>>) -> Option<f64> {
    let length: TimeDelta = end? - start?;
    Some(length.as_seconds_f64())
}

/// Larger numbers are milliseconds, as in pydantic.
const SECONDS_UNTIL: f64 = 2e10;

/// Reads a timestamp with a time zone from JSON: a string, or seconds since the Unix epoch.
pub fn moment(value: &Value) -> Result<DateTime<Utc>, Problem> {
    match value {
        Value::String(text) => written(text),
        Value::Number(number) => {
            number.as_f64().and_then(from_seconds).ok_or_else(|| unreadable("number out of range"))
        }
        _ => Err(Problem::new("datetime_type", "Input should be a valid datetime")),
    }
    .map_err(|problem| problem.with_input(value))
}

/// Like [`moment`], but a value without a time zone is in UTC.
pub fn moment_or_utc(value: &Value) -> Result<DateTime<Utc>, Problem> {
    let naive = value.as_str().and_then(without_zone).map(|at| at.and_utc());
    naive.filter(|&at| in_range(at)).map_or_else(|| moment(value), Ok)
}

/// Reads a timestamp in a query string. Without a time zone it is in UTC; a date is its midnight in UTC.
pub fn moment_of_query(text: &str) -> Result<DateTime<Utc>, Problem> {
    let naive = without_zone(text).map(|at| at.and_utc());
    naive.filter(|&at| in_range(at)).map_or_else(|| moment_from(text), Ok)
}

pub fn moment_from(text: &str) -> Result<DateTime<Utc>, Problem> {
    match text.parse::<f64>() {
        Ok(seconds) => from_seconds(seconds).ok_or_else(|| unreadable("number out of range")),
        Err(_) => written(text),
    }
}

fn written(text: &str) -> Result<DateTime<Utc>, Problem> {
    let aware = [text.to_string(), text.replacen(' ', "T", 1)];
    let aware = aware.iter().find_map(|t| {
        let with_zone = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"];
        with_zone.iter().find_map(|form| DateTime::parse_from_str(&t.to_uppercase(), form).ok())
    });
    match aware.map(|at| at.with_timezone(&Utc)) {
        Some(at) if in_range(at) => Ok(at),
        Some(_) => Err(unreadable("year is not between 1 and 9999")),
        None if without_zone(text).is_some() => Err(Problem::new("timezone_aware", "Input should have timezone info")),
        None if text.len() < 10 => Err(unreadable("input is too short")),
        None => Err(unreadable("invalid date, time or zone")),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the bound above keeps the microseconds within a whole number")]
fn from_seconds(number: f64) -> Option<DateTime<Utc>> {
    let seconds = if number.abs() > SECONDS_UNTIL { number / 1000.0 } else { number };
    if !seconds.is_finite() || seconds.abs() > 1e12 {
        return None;
    }
    DateTime::from_timestamp_micros((seconds * 1e6).round() as i64).filter(|&at| in_range(at))
}

/// Range of Python's `datetime`. Postgres stores a wider range.
fn in_range(at: DateTime<Utc>) -> bool {
    (1..=9999).contains(&at.year())
}

fn without_zone(text: &str) -> Option<NaiveDateTime> {
    let text = text.replacen(' ', "T", 1).to_uppercase();
    let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
    let time = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(&text, form).ok());
    time.or_else(|| Some(NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN)))
}

fn unreadable(why: &str) -> Problem {
    let msg = format!("Input should be a valid datetime or date, {why}");
    Problem::new("datetime_from_date_parsing", msg).with_ctx(json!({ "error": why }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_pydantic_reads_them() {
        for (text, expected) in [
            ("2026-11-20T06:47:44.888345Z", "2026-11-20T06:47:44.888345Z"),
            ("2026-11-20t06:47:44z", "2026-11-20T06:47:44Z"),
            ("2026-11-20 06:47:44+02:00", "2026-11-20T04:47:44Z"),
            ("2026-11-20T06:47+0200", "2026-11-20T04:47:00Z"),
            ("1700000000", "2023-11-14T22:13:20Z"),
            ("1700000000000", "2023-11-14T22:13:20Z"),
        ] {
            let at = moment_from(text).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
            assert_eq!(json!(Timestamp(at)), json!(expected), "{text}");
        }
        for (text, kind) in [
            ("2026-11-20T06:47:44", "timezone_aware"),
            ("2026-11-20 06:47", "timezone_aware"),
            ("2026-11-20", "timezone_aware"),
            ("soon", "datetime_from_date_parsing"),
            ("", "datetime_from_date_parsing"),
            ("2026-13-20T06:47:44Z", "datetime_from_date_parsing"),
            ("+12026-11-20T06:47:44Z", "datetime_from_date_parsing"),
            ("1e400", "datetime_from_date_parsing"),
            ("nan", "datetime_from_date_parsing"),
        ] {
            assert_eq!(moment_from(text).map_err(|p| p.kind), Err(kind), "{text}");
        }
        assert_eq!(moment(&json!(true)).map_err(|p| p.kind), Err("datetime_type"));
        for (text, expected) in [
            ("2026-11-20", "2026-11-20T00:00:00Z"),
            ("2026-11-20 06:47", "2026-11-20T06:47:00Z"),
            ("2026-11-20T06:47:44.5", "2026-11-20T06:47:44.500000Z"),
            ("2026-11-20T06:47:44+02:00", "2026-11-20T04:47:44Z"),
        ] {
            let at = moment_or_utc(&json!(text)).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
            assert_eq!(json!(Timestamp(at)), json!(expected), "{text}");
        }
        assert_eq!(moment_or_utc(&json!("soon")).map_err(|p| p.kind), Err("datetime_from_date_parsing"));
    }
}
