//! Query parameters of lists, generated from their columns. Undeclared parameters are rejected, and Schemathesis tests
//! the declared ones against the handlers.

use super::kinds::QueryParamType::{Flag, Index, Moment, Number, Orders, Text, Texts, Wholes, Word, Words};
use super::kinds::{Param, QueryParamType, both_ways, param};
use crate::api::list::{CursorParams, PageParams};
use crate::extract::QueryParams;
use orch_store::list::{Column, Compare, Filter, ListColumnType};
use std::borrow::Cow;

/// Returns the values of `order_by` for a list with these columns.
pub(crate) fn orders(columns: &'static [Column]) -> Vec<String> {
    both_ways(&sorted(columns))
}

fn sorted(columns: &'static [Column]) -> Vec<&'static str> {
    columns.iter().filter(|column| column.is_sorted).map(|column| column.name).collect()
}

/// Returns the query parameters of a list with these columns.
pub(crate) fn listed(columns: &'static [Column]) -> Vec<Param> {
    [PageParams::params(), narrowed(columns, &[])].concat()
}

/// Returns the query parameters without those of the page and of the columns in `without`.
pub(crate) fn narrowed(columns: &'static [Column], without: &[&str]) -> Vec<Param> {
    let mut all = Vec::new();
    let orders = sorted(columns);
    if !orders.is_empty() {
        all.push(param("order_by", Orders(orders.into()), "Field to sort by; `-` before it sorts in descending order"));
    }
    for column in columns.iter().filter(|column| !without.contains(&column.name)) {
        column.filters.iter().for_each(|filter| filtered(&mut all, column, *filter));
    }
    all
}

fn filtered(all: &mut Vec<Param>, column: &Column, filter: Filter) {
    let Column { name, about, .. } = *column;
    let bounds = |kind: &QueryParamType, words: [&'static str; 4]| {
        let named = Compare::ALL.iter().map(|(end, _)| format!("{name}_{end}"));
        named.zip(words).map(|(name, about)| param(name, kind.clone(), about)).collect::<Vec<_>>()
    };
    match (filter, column.kind) {
        (Filter::Is, ListColumnType::Text) => all.push(param(name, Text, about)),
        (Filter::Must, _) => all.push(Param { required: true, ..param(name, Text, about) }),
        (Filter::Is, ListColumnType::Words(words)) => all.push(param(name, Word(words.words), about)),
        (Filter::Is, ListColumnType::Flag) | (Filter::Switch(_), _) => all.push(param(name, Flag, about)),
        (Filter::Is, _) | (Filter::Absent, ListColumnType::Whole) => all.push(param(name, Index, about)),
        (Filter::AnyOf, ListColumnType::Words(words)) => {
            all.push(param(name, Words(with_no_status(words.words)), about));
        }
        (Filter::AnyOf, ListColumnType::Whole) => all.push(param(name, Wholes, about)),
        (Filter::AnyOf | Filter::NoneOf, _) => all.push(param(name, Texts, about)),
        (Filter::Pattern, _) => {
            let about = if about.is_empty() || column.filters.len() > 1 { PATTERN } else { about };
            all.push(param(format!("{name}_pattern"), Text, about));
        }
        (Filter::Prefix, _) => all.push(param(format!("{name}_prefix_pattern"), Text, PREFIX)),
        (Filter::Search | Filter::Absent, _) => all.push(param(name, Text, about)),
        (Filter::Range, ListColumnType::Number) => {
            all.extend(bounds(&Number, ["So long or longer", "Longer", "So long or shorter", "Shorter"]));
        }
        (Filter::Range, _) => all.extend(bounds(&Moment, ["Then or later", "Later", "Then or earlier", "Earlier"])),
        (Filter::Bound(_), _) => all.push(param(name, Moment, about)),
    }
}

const PATTERN: &str = "That is in it, in any case; `|` between alternatives";
const PREFIX: &str = "It begins so; `|` between alternatives";

/// Adds `no_status` as another name of the state `none`.
fn with_no_status(words: &'static [&'static str]) -> Cow<'static, [&'static str]> {
    if words.contains(&"none") { [words, &["no_status"]].concat().into() } else { words.into() }
}

/// Returns the query parameters of a list that supports cursors.
pub(crate) fn with_cursor(columns: &'static [Column]) -> Vec<Param> {
    [listed(columns), CursorParams::params()].concat()
}
