//! Query parameters of lists: page, sort order, and conditions on the columns of the list (`orch_store::list`).
//! `openapi/queries.rs` generates the description of these parameters from the same columns.

use crate::extract::{Count, Fields, Query, query_params};
use crate::openapi::kinds::QueryParamType;
use crate::refusal::Refusal;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, Utc};
use orch_store::list::{Column, Compare, Condition, Filter, ListColumnType, Order, Search, Words};
use orch_wire::timestamp::Timestamp;
use orch_wire::{Body, Problem, body};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Map;
use std::borrow::Cow;
use std::marker::PhantomData;

/// Default page size, as in Airflow.
const USUAL: i64 = 50;
/// Prefix of a decoded page cursor. The offset follows it, as in `place:150`.
const CURSOR: &str = "place:";
/// Default page size of list requests with a body, as in Airflow.
const USUAL_IN_BODY: i64 = 100;
/// Maximum page size, the default of Airflow's `maximum_page_limit`.
const MOST: i64 = 100;
/// Maximum number of sort columns, as in Airflow.
const MOST_ORDERS: usize = 10;

query_params! {
    pub(crate) struct PageParams {
        /// Maximum number of items
        limit: Count<USUAL, MOST>,
        /// Number of items to skip
        offset: Count<0>,
    }
}

query_params! {
    pub(crate) struct CursorParams {
        /// Page by page: empty, then what the answer says; `offset` does not count
        cursor: Option<String> as QueryParamType::Cursor,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) limit: i64,
    pub(super) offset: i64,
    /// True if the request had a cursor. The response then contains the cursors of the adjacent pages.
    by_cursor: bool,
}

impl Page {
    fn new(limit: i64, offset: i64) -> Page {
        Page { limit: limit.min(MOST), offset, by_cursor: false }
    }

    pub(super) fn of(query: &mut Query) -> Page {
        let PageParams { limit, offset } = query.take();
        Page::new(limit, offset)
    }

    pub(super) fn of_body(limit: Option<body::Count>, offset: Option<body::Count>) -> Page {
        Page::new(limit.map_or(USUAL_IN_BODY, |limit| limit.0), offset.map_or(0, |offset| offset.0))
    }

    /// Returns the page of a list that also supports `cursor`, which is empty for the first page and otherwise a cursor
    /// from a response.
    pub(super) fn with_cursor(query: &mut Query) -> Result<Page, Refusal> {
        let page = Page::of(query);
        let CursorParams { cursor: Some(cursor) } = query.take() else { return Ok(page) };
        let wrong = || Refusal::bad_request("Invalid cursor token: send `next_cursor` of an answer as it is");
        let offset = match cursor.as_str() {
            "" => 0,
            token => {
                let bytes = BASE64.decode(token).map_err(|_| wrong())?;
                let text = String::from_utf8(bytes).map_err(|_| wrong())?;
                let place = text.strip_prefix(CURSOR).and_then(|place| place.parse::<u32>().ok());
                place.map(i64::from).ok_or_else(wrong)?
            }
        };
        Ok(Page { offset, by_cursor: true, ..page })
    }

    /// Returns the cursors of the next and the previous page, if those pages exist.
    pub(super) fn cursors(self, total: i64) -> (Option<String>, Option<String>) {
        let token = |offset: i64| BASE64.encode(format!("{CURSOR}{offset}"));
        let next = self.offset.saturating_add(self.limit);
        let moves = self.by_cursor && self.limit > 0;
        let before = (self.offset - self.limit).max(0);
        ((moves && next < total).then(|| token(next)), (moves && self.offset > 0).then(|| token(before)))
    }
}

/// Reads the page, the sort order and the conditions of a list with these columns.
pub(super) fn asked(query: &mut Query, columns: &'static [Column]) -> Result<Search, Refusal> {
    let page = Page::of(query);
    asked_of_page(query, columns, page)
}

/// Like [`asked`], for a page that was already read.
pub(super) fn asked_of_page(query: &mut Query, columns: &'static [Column], page: Page) -> Result<Search, Refusal> {
    Ok(asked_beside(query, columns, &[])?.page(page.offset, page.limit))
}

/// Reads the sort order and the conditions, except for the columns in `own`, which a page reads itself.
pub(crate) fn asked_beside(query: &mut Query, columns: &'static [Column], own: &[&str]) -> Result<Search, Refusal> {
    let mut conditions = Vec::new();
    let read_here = || columns.iter().filter(|column| !own.contains(&column.name));
    for column in read_here() {
        for filter in column.filters {
            read(query, *column, *filter, &mut conditions);
        }
    }
    query.finish()?;
    for column in read_here() {
        if let ListColumnType::Words(words) = column.kind {
            conditions.extend(words_of(query, *column, words)?);
        }
    }
    let order = orders(query.all("order_by"), columns)?;
    Ok(Search { conditions, order, ..Search::default() })
}

fn read(query: &mut Query, column: Column, filter: Filter, found: &mut Vec<Condition>) {
    let name = column.name;
    match (filter, column.kind) {
        (Filter::Is | Filter::Must, ListColumnType::Text) => {
            if filter == Filter::Must && query.text(name).is_none() {
                query.refuse(Problem::new("missing", "Field required").at(["query", name]));
            }
            found.extend(filter_text(query, name).map(|text| column.is(text)));
        }
        (Filter::AnyOf, ListColumnType::Text) => {
            let texts: Vec<String> = query.all(name).map(String::from).collect();
            found.extend((!texts.is_empty()).then(|| column.any_of(texts)));
        }
        (Filter::NoneOf, _) => {
            let texts: Vec<String> = query.all(name).map(String::from).collect();
            found.extend((!texts.is_empty()).then(|| column.none_of(texts)));
        }
        (Filter::Is, ListColumnType::Whole) => {
            found.extend(query.whole_numbers(name).last().map(|number| column.is(*number)));
        }
        (Filter::AnyOf, ListColumnType::Whole) => {
            let numbers = query.whole_numbers(name);
            found.extend((!numbers.is_empty()).then(|| column.any_of(numbers)));
        }
        (Filter::Is, ListColumnType::Flag) => found.extend(query.flag(name).map(|is| column.is_so(is))),
        (Filter::Switch(usual), _) => {
            found.extend(query.flag(name).unwrap_or(usual).then(|| column.holds()));
        }
        (Filter::Pattern, _) => {
            found.extend(pattern(query, &format!("{name}_pattern")).map(|parts| column.contains(parts)));
        }
        (Filter::Prefix, _) => {
            found.extend(prefix_pattern(query, &format!("{name}_prefix_pattern")).map(|starts| column.begins(starts)));
        }
        (Filter::Search, _) => found.extend(pattern(query, name).map(|parts| column.contains(parts))),
        (Filter::Range, _) => found.extend(ranges(query, column)),
        (Filter::Bound(compare), _) => found.extend(query.moment(name).map(|at| column.compare(compare, at))),
        (Filter::Absent, ListColumnType::Whole) => {
            found.extend((!query.whole_numbers(name).is_empty()).then(|| column.never()));
        }
        (Filter::Absent, _) => found.extend(filter_text(query, name).map(|_| column.never())),
        // Enumerated values are read after all other parameters are valid.
        (Filter::Is | Filter::AnyOf | Filter::Must, _) => {}
    }
}

/// A source of range bounds: a query or the fields of a body.
pub(super) trait Bounds {
    fn moment_bound(&mut self, name: &str) -> Option<DateTime<Utc>>;
    fn number_bound(&mut self, name: &str) -> Option<f64>;
}

impl Bounds for Query {
    fn moment_bound(&mut self, name: &str) -> Option<DateTime<Utc>> {
        self.moment(name)
    }

    fn number_bound(&mut self, name: &str) -> Option<f64> {
        self.number(name)
    }
}

impl Bounds for Fields {
    fn moment_bound(&mut self, name: &str) -> Option<DateTime<Utc>> {
        self.take::<Option<Timestamp>>(name).flatten().map(|at| at.0)
    }

    fn number_bound(&mut self, name: &str) -> Option<f64> {
        self.take::<Option<f64>>(name).flatten()
    }
}

/// The columns for which a body may contain range bounds.
pub(super) trait Columns {
    const COLUMNS: &[Column];
}

/// Range bounds in a body, as conditions on the columns `C`.
pub(super) struct Ranges<C> {
    pub(super) conditions: Vec<Condition>,
    of: PhantomData<C>,
}

impl<C: Columns> Body for Ranges<C> {
    fn take(fields: &mut Fields) -> Option<Self> {
        let conditions = C::COLUMNS.iter().flat_map(|column| ranges(fields, *column)).collect();
        Some(Ranges { conditions, of: PhantomData })
    }
}

impl<C: Columns> JsonSchema for Ranges<C> {
    fn schema_name() -> Cow<'static, str> {
        "Ranges".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut properties = Map::new();
        for column in C::COLUMNS {
            let schema = match column.kind {
                ListColumnType::Number => Option::<f64>::json_schema(generator),
                _ => Option::<Timestamp>::json_schema(generator),
            };
            properties
                .extend(Compare::ALL.map(|(end, _)| (format!("{}_{end}", column.name), schema.clone().to_value())));
        }
        json_schema!({ "type": "object", "properties": properties })
    }
}

/// Reads the bounds `…_gte`, `…_gt`, `…_lte` and `…_lt` of a column.
pub(super) fn ranges(bounds: &mut impl Bounds, column: Column) -> Vec<Condition> {
    let mut bound = |(end, compare): (&str, Compare)| {
        let name = format!("{}_{end}", column.name);
        if column.kind == ListColumnType::Number {
            bounds.number_bound(&name).map(|number| column.compare_number(compare, number))
        } else {
            bounds.moment_bound(&name).map(|at| column.compare(compare, at))
        }
    };
    Compare::ALL.into_iter().filter_map(&mut bound).collect()
}

fn words_of(query: &Query, column: Column, words: Words) -> Result<Option<Condition>, Refusal> {
    let takes = |filter: &Filter| matches!(filter, Filter::Is | Filter::AnyOf);
    let Some(filter) = column.filters.iter().find(|filter| takes(filter)) else { return Ok(None) };
    let mut found = query.all(column.name).map(|word| known(word, words)).collect::<Result<Vec<_>, _>>()?;
    if *filter == Filter::Is {
        found.drain(..found.len().saturating_sub(1));
    }
    Ok((!found.is_empty()).then(|| column.any_of(found)))
}

/// Returns a known value. The error for an unknown one lists all known values. `no_status` and `null` stand for `none`.
fn known(word: &str, words: Words) -> Result<&'static str, Refusal> {
    let meant = if ["no_status", "null"].contains(&word) { "none" } else { word };
    words.words.iter().find(|known| **known == meant).copied().ok_or_else(|| {
        let text = format!("Invalid value for {}. Valid values are {}", words.noun, words.words.join(", "));
        Refusal::plain(StatusCode::UNPROCESSABLE_ENTITY, text)
    })
}

/// Parses sort orders. Repeated parameters and a comma-separated list are both accepted.
pub(super) fn orders<'a>(
    words: impl Iterator<Item = &'a str>,
    columns: &'static [Column],
) -> Result<Vec<Order>, Refusal> {
    let words: Vec<&str> = words.flat_map(|words| words.split(',')).map(str::trim).collect();
    if words.len() > MOST_ORDERS {
        let text =
            format!("Ordering with more than {MOST_ORDERS} parameters is not allowed. Provided: {}", words.len());
        return Err(Refusal::bad_request(text));
    }
    let read = |word: &str| {
        let (name, descends) = word.strip_prefix('-').map_or((word, false), |name| (name, true));
        let column = columns.iter().find(|column| column.is_sorted && column.name == name);
        let column = column.ok_or_else(|| {
            let name = name.chars().take(100).collect::<String>();
            let known: Vec<&str> = columns.iter().filter(|column| column.is_sorted).map(|column| column.name).collect();
            let text = format!(
                "Ordering with '{name}' is disallowed or the attribute does not exist on the model; available: {}",
                known.join(", ")
            );
            Refusal::bad_request(text)
        })?;
        Ok(if descends { column.descending() } else { column.ascending() })
    };
    words.into_iter().map(read).collect()
}

/// Returns the text of an exact filter. An empty text and `~` mean no filter.
fn filter_text<'a>(query: &'a Query, name: &str) -> Option<&'a str> {
    query.text(name).filter(|text| !text.is_empty() && *text != "~")
}

/// Returns the alternatives of a pattern parameter, or `None` if the pattern matches everything.
fn pattern(query: &Query, name: &str) -> Option<Vec<String>> {
    let text = filter_text(query, name)?;
    let parts: Vec<String> = text.split('|').map(str::trim).filter(|part| !part.is_empty()).map(String::from).collect();
    (!parts.is_empty() && !parts.iter().any(|part| part == "~")).then_some(parts)
}

/// Like `pattern`, for a prefix. As in Airflow, trailing characters other than letters and digits are ignored.
fn prefix_pattern(query: &Query, name: &str) -> Option<Vec<String>> {
    let parts = pattern(query, name)?;
    Some(parts.iter().map(|part| part.trim_end_matches(|c: char| !c.is_alphanumeric()).to_string()).collect())
}
