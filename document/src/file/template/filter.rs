//! The filters of templates. Each filter is a pure function of its value and arguments.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, FixedOffset, TimeDelta};
use serde_json::Value;

/// A filter, as listed in the guide and in errors.
#[derive(Debug)]
pub struct FilterInfo {
    pub name: &'static str,
    pub about: &'static str,
    pub example: &'static str,
    /// Minimum and maximum number of arguments.
    arguments: (usize, usize),
}

const fn filter(
    name: &'static str,
    arguments: (usize, usize),
    about: &'static str,
    example: &'static str,
) -> FilterInfo {
    FilterInfo { name, about, example, arguments }
}

pub const FILTERS: &[FilterInfo] = &[
    filter("default", (1, 1), "another value where there is none", "params.x | default(\"all\")"),
    filter("json", (0, 0), "as JSON text", "params.filter | json"),
    filter("from_json", (0, 0), "what a JSON text says", "var.limits | from_json"),
    filter("ds", (0, 0), "the day of a date: 2025-01-31", "run.logical_date | ds"),
    filter("ds_nodash", (0, 0), "the day without dashes: 20250131", "run.logical_date | ds_nodash"),
    filter("ts", (0, 0), "a date with its time: 2025-01-31T06:30:00+00:00", "run.logical_date | ts"),
    filter("format", (1, 1), "a date as strftime says", "run.logical_date | format(\"%Y/%m\")"),
    filter("add_days", (1, 1), "so many days later", "run.logical_date | add_days(-1) | ds"),
    filter("add_hours", (1, 1), "so many hours later", "run.logical_date | add_hours(1)"),
    filter("tz", (1, 1), "a date on the wall clock of a zone", "run.logical_date | tz(\"Europe/Berlin\") | ds"),
    filter("lower", (0, 0), "small letters", "params.region | lower"),
    filter("upper", (0, 0), "capital letters", "params.region | upper"),
    filter("trim", (0, 0), "without space around it", "upstream.read.output | trim"),
    filter("replace", (2, 2), "one text for another", "params.table | replace(\".\", \"_\")"),
    filter("length", (0, 0), "how long a list, text or object is", "upstream.list.output | length"),
    filter("first", (0, 0), "the first of a list", "upstream.list.output | first"),
    filter("last", (0, 0), "the last of a list", "upstream.list.output | last"),
    filter("join", (1, 1), "a list as one text", "params.tables | join(\",\")"),
    filter("split", (1, 1), "a text as a list", "params.tables | split(\",\")"),
    filter("int", (0, 0), "a text as a whole number", "upstream.count.output | int"),
];

/// Maximum number of bytes that the templates of one task may produce, also in each intermediate step. Outputs and
/// confs have at most 1 MiB.
pub(super) const MOST_BYTES: usize = 8 << 20;
/// Maximum for `add_days` and `add_hours`: more days than the calendar has.
const MOST_DAYS: u64 = 4_000_000;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filter {
    name: &'static str,
    arguments: Vec<Value>,
}

impl Filter {
    pub(super) fn new(info: &FilterInfo, arguments: Vec<Value>) -> Result<Filter, String> {
        let (name, (fewest, most)) = (info.name, info.arguments);
        if arguments.len() < fewest || arguments.len() > most {
            return Err(format!("filter `{name}` has {} values in brackets, not {most}", arguments.len()));
        }
        let texts = matches!(name, "format" | "tz" | "replace" | "join" | "split");
        if texts && !arguments.iter().all(Value::is_string) {
            return Err(format!("filter `{name}` takes texts in quotes"));
        }
        if name.starts_with("add_") && arguments[0].as_i64().is_none_or(|n| n.unsigned_abs() > MOST_DAYS) {
            return Err(format!("filter `{name}` takes a whole number"));
        }
        if let ("format", Some(form)) = (name, arguments.first().and_then(Value::as_str))
            && StrftimeItems::new(form).any(|item| matches!(item, Item::Error))
        {
            return Err(format!("`{form}` is no form of a date"));
        }
        if let ("tz", Some(zone)) = (name, arguments.first().and_then(Value::as_str)) {
            orch_spec::schedule::parse_timezone(zone).map_err(|error| error.message())?;
        }
        Ok(Filter { name, arguments })
    }

    fn text(&self, place: usize) -> &str {
        self.arguments.get(place).and_then(Value::as_str).unwrap_or_default()
    }

    /// Applies the filter. `None` means that there is no value. The size of each result is limited, because a few
    /// filters in a row could fill the memory.
    pub(super) fn apply(&self, value: Option<Value>) -> Result<Option<Value>, String> {
        if self.name == "default" {
            return Ok(value.filter(|value| !value.is_null()).or_else(|| self.arguments.first().cloned()));
        }
        let Some(value) = value else { return Ok(None) };
        let made = self.given(&value)?;
        if size(&made) > MOST_BYTES { Err(too_long()) } else { Ok(Some(made)) }
    }

    fn given(&self, value: &Value) -> Result<Value, String> {
        let refused = |what: &str| Err(format!("`{}` takes {what}, not {}", self.name, describe_type(value)));
        Ok(match (self.name, value) {
            ("json", _) => Value::String(value.to_string()),
            ("from_json", Value::String(text)) => {
                serde_json::from_str(text).map_err(|_| "the text is no JSON".to_string())?
            }
            ("ds", _) => self.date(value, |date| date.format("%Y-%m-%d").to_string())?,
            ("ds_nodash", _) => self.date(value, |date| date.format("%Y%m%d").to_string())?,
            ("ts", _) => self.date(value, |date| date.to_rfc3339())?,
            ("format", _) => self.date(value, |date| date.format(self.text(0)).to_string())?,
            ("add_days" | "add_hours", _) => {
                let count = self.arguments.first().and_then(Value::as_i64).unwrap_or(0);
                let hours = if self.name == "add_days" { count.saturating_mul(24) } else { count };
                let later = TimeDelta::try_hours(hours).and_then(|far| self.read(value).ok()?.checked_add_signed(far));
                match later {
                    Some(date) => Value::String(date.to_rfc3339()),
                    None => return refused("a date within the calendar"),
                }
            }
            ("tz", _) => {
                let zone = orch_spec::schedule::parse_timezone(self.text(0)).map_err(|error| error.message())?;
                Value::String(self.read(value)?.with_timezone(&zone).to_rfc3339())
            }
            ("lower", Value::String(text)) => Value::String(text.to_lowercase()),
            ("upper", Value::String(text)) => Value::String(text.to_uppercase()),
            ("trim", Value::String(text)) => Value::String(text.trim().into()),
            ("replace", Value::String(text)) => {
                let (from, to) = (self.text(0), self.text(1));
                if text.len().saturating_add(text.matches(from).count().saturating_mul(to.len())) > MOST_BYTES {
                    return Err(too_long());
                }
                Value::String(text.replace(from, to))
            }
            ("split", Value::String(text)) => {
                let parts = text.matches(self.text(0)).count();
                if parts.saturating_mul(size_of::<Value>()) > MOST_BYTES {
                    return Err(too_long());
                }
                text.split(self.text(0)).map(Value::from).collect()
            }
            ("length", Value::String(text)) => Value::from(text.chars().count()),
            ("length", Value::Array(items)) => Value::from(items.len()),
            ("length", Value::Object(fields)) => Value::from(fields.len()),
            ("first", Value::Array(items)) => items.first().cloned().unwrap_or(Value::Null),
            ("last", Value::Array(items)) => items.last().cloned().unwrap_or(Value::Null),
            ("join", Value::Array(items)) => {
                let words: Vec<String> =
                    items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), String::from)).collect();
                if size(value).saturating_add(words.len().saturating_mul(self.text(0).len())) > MOST_BYTES {
                    return Err(too_long());
                }
                Value::String(words.join(self.text(0)))
            }
            ("int", Value::Number(number)) => match number.as_i64() {
                Some(whole) => Value::from(whole),
                None => Value::from(number.as_f64().unwrap_or(0.0).trunc() as i64),
            },
            ("int", Value::String(text)) => match text.trim().parse::<i64>() {
                Ok(whole) => Value::from(whole),
                Err(_) => return refused("a whole number"),
            },
            ("int", _) => return refused("a number or a text"),
            ("first" | "last" | "join", _) => return refused("a list"),
            ("length", _) => return refused("a list, a text or an object"),
            _ => return refused("a text"),
        })
    }

    fn read(&self, value: &Value) -> Result<DateTime<FixedOffset>, String> {
        let date = value.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        date.ok_or_else(|| format!("`{}` takes a date, not {}", self.name, describe_type(value)))
    }

    fn date(&self, value: &Value, write: impl Fn(DateTime<FixedOffset>) -> String) -> Result<Value, String> {
        self.read(value).map(write).map(Value::String)
    }
}

/// Returns the approximate size of a value in bytes.
pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| size(item) + size_of::<Value>()).sum(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| name.len() + size(value) + 2 * size_of::<Value>()).sum()
        }
        _ => size_of::<Value>(),
    }
}

pub(super) fn too_long() -> String {
    format!("the templates of a task make more than {MOST_BYTES} bytes")
}

/// Describes a value without quoting it, because it may be a secret.
fn describe_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null (runs by hand have no logical date)",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "this text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
