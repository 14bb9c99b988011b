//! A search in a list: filter conditions, sort orders, and the range of rows on the page.

use super::MOST_LISTED;
use super::column::{Column, Compare, Filter};
use chrono::{DateTime, Utc};
use sqlx::QueryBuilder;
use sqlx::postgres::Postgres;
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct Search {
    /// Conditions on the rows. A row matches if all of them hold.
    pub conditions: Vec<Condition>,
    pub order: Vec<Order>,
    pub skip: i64,
    pub most: i64,
}

#[derive(Debug, Clone)]
pub struct Condition {
    pub column: Column,
    pub test: Test,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    AnyOf(Values),
    NoneOf(Vec<String>),
    Flag(bool),
    Holds,
    Never,
    Moment(Compare, DateTime<Utc>),
    Number(Compare, f64),
    Contains(Vec<String>),
    Has(String),
    Begins(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    Texts(Vec<String>),
    Wholes(Vec<i64>),
    Ids(Vec<Uuid>),
}

#[derive(Debug, Clone, Copy)]
pub struct Order {
    pub column: Column,
    pub direction: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

type Query = QueryBuilder<Postgres>;

impl Default for Search {
    fn default() -> Search {
        Search { conditions: Vec::new(), order: Vec::new(), skip: 0, most: MOST_LISTED }
    }
}

impl Search {
    #[must_use]
    pub fn and(mut self, condition: impl Into<Option<Condition>>) -> Search {
        self.conditions.extend(condition.into());
        self
    }

    #[must_use]
    pub fn by(mut self, order: Order) -> Search {
        self.order.push(order);
        self
    }

    #[must_use]
    pub fn page(self, skip: i64, most: i64) -> Search {
        Search { skip, most, ..self }
    }

    /// Returns the query parameters of an API request that runs the same search.
    pub fn parameters(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for Condition { column, test } in &self.conditions {
            let mut add = |end: &str, value: String| pairs.push((format!("{}{end}", column.name), value));
            match test {
                Test::AnyOf(Values::Texts(texts)) => texts.iter().for_each(|text| add("", text.clone())),
                Test::AnyOf(Values::Wholes(numbers)) => numbers.iter().for_each(|number| add("", number.to_string())),
                Test::AnyOf(Values::Ids(ids)) => ids.iter().for_each(|id| add("", id.to_string())),
                Test::NoneOf(texts) => texts.iter().for_each(|text| add("", text.clone())),
                Test::Flag(is) => add("", is.to_string()),
                Test::Holds | Test::Never => add("", true.to_string()),
                Test::Moment(compare, at) if column.filters.contains(&Filter::Bound(*compare)) => {
                    add("", at.to_rfc3339());
                }
                Test::Moment(compare, at) => add(compare.end(), at.to_rfc3339()),
                Test::Number(compare, number) => add(compare.end(), number.to_string()),
                Test::Contains(parts) if column.filters.contains(&Filter::Search) => add("", parts.join("|")),
                Test::Contains(parts) => add("_pattern", parts.join("|")),
                Test::Has(text) => add("_pattern", text.clone()),
                Test::Begins(starts) => add("_prefix_pattern", starts.join("|")),
            }
        }
        let order = |order: &Order| match order.direction {
            Direction::Ascending => order.column.name.to_string(),
            Direction::Descending => format!("-{}", order.column.name),
        };
        pairs.extend(self.order.iter().map(|sorted| ("order_by".to_string(), order(sorted))));
        pairs
    }

    pub(super) fn push_conditions(&self, query: &mut Query) {
        let (plain, grouped): (Vec<_>, Vec<_>) = self.conditions.iter().partition(|one| one.column.within.is_empty());
        for condition in plain {
            query.push(" and ");
            condition.push(query);
        }
        let mut groups: Vec<(&str, Vec<&Condition>)> = Vec::new();
        for condition in grouped {
            let within = condition.column.within;
            match groups.iter_mut().find(|(words, _)| *words == within) {
                Some((_, group)) => group.push(condition),
                None => groups.push((within, vec![condition])),
            }
        }
        for (within, group) in groups {
            let (before, after) = within.split_once('$').unwrap_or((within, ""));
            query.push(" and ").push(before);
            for (place, condition) in group.into_iter().enumerate() {
                query.push(if place == 0 { "" } else { " and " });
                condition.push(query);
            }
            query.push(after);
        }
    }
}

impl Condition {
    fn push(&self, query: &mut Query) {
        let Column { sql, cast, .. } = self.column;
        match &self.test {
            Test::AnyOf(values) if sql.contains('$') => self.push_template(query, |query| values.push_all(query)),
            Test::AnyOf(values) => {
                query.push(sql);
                values.push(query, cast);
                if let Values::Texts(texts) = values {
                    query.push((self.column.also)(texts));
                }
            }
            Test::NoneOf(texts) => {
                query.push(sql).push(" <> all(").push_bind(texts.clone()).push(")");
            }
            Test::Flag(is) => {
                query.push("(").push(sql).push(") = ").push_bind(*is);
            }
            Test::Holds => {
                query.push(sql);
            }
            Test::Never => {
                query.push("false");
            }
            Test::Moment(compare, at) => {
                query.push(sql).push(compare.sign()).push_bind(*at);
            }
            Test::Number(compare, number) => {
                query.push(sql).push(compare.sign()).push_bind(*number);
            }
            Test::Contains(parts) => self.push_patterns(query, " ilike any(", &anywhere(parts)),
            Test::Has(text) => self.push_patterns(query, " ilike any(", &[format!("%{}%", literal(text))]),
            Test::Begins(starts) => self.push_patterns(query, " like any(", &at_the_beginning(starts)),
        }
    }

    fn push_patterns(&self, query: &mut Query, compare: &str, patterns: &[String]) {
        if self.column.sql.contains('$') {
            self.push_template(query, |query| {
                query.push_bind(patterns.to_vec());
            });
        } else {
            query.push(self.column.sql).push(compare).push_bind(patterns.to_vec()).push(")");
        }
    }

    /// Appends the SQL template of the column. Each `$` is replaced by a bind of `values`.
    fn push_template(&self, query: &mut Query, values: impl Fn(&mut Query)) {
        for (place, words) in self.column.sql.split('$').enumerate() {
            if place > 0 {
                values(query);
            }
            query.push(words);
        }
    }
}

impl Values {
    /// Appends a comparison with a single value as `=`. With `= any(…)`, Postgres would not recognize that an index
    /// returns the rows in the requested order, even for an array with one element.
    fn push(&self, query: &mut Query, cast: &str) {
        let one = |query: &mut Query| {
            if !cast.is_empty() {
                query.push("::text::").push(cast);
            }
        };
        match self {
            Values::Texts(texts) if texts.len() == 1 => one(query.push(" = ").push_bind(texts[0].clone())),
            Values::Wholes(numbers) if numbers.len() == 1 => one(query.push(" = ").push_bind(numbers[0])),
            Values::Ids(ids) if ids.len() == 1 => one(query.push(" = ").push_bind(ids[0])),
            many => {
                query.push(" = any(");
                many.push_all(query);
                if !cast.is_empty() {
                    query.push("::text[]::").push(cast).push("[]");
                }
                query.push(")");
            }
        }
    }

    fn push_all(&self, query: &mut Query) {
        match self {
            Values::Texts(texts) => query.push_bind(texts.clone()),
            Values::Wholes(numbers) => query.push_bind(numbers.clone()),
            Values::Ids(ids) => query.push_bind(ids.clone()),
        };
    }
}

impl Order {
    pub(super) fn push(&self, query: &mut Query) {
        query.push(self.column.sort).push(self.direction.words(self.column.is_nullable));
    }
}

impl Direction {
    pub(super) const fn words(self, is_nullable: bool) -> &'static str {
        match (self, is_nullable) {
            (Direction::Ascending, _) => " asc",
            (Direction::Descending, false) => " desc",
            (Direction::Descending, true) => " desc nulls last",
        }
    }
}

impl Compare {
    const fn end(self) -> &'static str {
        match self {
            Compare::AtLeast => "_gte",
            Compare::Above => "_gt",
            Compare::AtMost => "_lte",
            Compare::Below => "_lt",
        }
    }
}

/// Returns patterns for `ilike` that match texts containing one of `parts`. In `parts`, `%` and `_` are wildcards.
fn anywhere(parts: &[String]) -> Vec<String> {
    parts.iter().map(|part| format!("%{}%", part.replace('\\', "\\\\"))).collect()
}

/// Returns patterns for `like` that match texts starting with one of `starts`. Wildcards in `starts` are escaped.
fn at_the_beginning(starts: &[String]) -> Vec<String> {
    starts.iter().map(|start| literal(start) + "%").collect()
}

/// Escapes the wildcards `%` and `_` in a text, so that a pattern matches them literally.
fn literal(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}
