//! Rules for texts: `pattern` and `format`, and names of fields by pattern.

use super::truncate_json;
use crate::pattern::compile;
use chrono::{DateTime, NaiveDate, NaiveTime};
use regex_lite::Regex;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use uuid::Uuid;

/// The regular expressions of a schema, each compiled once however many values are judged by it.
#[derive(Default)]
pub(super) struct Patterns<'a>(RefCell<HashMap<&'a str, Option<Regex>>>);

impl<'a> Patterns<'a> {
    /// What is wrong with a text.
    pub(super) fn unlike(&self, words: &'a Map<String, Value>, text: &str) -> impl Iterator<Item = String> + use<> {
        let word = |name: &str| words.get(name).and_then(Value::as_str);
        let said = truncate_json(&Value::from(text));
        let pattern = word("pattern").filter(|pattern| !self.fits(pattern, text));
        let format = word("format").filter(|format| !fits(format, text));
        let article = if format == Some("email") { "an" } else { "a" };
        let pattern = pattern.map(|pattern| format!("is {said}, which does not match `{pattern}`"));
        let format = format.map(|format| format!("is {said}, not {article} {format}"));
        pattern.into_iter().chain(format)
    }

    /// The schema of a field that is named by a pattern.
    pub(super) fn of_field(&self, words: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
        let patterns = words.get("patternProperties").and_then(Value::as_object);
        let named = |(pattern, _): &(&'a String, _)| self.fits(pattern, name);
        patterns.into_iter().flatten().find(named).map(|(_, schema)| schema)
    }

    /// Expressions that do not compile match no text. DAGs with such a `pattern` are refused, unless they were registered before there was
    /// a limit.
    fn fits(&self, pattern: &'a str, text: &str) -> bool {
        let mut compiled = self.0.borrow_mut();
        let regex = compiled.entry(pattern).or_insert_with(|| compile(pattern).ok());
        regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }

    #[cfg(test)]
    pub(super) fn compiled(&self) -> usize {
        self.0.borrow().len()
    }
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
