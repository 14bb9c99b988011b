//! Runs searches over rows in memory. Used for columns that SQL cannot compute, and for lists that are short enough to
//! be loaded completely.

use super::ListPage;
use super::column::{Column, Compare};
use super::search::{Direction, Search, Test, Values};
use crate::narrow;
use chrono::{DateTime, Utc};
use std::borrow::Cow;
use std::cmp::Ordering;

/// The value of one column in one row, for comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    Nothing,
    Text(Cow<'a, str>),
    Whole(i64),
    Number(f64),
    Moment(DateTime<Utc>),
    Flag(bool),
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Cell<'a> {
        value.map_or(Cell::Nothing, Into::into)
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Cell<'a> {
        Cell::Text(text.into())
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Cell::Text(text.into())
    }
}

impl From<i64> for Cell<'_> {
    fn from(number: i64) -> Self {
        Cell::Whole(number)
    }
}

impl From<f64> for Cell<'_> {
    fn from(number: f64) -> Self {
        Cell::Number(number)
    }
}

impl From<DateTime<Utc>> for Cell<'_> {
    fn from(at: DateTime<Utc>) -> Self {
        Cell::Moment(at)
    }
}

impl Cell<'_> {
    /// Compares two values for sorting. `Nothing` sorts last in both directions.
    pub fn compare(&self, other: &Cell<'_>, direction: Direction) -> Ordering {
        let way = match (self, other) {
            (Cell::Nothing, Cell::Nothing) => return Ordering::Equal,
            (Cell::Nothing, _) => return Ordering::Greater,
            (_, Cell::Nothing) => return Ordering::Less,
            (Cell::Text(one), Cell::Text(other)) => one.cmp(other),
            (Cell::Whole(one), Cell::Whole(other)) => one.cmp(other),
            (Cell::Number(one), Cell::Number(other)) => one.total_cmp(other),
            (Cell::Moment(one), Cell::Moment(other)) => one.cmp(other),
            (Cell::Flag(one), Cell::Flag(other)) => one.cmp(other),
            _ => Ordering::Equal,
        };
        if direction == Direction::Descending { way.reverse() } else { way }
    }
}

impl Test {
    pub fn fits(&self, cell: &Cell<'_>) -> bool {
        match (self, cell) {
            (Test::AnyOf(Values::Texts(texts)), Cell::Text(text)) => texts.iter().any(|known| known == text),
            (Test::AnyOf(Values::Wholes(numbers)), Cell::Whole(number)) => numbers.contains(number),
            (Test::NoneOf(texts), Cell::Text(text)) => texts.iter().all(|known| known != text),
            (Test::Flag(is), Cell::Flag(so)) => is == so,
            (Test::Holds, Cell::Flag(so)) => *so,
            (Test::Moment(compare, bound), Cell::Moment(at)) => compare.holds(at.cmp(bound)),
            (Test::Number(compare, bound), Cell::Number(number)) => {
                number.partial_cmp(bound).is_some_and(|way| compare.holds(way))
            }
            (Test::Contains(parts), Cell::Text(text)) => {
                let text = text.to_lowercase();
                parts.iter().any(|part| is_like(&text, &part.to_lowercase()))
            }
            (Test::Has(part), Cell::Text(text)) => text.to_lowercase().contains(&part.to_lowercase()),
            (Test::Begins(starts), Cell::Text(text)) => starts.iter().any(|start| text.starts_with(start.as_str())),
            _ => false,
        }
    }
}

/// Returns true if `text` contains `part`, in which `%` matches any text and `_` any character. Each piece between two
/// `%` is searched only once, after the match of the previous piece, so that a malicious pattern cannot cause
/// exponential time.
fn is_like(text: &str, part: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut rest = text.as_slice();
    part.split('%').filter(|piece| !piece.is_empty()).all(|piece| {
        let piece: Vec<char> = piece.chars().collect();
        let is_piece = |window: &[char]| piece.iter().zip(window).all(|(one, other)| *one == '_' || one == other);
        let found = rest.windows(piece.len()).position(is_piece);
        rest = found.map_or(&[], |place| &rest[place + piece.len()..]);
        found.is_some()
    })
}

impl Compare {
    fn holds(self, way: Ordering) -> bool {
        match self {
            Compare::AtLeast => way.is_ge(),
            Compare::Above => way.is_gt(),
            Compare::AtMost => way.is_le(),
            Compare::Below => way.is_lt(),
        }
    }
}

impl Search {
    pub fn fits<T>(&self, row: &T, cell: impl for<'a> Fn(&'a T, &Column) -> Cell<'a>) -> bool {
        self.conditions.iter().all(|condition| condition.test.fits(&cell(row, &condition.column)))
    }

    /// Compares two rows by the sort orders of the search.
    pub fn compare<T>(&self, one: &T, other: &T, cell: impl for<'a> Fn(&'a T, &Column) -> Cell<'a>) -> Ordering {
        let ways = self
            .order
            .iter()
            .map(|order| cell(one, &order.column).compare(&cell(other, &order.column), order.direction));
        ways.fold(Ordering::Equal, Ordering::then)
    }

    /// Returns the requested page of the rows that match the search, and the total number of matching rows. Rows that
    /// compare as equal keep their order.
    pub fn pick<T>(&self, mut rows: Vec<T>, cell: impl for<'a> Fn(&'a T, &Column) -> Cell<'a>) -> ListPage<T> {
        rows.retain(|row| self.fits(row, &cell));
        rows.sort_by(|one, other| self.compare(one, other, &cell));
        let total = rows.len() as i64;
        let page = rows.into_iter().skip(narrow::size(self.skip)).take(narrow::size(self.most));
        ListPage { rows: page.collect(), total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Column = Column::text("name", "").sorted();
    const AT: Column = Column::moment("at", "").sorted();

    #[test]
    fn rows_are_picked_as_a_statement_would() {
        let at = |secs| DateTime::from_timestamp(secs, 0);
        let rows = vec![("a_b", at(3)), ("Axb", None), ("b", at(1))];
        let picked = |search: &Search| {
            let found = search.pick(rows.clone(), |row, column| match column.name {
                "name" => row.0.into(),
                _ => row.1.into(),
            });
            (found.rows.iter().map(|row| row.0).collect::<Vec<_>>(), found.total)
        };
        let all = Search::default;
        assert_eq!(picked(&all().by(AT.ascending())), (vec!["b", "a_b", "Axb"], 3));
        assert_eq!(picked(&all().by(AT.descending()).page(1, 1)), (vec!["b"], 3));
        assert_eq!(picked(&all().and(NAME.contains(["A_B"]))), (vec!["a_b", "Axb"], 2));
        assert_eq!(picked(&all().and(NAME.contains(["a%%b"]))), (vec!["a_b", "Axb"], 2));
        assert_eq!(picked(&all().and(NAME.has("A_b"))), (vec!["a_b"], 1));
        assert_eq!(picked(&all().and(NAME.begins(["a"]))), (vec!["a_b"], 1));
        assert_eq!(picked(&all().and(NAME.any_of(["b", "c"]))), (vec!["b"], 1));
        assert_eq!(picked(&all().and(AT.compare(Compare::Above, at(1).unwrap()))), (vec!["a_b"], 1));
    }

    #[test]
    fn a_pattern_with_many_wildcards_is_matched_piece_by_piece() {
        let (text, part) = ("a".repeat(250), "%a".repeat(120));
        assert!(is_like(&text, &part));
        assert!(!is_like(&text, &(part + "%b")));
        assert!(is_like("orders_fact", "or%s_f%_t") && !is_like("orders_fact", "fact%orders"));
        assert!(is_like("any", "") && is_like("any", "%%"));
    }
}
