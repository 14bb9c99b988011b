//! The columns of lists.

use super::search::{Condition, Direction, Order, Test, Values};
use chrono::{DateTime, Utc};
use uuid::Uuid;

#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// As parameters and orders of the API call it.
    pub name: &'static str,
    /// An expression. With `$` it is a condition of its own, and the values stand there as an array.
    pub sql: &'static str,
    pub kind: ListColumnType,
    /// How people may narrow a list by it.
    pub filters: &'static [Filter],
    /// Said of its parameter.
    pub about: &'static str,
    pub is_sorted: bool,
    pub(super) sort: &'static str,
    pub(super) is_nullable: bool,
    /// The join that it needs.
    pub(super) join: &'static str,
    /// The type of the column in Postgres, where a text is not compared with it as it is.
    pub(super) cast: &'static str,
    /// Conditions of columns with the same words hold of one row together; they stand at `$`.
    pub(super) within: &'static str,
    /// Said again in the words of an index that only some rows are in.
    pub(super) also: fn(&[String]) -> &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListColumnType {
    Text,
    Whole,
    Number,
    Moment,
    Flag,
    Words(Words),
}

/// The words that a column may hold, and what it is called when another is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    pub noun: &'static str,
    pub words: &'static [&'static str],
}

/// Which parameters a column has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Its name: exactly that; the last one counts.
    Is,
    /// The same, and a list without it is refused.
    Must,
    /// Its name, again and again: one of these.
    AnyOf,
    NoneOf,
    /// `…_pattern`: one of these is in it, in any case.
    Pattern,
    /// `…_prefix_pattern`
    Prefix,
    /// Its name: the same as `…_pattern`.
    Search,
    /// `…_gte`, `…_gt`, `…_lte`, `…_lt`
    Range,
    /// Its name: a bound.
    Bound(Compare),
    /// Its name: the condition holds if this is true, and is not asked otherwise. What it is without the parameter.
    Switch(bool),
    /// Its name: asking for it finds nothing, since nothing here has it.
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    AtLeast,
    Above,
    AtMost,
    Below,
}

impl Compare {
    /// With the ends of names of parameters.
    pub const ALL: [(&'static str, Compare); 4] =
        [("gte", Compare::AtLeast), ("gt", Compare::Above), ("lte", Compare::AtMost), ("lt", Compare::Below)];

    /// Both together are exactly that moment.
    pub const ON: [Compare; 2] = [Compare::AtLeast, Compare::AtMost];

    pub(super) const fn sign(self) -> &'static str {
        match self {
            Compare::AtLeast => " >= ",
            Compare::Above => " > ",
            Compare::AtMost => " <= ",
            Compare::Below => " < ",
        }
    }
}

impl Column {
    const fn new(name: &'static str, sql: &'static str, kind: ListColumnType) -> Column {
        Column {
            name,
            sql,
            kind,
            filters: &[],
            about: "",
            is_sorted: false,
            sort: sql,
            is_nullable: false,
            join: "",
            cast: "",
            within: "",
            also: |_| "",
        }
    }

    pub const fn text(name: &'static str, sql: &'static str) -> Column {
        Column::new(name, sql, ListColumnType::Text)
    }

    pub const fn whole(name: &'static str, sql: &'static str) -> Column {
        Column::new(name, sql, ListColumnType::Whole)
    }

    pub const fn number(name: &'static str, sql: &'static str) -> Column {
        Column::new(name, sql, ListColumnType::Number)
    }

    pub const fn moment(name: &'static str, sql: &'static str) -> Column {
        Column::new(name, sql, ListColumnType::Moment)
    }

    pub const fn flag(name: &'static str, sql: &'static str) -> Column {
        Column::new(name, sql, ListColumnType::Flag).by(&[Filter::Is])
    }

    pub const fn words(name: &'static str, sql: &'static str, words: Words) -> Column {
        Column::new(name, sql, ListColumnType::Words(words))
    }

    /// What nothing here has.
    pub const fn absent(name: &'static str, kind: ListColumnType) -> Column {
        Column::new(name, "null::text", kind).by(&[Filter::Absent]).about("orch has none: finds nothing")
    }

    #[must_use]
    pub const fn by(self, filters: &'static [Filter]) -> Column {
        Column { filters, ..self }
    }

    #[must_use]
    pub const fn about(self, about: &'static str) -> Column {
        Column { about, ..self }
    }

    /// The same under another name.
    #[must_use]
    pub const fn called(self, name: &'static str) -> Column {
        Column { name, ..self }
    }

    #[must_use]
    pub const fn unsorted(self) -> Column {
        Column { is_sorted: false, ..self }
    }

    #[must_use]
    pub const fn sorted(self) -> Column {
        Column { is_sorted: true, ..self }
    }

    /// Sorted by something else than what it is compared by.
    #[must_use]
    pub const fn sorted_by(self, sort: &'static str) -> Column {
        Column { sort, is_sorted: true, ..self }
    }

    /// What has no value comes last whichever way it is sorted. Not said where there always is one: an index could not be
    /// used.
    #[must_use]
    pub const fn nullable(self) -> Column {
        Column { is_nullable: true, ..self }
    }

    #[must_use]
    pub const fn join(self, join: &'static str) -> Column {
        Column { join, ..self }
    }

    #[must_use]
    pub const fn cast(self, cast: &'static str) -> Column {
        Column { cast, ..self }
    }

    #[must_use]
    pub const fn within(self, within: &'static str) -> Column {
        Column { within, ..self }
    }

    #[must_use]
    pub const fn also(self, also: fn(&[String]) -> &'static str) -> Column {
        Column { also, ..self }
    }

    pub fn is(self, value: impl Into<Values>) -> Condition {
        Condition { column: self, test: Test::AnyOf(value.into()) }
    }

    pub fn any_of<V>(self, values: impl IntoIterator<Item = V>) -> Condition
    where
        Values: FromIterator<V>,
    {
        Condition { column: self, test: Test::AnyOf(values.into_iter().collect()) }
    }

    pub fn none_of(self, values: Vec<String>) -> Condition {
        Condition { column: self, test: Test::NoneOf(values) }
    }

    pub fn is_so(self, so: bool) -> Condition {
        Condition { column: self, test: Test::Flag(so) }
    }

    /// Its words are the condition.
    pub fn holds(self) -> Condition {
        Condition { column: self, test: Test::Holds }
    }

    /// What no row fits.
    pub fn never(self) -> Condition {
        Condition { column: self, test: Test::Never }
    }

    pub fn compare(self, compare: Compare, at: DateTime<Utc>) -> Condition {
        Condition { column: self, test: Test::Moment(compare, at) }
    }

    pub fn compare_number(self, compare: Compare, number: f64) -> Condition {
        Condition { column: self, test: Test::Number(compare, number) }
    }

    /// One of these is in it, in any case; `%` is any text, `_` any character.
    pub fn contains<T: Into<String>>(self, parts: impl IntoIterator<Item = T>) -> Condition {
        Condition { column: self, test: Test::Contains(parts.into_iter().map(Into::into).collect()) }
    }

    /// This is in it, in any case; no character stands for others.
    pub fn has(self, text: impl Into<String>) -> Condition {
        Condition { column: self, test: Test::Has(text.into()) }
    }

    /// It begins with one of these, as they are.
    pub fn begins<T: Into<String>>(self, starts: impl IntoIterator<Item = T>) -> Condition {
        Condition { column: self, test: Test::Begins(starts.into_iter().map(Into::into).collect()) }
    }

    pub const fn ascending(self) -> Order {
        Order { column: self, direction: Direction::Ascending }
    }

    pub const fn descending(self) -> Order {
        Order { column: self, direction: Direction::Descending }
    }
}

impl From<&str> for Values {
    fn from(text: &str) -> Values {
        Values::Texts(vec![text.into()])
    }
}

impl From<String> for Values {
    fn from(text: String) -> Values {
        Values::Texts(vec![text])
    }
}

impl From<&String> for Values {
    fn from(text: &String) -> Values {
        Values::Texts(vec![text.clone()])
    }
}

impl From<i64> for Values {
    fn from(number: i64) -> Values {
        Values::Wholes(vec![number])
    }
}

impl From<i32> for Values {
    fn from(number: i32) -> Values {
        Values::Wholes(vec![number.into()])
    }
}

impl From<Uuid> for Values {
    fn from(id: Uuid) -> Values {
        Values::Ids(vec![id])
    }
}

impl<'a> FromIterator<&'a str> for Values {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Values {
        Values::Texts(texts.into_iter().map(String::from).collect())
    }
}

impl FromIterator<String> for Values {
    fn from_iter<I: IntoIterator<Item = String>>(texts: I) -> Values {
        Values::Texts(texts.into_iter().collect())
    }
}

impl FromIterator<i64> for Values {
    fn from_iter<I: IntoIterator<Item = i64>>(numbers: I) -> Values {
        Values::Wholes(numbers.into_iter().collect())
    }
}

impl FromIterator<Uuid> for Values {
    fn from_iter<I: IntoIterator<Item = Uuid>>(ids: I) -> Values {
        Values::Ids(ids.into_iter().collect())
    }
}
