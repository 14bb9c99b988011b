//! Parses the parameters of a request into values of the declared types, or returns all problems.

use crate::endpoint::{Endpoint, FORMAT, Param, ParamType, text_of};
use crate::format::Format;
use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime};
use orch_store::lake_view::{LakeError, SqlValue, SqlValues};
use orch_wire::Problem;
use serde_json::json;

/// Maximum length of a text. Longer texts match nothing in a table.
const MOST_TEXT_CHARS: usize = 1_000;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EndpointRequest {
    /// Values of all parameters, except those whose `default_sql` must still be queried.
    pub(crate) values: SqlValues,
    pub(crate) format: Format,
}

/// Parses a query string. Returns a problem for each parameter that is missing, unknown, repeated or of another type.
pub(crate) fn read(endpoint: &Endpoint, query: &str) -> Result<EndpointRequest, Vec<Problem>> {
    let (mut values, mut problems, mut format) = (SqlValues::new(), Vec::new(), Format::Json);
    let mut seen = Vec::new();
    for (name, text) in form_urlencoded::parse(query.as_bytes()) {
        let at = |problem: Problem| problem.at(["query", &*name]).with_input(&json!(text));
        if seen.contains(&name) {
            problems.push(at(Problem::value("the parameter is there twice")));
            continue;
        }
        seen.push(name.clone());
        if name == FORMAT && endpoint.has_formats() {
            match Format::of(&text) {
                Some(known) => format = known,
                None => problems.push(at(not_one_of(&Format::NAMES))),
            }
            continue;
        }
        match endpoint.params.iter().find(|param| param.name == name) {
            Some(param) => match read_value(param, &text) {
                Ok(value) => {
                    values.insert(param.name.clone(), value);
                }
                Err(problem) => problems.push(at(problem)),
            },
            None => problems.push(at(Problem::new("extra_forbidden", "Extra inputs are not permitted"))),
        }
    }
    for param in endpoint.params.iter().filter(|param| !seen.iter().any(|name| *name == *param.name)) {
        if param.required {
            problems.push(Problem::new("missing", "Field required").at(["query", &*param.name]));
        } else if let Some(default) = &param.default {
            // The default was checked together with its endpoint.
            values.extend(read_value(param, &text_of(default)).ok().map(|value| (param.name.clone(), value)));
        } else if param.default_sql.is_none() {
            values.insert(param.name.clone(), SqlValue::Null);
        }
    }
    if problems.is_empty() { Ok(EndpointRequest { values, format }) } else { Err(problems) }
}

pub(crate) fn read_value(param: &Param, text: &str) -> Result<SqlValue, Problem> {
    match param.data_type {
        ParamType::Integer => {
            let wrong =
                || Problem::new("int_parsing", "Input should be a valid integer, unable to parse string as an integer");
            let number: i64 = text.parse().map_err(|_| wrong())?;
            within(param, number as f64)?;
            Ok(SqlValue::Integer(number))
        }
        ParamType::Number => {
            let wrong =
                || Problem::new("float_parsing", "Input should be a valid number, unable to parse string as a number");
            let number: f64 = text.parse().map_err(|_| wrong())?;
            if !number.is_finite() {
                return Err(Problem::new("finite_number", "Input should be a finite number"));
            }
            within(param, number)?;
            Ok(SqlValue::Number(number))
        }
        ParamType::Boolean => match text {
            "true" | "1" => Ok(SqlValue::Boolean(true)),
            "false" | "0" => Ok(SqlValue::Boolean(false)),
            _ => Err(Problem::new("bool_parsing", "Input should be `true` or `false`")),
        },
        ParamType::Text if !param.one_of.is_empty() && !param.one_of.iter().any(|known| known == text) => {
            Err(not_one_of(&param.one_of))
        }
        ParamType::Text if text.chars().count() > MOST_TEXT_CHARS => {
            Err(Problem::new("string_too_long", format!("String should have at most {MOST_TEXT_CHARS} characters")))
        }
        ParamType::Text => Ok(SqlValue::Text(text.into())),
        ParamType::Date => {
            let wrong = || Problem::new("date_from_datetime_parsing", "Input should be a valid date: `2026-11-20`");
            let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| wrong())?;
            if text.len() == 10 && is_in_range(day) { Ok(SqlValue::Date(day)) } else { Err(wrong()) }
        }
        ParamType::Timestamp => timestamp(text).map(SqlValue::Timestamp).ok_or_else(|| {
            Problem::new(
                "datetime_parsing",
                "Input should be a valid datetime: `2026-11-20T06:00:00`, in UTC or with a zone",
            )
        }),
    }
}

/// Converts the result of a default's query to the type of its parameter. Returns `LakeError::Refused` if the query
/// returned a value that the parameter does not allow, because the endpoint is wrong and no connection has failed.
pub(crate) fn read_default(param: &Param, found: &serde_json::Value) -> Result<SqlValue, LakeError> {
    if found.is_null() {
        return Ok(SqlValue::Null);
    }
    read_value(param, &text_of(found))
        .map_err(|problem| LakeError::Refused(format!("the default of `{}` is `{found}`: {}", param.name, problem.msg)))
}

fn within(param: &Param, number: f64) -> Result<(), Problem> {
    if let Some(least) = param.minimum.filter(|least| number < *least) {
        let words = format!("Input should be greater than or equal to {least}");
        return Err(Problem::new("greater_than_equal", words).with_ctx(json!({ "ge": least })));
    }
    if let Some(most) = param.maximum.filter(|most| number > *most) {
        let words = format!("Input should be less than or equal to {most}");
        return Err(Problem::new("less_than_equal", words).with_ctx(json!({ "le": most })));
    }
    Ok(())
}

fn not_one_of(words: &[impl AsRef<str>]) -> Problem {
    let words: Vec<String> = words.iter().map(|word| format!("'{}'", word.as_ref())).collect();
    let expected = match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    };
    Problem::new("literal_error", format!("Input should be {expected}")).with_ctx(json!({ "expected": expected }))
}

/// Timestamps in SQL are in nanoseconds, whose range is 1678 to 2262.
fn is_in_range(day: NaiveDate) -> bool {
    (1700..2200).contains(&day.year())
}

/// Parses a timestamp. If it has a time zone, it is converted to UTC.
fn timestamp(text: &str) -> Option<NaiveDateTime> {
    let text = text.replacen(' ', "T", 1);
    let zoned = DateTime::parse_from_rfc3339(&text).map(|at| at.naive_utc());
    let plain = || {
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
            .iter()
            .find_map(|form| NaiveDateTime::parse_from_str(&text, form).ok())
    };
    zoned.ok().or_else(plain).filter(|at| is_in_range(at.date()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        let text = "
path: /x
about: All types
params:
  - {name: day, type: date, required: true}
  - {name: limit, type: integer, minimum: 1, maximum: 500, default: 50}
  - {name: share, type: number}
  - {name: kind, type: text, one_of: [big, small]}
  - {name: name, type: text}
  - {name: at, type: timestamp, default_sql: select max(at) from a.t}
  - {name: all, type: boolean, default: false}
sql: select 1 as x from a.t where day = $day and $share > $limit and $kind = $name and at < $at and $all
columns: [{name: x, type: integer}]
";
        Endpoint::read("x.yaml", text).unwrap()
    }

    #[test]
    fn values_have_their_types_and_defaults() {
        let asked = read(
            &endpoint(),
            "day=2026-11-20&share=-0.5&name=O%27Hara+%3B--&at=2026-11-20T06:00:00%2B02:00&format=csv",
        )
        .unwrap();
        let day = NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
        assert_eq!(asked.format, Format::Csv);
        assert_eq!(
            asked.values,
            SqlValues::from([
                ("all".into(), SqlValue::Boolean(false)),
                ("at".into(), SqlValue::Timestamp(day.and_hms_opt(4, 0, 0).unwrap())),
                ("day".into(), SqlValue::Date(day)),
                ("kind".into(), SqlValue::Null),
                ("limit".into(), SqlValue::Integer(50)),
                ("name".into(), SqlValue::Text("O'Hara ;--".into())),
                ("share".into(), SqlValue::Number(-0.5)),
            ])
        );
        // The default from a table is queried later.
        assert!(!read(&endpoint(), "day=2026-11-20").unwrap().values.contains_key("at"));
    }

    #[test]
    fn a_default_of_another_type_is_a_mistake_in_the_endpoint() {
        let endpoint = endpoint();
        let at = endpoint.params.iter().find(|param| param.name == "at").unwrap();
        assert_eq!(read_default(at, &json!(null)), Ok(SqlValue::Null));
        let wrong = read_default(at, &json!("noon"));
        let Err(LakeError::Refused(message)) = &wrong else { panic!("{wrong:?}") };
        assert!(message.starts_with("the default of `at` is `\"noon\"`: Input should be"), "{message}");
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_field() {
        let told = |query: &str| {
            let problems = read(&endpoint(), query).unwrap_err();
            problems
                .iter()
                .map(|problem| format!("{} {}", problem.loc[1].as_str().unwrap(), problem.kind))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(""), ["day missing"]);
        assert_eq!(
            told("limit=0&share=x&lmit=3"),
            ["limit greater_than_equal", "share float_parsing", "lmit extra_forbidden", "day missing"]
        );
        for (query, wrong) in [
            ("day=20-11-2026", "day date_from_datetime_parsing"),
            ("day=%2B12026-01-01", "day date_from_datetime_parsing"),
            ("day=1699-12-31", "day date_from_datetime_parsing"),
            ("day=2026-11-20&at=2200-01-01T00:00:00", "at datetime_parsing"),
            ("day=2026-11-20&day=2026-11-21", "day value_error"),
            ("day=2026-11-20&limit=501", "limit less_than_equal"),
            ("day=2026-11-20&limit=9223372036854775808", "limit int_parsing"),
            ("day=2026-11-20&limit=1.5", "limit int_parsing"),
            ("day=2026-11-20&share=NaN", "share finite_number"),
            ("day=2026-11-20&kind=huge", "kind literal_error"),
            ("day=2026-11-20&at=noon", "at datetime_parsing"),
            ("day=2026-11-20&all=maybe", "all bool_parsing"),
            ("day=2026-11-20&format=xml", "format literal_error"),
        ] {
            assert_eq!(told(query), [wrong], "{query}");
        }
        assert_eq!(told(&format!("day=2026-11-20&name={}", "x".repeat(1_001))), ["name string_too_long"]);
    }
}
