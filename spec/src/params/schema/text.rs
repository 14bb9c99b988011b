//! Checks text: `pattern` and `format`, and names of fields by pattern.

use super::truncate_json;
use crate::params::python::PythonRegex;
use crate::params::rewrite::RUST_DATE_TIME;
use chrono::{DateTime, NaiveDate};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The regular expressions of a schema, each compiled only once.
#[derive(Default)]
pub(super) struct Patterns<'a>(RefCell<HashMap<&'a str, Option<PythonRegex>>>);

impl<'a> Patterns<'a> {
    /// Returns the problems of a text.
    pub(super) fn unlike(&self, words: &'a Map<String, Value>, text: &str) -> impl Iterator<Item = String> + use<> {
        let word = |name: &str| words.get(name).and_then(Value::as_str);
        let said = truncate_json(&Value::from(text));
        let pattern = word("pattern").filter(|pattern| !self.fits(pattern, text));
        let format = [word("x-format"), word("format")].into_iter().flatten().find(|format| !fits(format, text));
        let format = format.map(|format| if format == RUST_DATE_TIME { "date-time" } else { format });
        let article = if format.is_some_and(|format| format.starts_with(['e', 'i'])) { "an" } else { "a" };
        let pattern = pattern.map(|pattern| format!("is {said}, which does not match `{pattern}`"));
        let format = format.map(|format| format!("is {said}, not {article} {format}"));
        pattern.into_iter().chain(format)
    }

    /// Returns the schemas of all patterns that match the name of a field.
    pub(super) fn of_field(&self, words: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a Value> {
        let patterns = words.get("patternProperties").and_then(Value::as_object);
        patterns.into_iter().flatten().filter(|(pattern, _)| self.fits(pattern, name)).map(|(_, schema)| schema)
    }

    /// Returns false if the expression does not compile. DAGs with such a `pattern` are rejected, unless they were
    /// registered before there was a limit.
    fn fits(&self, pattern: &'a str, text: &str) -> bool {
        let mut compiled = self.0.borrow_mut();
        let regex = compiled.entry(pattern).or_insert_with(|| PythonRegex::new(pattern).ok());
        regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }

    #[cfg(test)]
    pub(super) fn compiled(&self) -> usize {
        self.0.borrow().len()
    }
}

/// Returns whether a text has a format, with the results of Python's `jsonschema` in a plain Airflow. `date-time` is
/// not checked there: only schemas of Rust types require it, through `x-format`.
fn fits(format: &str, text: &str) -> bool {
    let is_number = |part: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    match format {
        "date" => {
            let parts: Vec<&str> = text.split('-').collect();
            let lengths = parts.iter().map(|part| if is_number(part, 2..=4) { part.len() } else { 0 });
            lengths.eq([4, 2, 2]) && !text.starts_with("0000") && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok()
        }
        "time" => {
            let parts: Vec<&str> = text.split(':').collect();
            let limits = [24, 60, 60];
            let fits =
                |(part, limit): (&&str, u8)| is_number(part, 1..=2) && part.parse::<u8>().is_ok_and(|n| n < limit);
            parts.len() == limits.len() && parts.iter().zip(limits).all(fits)
        }
        RUST_DATE_TIME => DateTime::parse_from_rfc3339(text).is_ok(),
        "uuid" => is_uuid(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "email" | "idn-email" => text.contains('@'),
        "duration" => is_duration(text),
        _ => true,
    }
}

fn is_uuid(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let hyphens = text.bytes().filter(|byte| *byte == b'-').count();
    let is_hyphen = |index: usize| text.as_bytes().get(index) == Some(&b'-');
    digits == 32 && digits + hyphens == text.len() && [8, 13, 18, 23].into_iter().all(is_hyphen)
}

/// Returns true for an ISO 8601 duration such as `P1DT12H`. Weeks cannot be combined with other date units.
fn is_duration(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let Some(rest) = unsigned.strip_prefix('P').filter(|rest| !rest.is_empty()) else { return false };
    let (date, time) = rest.split_once('T').map_or((rest, None), |(date, time)| (date, Some(time)));
    let date_units = if date.contains('W') { "W" } else { "YMD" };
    has_units(date, date_units) && time.is_none_or(|time| !time.is_empty() && has_units(time, "HMS"))
}

/// Returns true for numbers, each followed by one of `units`, in the order of `units`.
fn has_units(text: &str, mut units: &str) -> bool {
    let mut number = String::new();
    for letter in text.chars() {
        if letter.is_ascii_digit() || "+-.,eE".contains(letter) {
            number.push(if letter == ',' { '.' } else { letter });
            continue;
        }
        let Some((_, later)) = units.split_once(letter) else { return false };
        if number.parse::<f64>().is_err() {
            return false;
        }
        (units, number) = (later, String::new());
    }
    number.is_empty()
}
