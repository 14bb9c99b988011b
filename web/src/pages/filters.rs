//! Filters of a list page: one field per filter parameter of the API, generated from the same columns, and a sort
//! order. Other controls of a page, such as a search by name, are next to them.

use crate::api::list::asked_beside;
use crate::extract::Query;
use crate::openapi::kinds::{Param, QueryParamType};
use crate::openapi::queries::narrowed;
use crate::parts::ZonedNow;
use crate::refusal::Refusal;
use askama::Template;
use askama::filters::HtmlSafe;
use chrono::{DateTime, SecondsFormat, Utc};
use orch_store::list::{Column, Filter, Search};
use std::collections::BTreeSet;

/// Rendered without escaping.
#[derive(Template)]
#[template(path = "parts/filters.html")]
pub(crate) struct Filters {
    /// Label of the button.
    title: &'static str,
    inputs: Vec<FilterInput>,
    /// Number of filters that narrow the list; a sort order does not count.
    used: usize,
    /// All query parameters except the page number.
    query: Query,
}

impl HtmlSafe for Filters {}

struct FilterInput {
    name: String,
    label: String,
    placeholder: String,
    value: String,
    /// Earlier values of the same parameter.
    more: Vec<String>,
    /// Possible values with their labels; empty if any text is allowed.
    choices: Vec<(String, String)>,
}

impl Filters {
    /// Parses the query of a list with these columns. `own` names parameters that the page reads itself.
    pub(crate) fn read(
        mut query: Query,
        columns: &'static [Column],
        own: &[&str],
        now: ZonedNow,
    ) -> Result<(Search, Filters), Refusal> {
        query.leave_out_empty();
        let params = narrowed(columns, own);
        let mut in_utc = query.clone();
        for param in params.iter().filter(|param| matches!(param.kind, QueryParamType::Moment)) {
            in_utc.rewrite(&param.name, |typed| in_full(&param.name, typed, now));
        }
        let search = asked_beside(&mut in_utc, columns, own)?;
        let hidden =
            |param: &Param| RARE.iter().any(|end| param.name.ends_with(end)) || is_absent(columns, &param.name);
        let shown = params.iter().filter(|param| query.text(&param.name).is_some() || !hidden(param));
        let inputs: Vec<_> = shown.map(|param| input(param, columns, &query, now)).collect();
        let used = inputs.iter().filter(|input| input.name != ORDER && !input.value.is_empty()).count();
        Ok((search, Filters { title: "More filters", inputs, used, query }))
    }

    /// Changes the label for a page that has no other filters.
    #[must_use]
    pub(crate) fn alone(self) -> Filters {
        Filters { title: "Filters", ..self }
    }

    /// Removes a sort order that sorts the list in the same way as another one.
    #[must_use]
    pub(crate) fn without_order(mut self, name: &str) -> Filters {
        for input in self.inputs.iter_mut().filter(|input| input.name == ORDER) {
            input.choices.retain(|(word, _)| word.trim_start_matches('-') != name || *word == input.value);
        }
        self
    }

    /// Returns the query without the page number and the parameters `without`, to append to an address.
    pub(crate) fn rest(&self, without: &[&str]) -> String {
        self.query.rest(&[without, &["page"]].concat())
    }

    /// Returns true if filters narrow the list, so that they may be the reason why it is empty.
    pub(crate) fn are_used(&self) -> bool {
        self.used > 0
    }

    /// Returns true if the list is filtered or sorted.
    pub(crate) fn are_asked(&self) -> bool {
        self.are_used() || self.are_sorted()
    }

    /// Returns true if the query contains a sort order.
    pub(crate) fn are_sorted(&self) -> bool {
        self.query.text(ORDER).is_some()
    }
}

const ORDER: &str = "order_by";

/// Suffixes of rarely used bounds and patterns. Their fields are shown only if the query contains them.
const RARE: [&str; 3] = ["_prefix_pattern", "_gt", "_lt"];

/// Returns true if orch never has a value for this column, so a filter on it finds nothing.
fn is_absent(columns: &[Column], name: &str) -> bool {
    columns.iter().any(|column| column.name == name && column.filters.contains(&Filter::Absent))
}

fn input(param: &Param, columns: &[Column], query: &Query, now: ZonedNow) -> FilterInput {
    let mut more: Vec<String> = query.all(&param.name).map(String::from).collect();
    let mut value = more.pop().unwrap_or_default();
    if matches!(param.kind, QueryParamType::Moment)
        && let Ok(at) = DateTime::parse_from_rfc3339(&value)
    {
        value = now.field(at.with_timezone(&Utc));
    }
    let named = |word: &str| (word.to_string(), word.replace('_', " "));
    let mut choices: Vec<(String, String)> = match &param.kind {
        QueryParamType::Flag => vec![("true".into(), "yes".into()), ("false".into(), "no".into())],
        QueryParamType::Word(words) => words.iter().copied().map(named).collect(),
        QueryParamType::Words(words) => words.iter().copied().map(named).collect(),
        QueryParamType::Orders(_) => orders(columns).flat_map(both_ways).collect(),
        _ => Vec::new(),
    };
    if !choices.is_empty() && !value.is_empty() && choices.iter().all(|(word, _)| *word != value) {
        choices.push(named(&value));
    }
    let placeholder = match param.kind {
        QueryParamType::Moment => format!("2026-11-20T08:30, {}", now.zone.name()),
        QueryParamType::Number => "seconds".into(),
        QueryParamType::Index | QueryParamType::Wholes => "a whole number".into(),
        _ => String::new(),
    };
    FilterInput { label: label(&param.name), name: param.name.clone().into_owned(), placeholder, value, more, choices }
}

/// Returns the names to sort by, without duplicates of the same SQL. Rows in memory have no SQL.
fn orders(columns: &[Column]) -> impl Iterator<Item = &'static str> {
    let mut seen = BTreeSet::new();
    let sorted = columns.iter().filter(|column| column.is_sorted && !column.filters.contains(&Filter::Absent));
    sorted.filter(move |column| column.sql.is_empty() || seen.insert(column.sql)).map(|column| column.name)
}

fn both_ways(name: &str) -> [(String, String); 2] {
    let words = name.replace('_', " ");
    [(name.to_string(), format!("{words}, ascending")), (format!("-{name}"), format!("{words}, descending"))]
}

/// Returns the label of a parameter: `Start date, from` for `start_date_gte`.
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
    let words = if stem == ORDER {
        "Sort by".into()
    } else {
        stem.replace('_', " ").replace("dag ", "DAG ").replace("uri", "URI")
    };
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect::<String>() + end)
}

/// Converts the time in a field to the format of the API. A time without an offset is in the reader's zone. A date
/// stands for its end in `to` and `after`, so that both include or exclude the whole day.
fn in_full(name: &str, typed: &str, now: ZonedNow) -> Option<String> {
    let typed = now.typed(typed)?;
    let at = if name.ends_with("_lte") || name.ends_with("_gt") { typed.last } else { typed.first };
    Some(at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_store::list::ListColumnType;

    #[test]
    fn an_order_is_offered_once() {
        let in_memory = [Column::whole("lag", "").sorted(), Column::text("name", "").sorted()];
        let columns = [
            Column::whole("id", "r.id").sorted(),
            Column::whole("number", "r.id").sorted(),
            Column::text("note", "r.note"),
            Column::absent("bundle_version", ListColumnType::Text).sorted(),
        ];
        assert_eq!(orders(&in_memory).collect::<Vec<_>>(), ["lag", "name"]);
        assert_eq!(orders(&columns).collect::<Vec<_>>(), ["id"]);
    }

    #[test]
    fn a_parameter_is_a_label_in_words() {
        let labels = ["dag_id_pattern", "start_date_gte", "run_type", "order_by"].map(label);
        assert_eq!(labels, ["DAG id contains", "Start date, from", "Run type", "Sort by"]);
    }

    #[test]
    fn a_day_is_whole_and_in_the_zone_of_the_page() {
        let zoned =
            |zone: &str| ZonedNow { zone: zone.parse().expect("a zone"), ..ZonedNow::utc(DateTime::UNIX_EPOCH) };
        for (zone, name, typed, asked) in [
            ("UTC", "run_after_gte", "2026-11-20", Some("2026-11-20T00:00:00Z")),
            ("UTC", "run_after_lte", "2026-11-20", Some("2026-11-20T23:59:59.999999Z")),
            ("UTC", "run_after_lte", "2026-11-20T08:30", Some("2026-11-20T08:30:00Z")),
            ("Europe/Berlin", "run_after_gte", "2026-11-20", Some("2026-11-19T23:00:00Z")),
            ("Europe/Berlin", "run_after_lte", "2026-11-20", Some("2026-11-20T22:59:59.999999Z")),
            ("Europe/Berlin", "run_after_gt", "2026-11-20", Some("2026-11-20T22:59:59.999999Z")),
            ("Europe/Berlin", "run_after_lt", "2026-11-20", Some("2026-11-19T23:00:00Z")),
            ("Europe/Berlin", "run_after_lte", "2026-11-20T08:30:00+01:00", Some("2026-11-20T07:30:00Z")),
            ("Europe/Berlin", "run_after_lte", "soon", None),
        ] {
            assert_eq!(in_full(name, typed, zoned(zone)).as_deref(), asked, "{zone} {name}={typed}");
        }
    }
}
