//! Types of the fields of nouns (named objects that users manage): how values are parsed, and their JSON Schema.

use crate::fields::{flag, integer, one_of, text};
use crate::problem::Problem;
use crate::timestamp::{Timestamp, moment, moment_schema, rewritten};
use serde_json::{Value, json};

#[derive(Debug, Clone, Copy)]
pub enum FieldKind {
    /// The name of an object. `check` returns why a name is invalid.
    Name {
        most: usize,
        pattern: Option<&'static str>,
        check: fn(&str) -> Result<(), String>,
    },
    /// Optional text.
    Text,
    /// Optional text. An empty string counts as missing.
    FilledText,
    /// Required text that is not blank. The function `usual` normalizes it.
    Word {
        usual: fn(&str) -> String,
    },
    OneOf {
        words: &'static [&'static str],
    },
    /// An optional timestamp.
    Moment,
    Whole {
        least: i32,
        most: i32,
    },
    /// A number that the server computes, so requests cannot set it.
    Count,
    Flag,
    Port,
    /// Any JSON value. A value that is not a string is stored as JSON text.
    AnyText,
    /// A string that contains a JSON object. It is stored as an object.
    Object,
    /// Airflow's field for teams, which is always null.
    Team,
    /// A list of field names.
    Names,
}

const NO_TEAMS: &str = "team_name cannot be set when multi_team mode is disabled. Please contact your administrator.";

impl FieldKind {
    /// Parses a value that is not null, and returns it in the form in which it is stored.
    pub(super) fn read(self, value: &Value) -> Result<Value, Problem> {
        match self {
            FieldKind::Name { most, pattern, check } => name(value, most, pattern, check),
            FieldKind::Text => text(value).map(Value::from),
            FieldKind::FilledText => text(value).map(|text| if text.is_empty() { Value::Null } else { text.into() }),
            FieldKind::Word { usual } => match text(value)? {
                text if text.trim().is_empty() => Err(Problem::value("it must not be empty")),
                text => Ok(usual(&text).into()),
            },
            FieldKind::OneOf { words } => one_of(value, words).map(Value::from),
            FieldKind::Moment => moment(value).map(|at| json!(Timestamp(at))),
            FieldKind::Whole { least, most } => whole(value, i64::from(least)..=i64::from(most)),
            FieldKind::Flag => flag(value).map(Value::from),
            FieldKind::Port => whole(value, 0..=i64::from(u16::MAX)),
            FieldKind::AnyText => Ok(value.as_str().map_or_else(|| value.to_string().into(), Value::from)),
            FieldKind::Object => object(value),
            FieldKind::Team => Err(Problem::value(NO_TEAMS)),
            FieldKind::Count | FieldKind::Names => {
                Err(Problem::new("extra_forbidden", "Extra inputs are not permitted"))
            }
        }
    }

    /// Returns the value that is stored for null. `None` if the field cannot be cleared.
    pub(super) fn empty(self) -> Option<Value> {
        match self {
            FieldKind::Text | FieldKind::FilledText | FieldKind::Port | FieldKind::Moment => Some(Value::Null),
            FieldKind::Object => Some(json!({})),
            _ => None,
        }
    }

    /// Converts a stored value to the form in which responses contain it.
    pub fn answer_value(self, stored: &Value) -> Value {
        match self {
            FieldKind::Moment => rewritten(stored),
            _ => stored.clone(),
        }
    }

    /// Returns the JSON Schema of the values other than `null`. The caller adds `null`.
    pub(super) fn schema(self) -> Value {
        match self {
            FieldKind::Name { pattern: Some(pattern), .. } => json!({ "type": "string", "pattern": pattern }),
            FieldKind::Name { most, .. } => json!({ "type": "string", "minLength": 1, "maxLength": most }),
            FieldKind::Word { .. } => json!({ "type": "string", "minLength": 1 }),
            FieldKind::Text | FieldKind::FilledText => json!({ "type": "string" }),
            FieldKind::OneOf { words } => json!({ "type": "string", "enum": words }),
            FieldKind::Moment => moment_schema().to_value(),
            FieldKind::Whole { least, most } => {
                json!({ "type": "integer", "format": "int32", "minimum": least, "maximum": most })
            }
            FieldKind::Count => json!({ "type": "integer", "format": "int64" }),
            FieldKind::Flag => json!({ "type": "boolean" }),
            FieldKind::Port => json!({ "type": "integer", "format": "uint16", "minimum": 0, "maximum": u16::MAX }),
            FieldKind::AnyText => json!({}),
            FieldKind::Object => json!({ "type": "string", "contentMediaType": "application/json" }),
            FieldKind::Team => json!({ "type": "null", "default": null }),
            FieldKind::Names => json!({ "type": "array", "items": { "type": "string" } }),
        }
    }
}

fn name(
    value: &Value,
    most: usize,
    pattern: Option<&str>,
    check: fn(&str) -> Result<(), String>,
) -> Result<Value, Problem> {
    let name = text(value)?;
    if name.chars().count() > most {
        let msg = format!("String should have at most {most} characters");
        return Err(Problem::new("string_too_long", msg).with_ctx(json!({ "max_length": most })));
    }
    check(&name).map_err(|why| match pattern {
        Some(pattern) => Problem::new("string_pattern_mismatch", format!("String should match pattern '{pattern}'"))
            .with_ctx(json!({ "pattern": pattern })),
        None => Problem::value(why),
    })?;
    Ok(name.into())
}

fn whole(value: &Value, range: std::ops::RangeInclusive<i64>) -> Result<Value, Problem> {
    let number = integer(value).ok_or_else(|| Problem::new("int_type", "Input should be a valid integer"))?;
    let (least, most) = range.into_inner();
    if number < least {
        let msg = format!("Input should be greater than or equal to {least}");
        return Err(Problem::new("greater_than_equal", msg).with_ctx(json!({ "ge": least })));
    }
    if number > most {
        let msg = format!("Input should be less than or equal to {most}");
        return Err(Problem::new("less_than_equal", msg).with_ctx(json!({ "le": most })));
    }
    Ok(number.into())
}

/// Parses a string that contains a JSON object. As in Airflow, an empty string is an empty object. Problems do not
/// contain the input, which may be a secret.
fn object(value: &Value) -> Result<Value, Problem> {
    let written = text(value)?;
    if written.is_empty() {
        return Ok(json!({}));
    }
    let object = "The `extra` field must be a valid JSON object (e.g., {'key': 'value'})";
    match serde_json::from_str(&written) {
        Ok(object @ Value::Object(_)) if !written.contains("\\u0000") => Ok(object),
        Ok(_) => Err(Problem::value(object)),
        Err(_) => Err(Problem::value(format!("{object}, but encountered non-JSON in `extra` field"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_kept_and_shown_in_utc() {
        let sent = json!("2026-11-22T14:00:00+01:00");
        assert_eq!(FieldKind::Moment.read(&sent).ok(), Some(json!("2026-11-22T13:00:00Z")));
        assert_eq!(
            FieldKind::Moment.answer_value(&json!("2026-11-22T13:00:00.5+00:00")),
            json!("2026-11-22T13:00:00.500000Z")
        );
        assert_eq!(
            (FieldKind::Moment.answer_value(&Value::Null), FieldKind::Moment.empty()),
            (Value::Null, Some(Value::Null))
        );
        assert!(FieldKind::Moment.read(&json!("2026-11-22")).is_err(), "it has no zone");
    }

    #[test]
    fn one_of_some_words_is_never_another_one_and_never_missing() {
        let kind = FieldKind::OneOf { words: &["info", "error"] };
        assert_eq!(kind.read(&json!("error")).ok(), Some(json!("error")));
        for other in [json!("Error"), json!(""), json!(1)] {
            assert!(kind.read(&other).is_err(), "{other}");
        }
        assert_eq!((kind.empty(), kind.schema()), (None, json!({ "type": "string", "enum": ["info", "error"] })));
    }
}
