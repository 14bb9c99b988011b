//! The filters of a list page: a field for each parameter by which the API lists the same, made of the same columns, and an order.
//! What a page offers by itself, such as a search by name, stands beside them.

use crate::api::list::asked_beside;
use crate::extract::Query;
use crate::openapi::kinds::{Param, QueryParamType};
use crate::openapi::queries::narrowed;
use crate::refusal::Refusal;
use askama::Template;
use askama::filters::HtmlSafe;
use chrono::{NaiveDate, NaiveDateTime};
use orch_store::list::{Column, Search};

/// Written in a page as it is.
#[derive(Template)]
#[template(path = "parts/filters.html")]
pub(crate) struct Filters {
    inputs: Vec<FilterInput>,
    /// How many of them are used.
    used: usize,
    /// All that was asked but the page.
    query: Query,
}

impl HtmlSafe for Filters {}

struct FilterInput {
    name: String,
    label: String,
    placeholder: &'static str,
    value: String,
    /// The words to choose from, with their labels; empty: any text.
    choices: Vec<(String, String)>,
}

impl Filters {
    /// What the query asks of a list with these columns. `own`: parameters that the page reads by itself.
    pub(crate) fn read(
        mut query: Query,
        columns: &'static [Column],
        own: &[&str],
    ) -> Result<(Search, Filters), Refusal> {
        query.leave_out_empty();
        let params = narrowed(columns, own);
        for param in params.iter().filter(|param| matches!(param.kind, QueryParamType::Moment)) {
            query.rewrite(&param.name, in_full);
        }
        let search = asked_beside(&mut query, columns, own)?;
        let inputs: Vec<_> = params.iter().filter_map(|param| input(param, &query)).collect();
        let used = inputs.iter().filter(|input| !input.value.is_empty()).count();
        Ok((search, Filters { inputs, used, query }))
    }

    /// What is asked beside these and the page, to follow another pair of a query.
    pub(crate) fn rest(&self, without: &[&str]) -> String {
        self.query.rest(&[without, &["page"]].concat())
    }

    pub(crate) fn are_used(&self) -> bool {
        self.used > 0
    }
}

/// Of bounds and patterns the one that people ask for; the others are taken from an address, and shown then.
const RARE: [&str; 3] = ["_prefix_pattern", "_gt", "_lt"];

fn input(param: &Param, query: &Query) -> Option<FilterInput> {
    let value = query.text(&param.name).unwrap_or_default().to_string();
    let is_rare = RARE.iter().any(|end| param.name.ends_with(end));
    if is_rare && value.is_empty() {
        return None;
    }
    let named = |word: &str| (word.to_string(), word.replace('_', " "));
    let choices = match &param.kind {
        QueryParamType::Flag => vec![("true".into(), "yes".into()), ("false".into(), "no".into())],
        QueryParamType::Word(words) => words.iter().copied().map(named).collect(),
        QueryParamType::Words(words) => words.iter().copied().map(named).collect(),
        QueryParamType::Orders(names) => names.iter().copied().flat_map(both_ways).collect(),
        _ => Vec::new(),
    };
    let placeholder = match param.kind {
        QueryParamType::Moment => "2026-11-20 or 2026-11-20T08:30",
        QueryParamType::Number => "seconds",
        QueryParamType::Index | QueryParamType::Wholes => "a whole number",
        _ => "",
    };
    Some(FilterInput { label: label(&param.name), name: param.name.clone().into_owned(), placeholder, value, choices })
}

fn both_ways(name: &str) -> [(String, String); 2] {
    let words = name.replace('_', " ");
    [(name.to_string(), format!("{words}, upwards")), (format!("-{name}"), format!("{words}, downwards"))]
}

/// `Start date, from` for `start_date_gte`
fn label(name: &str) -> String {
    const ENDS: [(&str, &str); 6] = [
        ("_prefix_pattern", " begins with"),
        ("_pattern", " contains"),
        ("_gte", ", from"),
        ("_lte", ", to"),
        ("_gt", ", after"),
        ("_lt", ", before"),
    ];
    let ended = ENDS.into_iter().find_map(|(end, words)| Some((name.strip_suffix(end)?, words)));
    let (stem, end) = ended.unwrap_or((name, ""));
    let words = if stem == "order_by" { "Sort by".into() } else { stem.replace('_', " ").replace("dag ", "DAG ") };
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect::<String>() + end)
}

/// A day or a time without a zone is one in UTC, as dates of schedules are.
fn in_full(typed: &str) -> Option<String> {
    let typed = typed.trim();
    let at = NaiveDateTime::parse_from_str(typed, "%Y-%m-%dT%H:%M")
        .or_else(|_| NaiveDateTime::parse_from_str(typed, "%Y-%m-%dT%H:%M:%S"))
        .ok()
        .or_else(|| NaiveDate::parse_from_str(typed, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))?;
    Some(at.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_a_label_in_words() {
        let labels = ["dag_id_pattern", "start_date_gte", "run_type", "order_by"].map(label);
        assert_eq!(labels, ["DAG id contains", "Start date, from", "Run type", "Sort by"]);
    }

    #[test]
    fn a_day_is_its_midnight_in_utc() {
        assert_eq!(in_full("2026-11-20").as_deref(), Some("2026-11-20T00:00:00Z"));
        assert_eq!(in_full("2026-11-20T08:30").as_deref(), Some("2026-11-20T08:30:00Z"));
        assert_eq!(in_full("2026-11-20T08:30:00+01:00"), None);
    }
}
