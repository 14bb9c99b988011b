//! Columns of filterable lists: the SQL expression of each column, and the filters that users may apply to it.

use super::search::{Condition, Direction, Order, Test, Values};
use chrono::{DateTime, Utc};
use uuid::Uuid;

#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Name of the column in query parameters and in `order_by` of the API.
    pub name: &'static str,
    /// SQL expression of the column. If it contains `$`, the text is a complete condition, and each `$` is replaced by
    /// the array of values.
    pub sql: &'static str,
    pub kind: ListColumnType,
    /// Filters that the column supports.
    pub filters: &'static [Filter],
    /// Description of the column's query parameters, shown in the API reference.
    pub about: &'static str,
    pub is_sorted: bool,
    pub(super) sort: &'static str,
    pub(super) is_nullable: bool,
    /// Name of the `Join` that the column needs, or an empty string.
    pub(super) join: &'static str,
    /// Postgres type to which values are cast, if the column cannot be compared with text directly.
    pub(super) cast: &'static str,
    /// Outer condition for columns whose filters must match the same row of a subquery. The filters of all columns with
    /// the same `within` are combined and replace its `$`.
    pub(super) within: &'static str,
    /// Returns the predicate of a partial index if the values imply it, so that Postgres can use the index.
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

/// The values that an enumerated column allows, and the noun for such a value in error messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    pub noun: &'static str,
    pub words: &'static [&'static str],
}

/// Kinds of query parameters that filter by a column. Each variant lists the names of its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Parameter `name`: selects rows whose value is equal. The last value wins if the parameter is repeated.
    Is,
    /// Parameter `name`: like `Is`, but the parameter is required.
    Must,
    /// Parameter `name`, repeatable: selects rows whose value is equal to one of the given values.
    AnyOf,
    NoneOf,
    /// Parameter `name_pattern`: selects rows whose value contains one of the given texts, ignoring case.
    Pattern,
    /// Parameter `name_prefix_pattern`: selects rows whose value starts with one of the given texts.
    Prefix,
    /// Parameter `name`: like `Pattern`, without the suffix.
    Search,
    /// Parameters `name_gte`, `name_gt`, `name_lte` and `name_lt`: lower and upper bounds of the value.
    Range,
    /// `name`: a lower or upper bound, depending on the comparison.
    Bound(Compare),
    /// `name`: if true, the column's condition must hold; if false, it is ignored. The boolean is the default.
    Switch(bool),
    /// `name`: accepted for compatibility, but no row matches, because orch has no such value.
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
    /// All comparisons, each with the suffix of its query parameter.
    pub const ALL: [(&'static str, Compare); 4] =
        [("gte", Compare::AtLeast), ("gt", Compare::Above), ("lte", Compare::AtMost), ("lt", Compare::Below)];

    /// The pair of comparisons that selects exactly one timestamp.
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

    /// Creates a column that exists for compatibility only: a filter by it matches no row, because orch has no such
    /// value.
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

    /// Uses a separate SQL expression for sorting.
    #[must_use]
    pub const fn sorted_by(self, sort: &'static str) -> Column {
        Column { sort, is_sorted: true, ..self }
    }

    /// Sorts nulls last in both directions. Use it only for columns that can be null, because a default index does not
    /// have this order.
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

    /// Returns the column's SQL expression itself as the condition.
    pub fn holds(self) -> Condition {
        Condition { column: self, test: Test::Holds }
    }

    /// Returns a condition that no row matches.
    pub fn never(self) -> Condition {
        Condition { column: self, test: Test::Never }
    }

    pub fn compare(self, compare: Compare, at: DateTime<Utc>) -> Condition {
        Condition { column: self, test: Test::Moment(compare, at) }
    }

    pub fn compare_number(self, compare: Compare, number: f64) -> Condition {
        Condition { column: self, test: Test::Number(compare, number) }
    }

    /// Matches values that contain one of `parts`, ignoring case. As in SQL, `%` matches any text and `_` any
    /// character.
    pub fn contains<T: Into<String>>(self, parts: impl IntoIterator<Item = T>) -> Condition {
        Condition { column: self, test: Test::Contains(parts.into_iter().map(Into::into).collect()) }
    }

    /// Matches values that contain `text` literally (no wildcards), ignoring case.
    pub fn has(self, text: impl Into<String>) -> Condition {
        Condition { column: self, test: Test::Has(text.into()) }
    }

    /// Matches values that start with one of `starts`. Case-sensitive and without wildcards.
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
