//! Rules for texts: `pattern` and `format`, and names of fields by pattern.

use super::shown;
use chrono::{DateTime, NaiveDate, NaiveTime};
use regex_lite::Regex;
use serde_json::{Map, Value};
use std::net::{Ipv4Addr, Ipv6Addr};
use uuid::Uuid;

/// What is wrong with a text. A pattern that is not a regular expression was refused with its DAG.
pub(super) fn unlike(words: &Map<String, Value>, text: &str) -> impl Iterator<Item = String> {
    let word = |name: &str| words.get(name).and_then(Value::as_str);
    let said = shown(&Value::from(text));
    let pattern = word("pattern").filter(|pattern| Regex::new(pattern).is_ok_and(|regex| !regex.is_match(text)));
    let format = word("format").filter(|format| !fits(format, text));
    let article = if format == Some("email") { "an" } else { "a" };
    let pattern = pattern.map(|pattern| format!("is {said}, which does not match `{pattern}`"));
    let format = format.map(|format| format!("is {said}, not {article} {format}"));
    pattern.into_iter().chain(format)
}

/// The schema of a field that is named by a pattern.
pub(super) fn by_pattern<'a>(words: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let patterns = words.get("patternProperties").and_then(Value::as_object);
    let named = |(pattern, _): &(&String, _)| Regex::new(pattern).is_ok_and(|regex| regex.is_match(name));
    patterns.into_iter().flatten().find(named).map(|(_, schema)| schema)
}

fn fits(format: &str, text: &str) -> bool {
    match format {
        "date" => NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok(),
        "date-time" => DateTime::parse_from_rfc3339(text).is_ok(),
        "time" => ["%H:%M:%S%.f", "%H:%M"].iter().any(|form| NaiveTime::parse_from_str(text, form).is_ok()),
        "uuid" => Uuid::parse_str(text).is_ok(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "email" => text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty()),
        _ => true,
    }
}
