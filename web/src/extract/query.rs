//! The query of a request. Routes read it as a declared struct (`query_params`), lists and pages by single names.
//! Problems are collected, like those of body fields. Parameters that a route does not have are rejected earlier
//! (`guard`).

use super::QueryParams;
use crate::pages::encoded;
use crate::refusal::Refusal;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use orch_wire::Problem;
use orch_wire::timestamp::moment_of_query;
use serde_json::json;

#[derive(Debug, Clone)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
    problems: Vec<Problem>,
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Ok(Query::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Query {
    pub(crate) fn parse(query: &str) -> Query {
        let pairs = form_urlencoded::parse(query.as_bytes());
        let mut query = Query { pairs: Vec::new(), problems: Vec::new() };
        for (name, value) in pairs {
            if value.contains('\0') {
                let problem = Problem::value("text must not hold a NUL character");
                query.problems.push(problem.at(["query", &name.replace('\0', "\u{FFFD}")]));
            } else {
                query.pairs.push((name.into_owned(), value.into_owned()));
            }
        }
        query
    }

    /// Removes empty values, because forms send empty fields too.
    pub(crate) fn leave_out_empty(&mut self) {
        self.pairs.retain(|(_, value)| !value.trim().is_empty());
    }

    /// Replaces the values with this name for which `write` returns a new value.
    pub(crate) fn rewrite(&mut self, name: &str, write: impl Fn(&str) -> Option<String>) {
        for (_, value) in self.pairs.iter_mut().filter(|(known, _)| known == name) {
            *value = write(value).unwrap_or_else(|| std::mem::take(value));
        }
    }

    /// Returns the query without these names, as `&name=value` pairs that follow another pair.
    pub(crate) fn rest(&self, without: &[&str]) -> String {
        let pairs = self.pairs.iter().filter(|(name, _)| !without.contains(&name.as_str()));
        pairs.fold(String::new(), |rest, (name, value)| format!("{rest}&{}={}", encoded(name), encoded(value)))
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Returns the last value with this name.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn moment(&mut self, name: &str) -> Option<DateTime<Utc>> {
        self.read(name, moment_of_query)
    }

    pub(crate) fn number(&mut self, name: &str) -> Option<f64> {
        self.read(name, |text| match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => {
                Err(Problem::new("float_parsing", "Input should be a valid number, unable to parse string as a number"))
            }
        })
    }

    /// Reads a non-negative integer.
    pub(crate) fn count(&mut self, name: &str, otherwise: i64) -> i64 {
        let read = |text: &str| match whole(text)? {
            count if count < 0 => {
                let msg = "Input should be greater than or equal to 0";
                Err(Problem::new("greater_than_equal", msg).with_ctx(json!({ "ge": 0 })))
            }
            count => Ok(count),
        };
        self.read(name, read).unwrap_or(otherwise)
    }

    pub(crate) fn whole_numbers(&mut self, name: &str) -> Vec<i64> {
        let (mut numbers, mut problems) = (Vec::new(), Vec::new());
        for (place, text) in self.all(name).enumerate() {
            match whole(text) {
                Ok(number) => numbers.push(number),
                Err(problem) => {
                    let loc = [json!("query"), json!(name), json!(place)];
                    problems.push(problem.at(loc).with_input(&json!(text)));
                }
            }
        }
        self.problems.extend(problems);
        numbers
    }

    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        self.read(name, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" | "t" | "y" => Ok(true),
            "false" | "0" | "no" | "off" | "f" | "n" => Ok(false),
            _ => Err(Problem::new("bool_parsing", "Input should be a valid boolean, unable to interpret input")),
        })
    }

    /// Reads the parameters of a route. Problems are reported by [`Query::finish`].
    pub(crate) fn take<P: QueryParams>(&mut self) -> P {
        P::take(self)
    }

    /// Reads the parameters of a route and finishes the query.
    pub(crate) fn whole<P: QueryParams>(&mut self) -> Result<P, Refusal> {
        let read = self.take();
        self.finish()?;
        Ok(read)
    }

    pub(crate) fn refuse(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Returns the recorded problems, if there are any.
    pub(crate) fn finish(&mut self) -> Result<(), Refusal> {
        if self.problems.is_empty() { Ok(()) } else { Err(Refusal::Invalid(std::mem::take(&mut self.problems))) }
    }

    fn read<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, Problem>) -> Option<T> {
        let text = self.text(name)?;
        match read(text) {
            Ok(value) => Some(value),
            Err(problem) => {
                let problem = problem.at(["query", name]).with_input(&json!(text));
                self.problems.push(problem);
                None
            }
        }
    }
}

fn whole(text: &str) -> Result<i64, Problem> {
    let unreadable = "Input should be a valid integer, unable to parse string as an integer";
    text.trim().parse().map_err(|_| Problem::new("int_parsing", unreadable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_name_by_name() {
        let mut query =
            Query::parse("state=queued&state=running&limit=5&run_after_gte=2026-11-20T00%3A00%3A00%2B01:00");
        assert_eq!(query.all("state").collect::<Vec<_>>(), ["queued", "running"]);
        assert_eq!((query.count("limit", 50), query.count("offset", 0)), (5, 0));
        assert_eq!(query.moment("run_after_gte").map(|at| at.to_string()), Some("2026-11-19 23:00:00 UTC".into()));
        assert!(query.finish().is_ok());
    }

    #[test]
    fn dates_of_filters_may_lack_time_and_zone() {
        for (text, expected) in [
            ("2026-11-27", "2026-11-27T00:00:00+00:00"),
            ("2026-11-27T06:30", "2026-11-27T06:30:00+00:00"),
            ("2026-11-27T06:30:00%2B01:00", "2026-11-27T05:30:00+00:00"),
        ] {
            let mut query = Query::parse(&format!("run_after_gte={text}"));
            assert_eq!(query.moment("run_after_gte").map(|at| at.to_rfc3339()).as_deref(), Some(expected));
            assert!(query.finish().is_ok(), "{text}");
        }
    }

    #[test]
    fn a_form_is_sent_again_without_what_it_left_empty() {
        let mut query = Query::parse("who=a%26b&what=&dag=+&page=2");
        query.leave_out_empty();
        assert_eq!(query.rest(&["page"]), "&who=a%26b");
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let mut query =
            Query::parse("limit=-1&offset=x&run_after_gte=tomorrow&paused=maybe&dag_version=1&dag_version=b&a=%00");
        query.count("limit", 50);
        query.count("offset", 0);
        query.moment("run_after_gte");
        query.flag("paused");
        query.whole_numbers("dag_version");
        let Err(Refusal::Invalid(problems)) = query.finish() else { panic!("it is wrong") };
        let kinds: Vec<_> = problems.iter().map(|p| p.kind).collect();
        let expected = [
            "value_error",
            "greater_than_equal",
            "int_parsing",
            "datetime_from_date_parsing",
            "bool_parsing",
            "int_parsing",
        ];
        assert_eq!(kinds, expected);
        assert_eq!(problems[1].loc.to_vec(), [json!("query"), json!("limit")]);
        assert_eq!(problems[1].input, json!("-1"));
    }
}
