//! Decides which data files can contain matching rows, from the partition values and column bounds in manifest
//! entries. A filter is compiled once per partition spec and then tested against each file.

use super::{Bound, Column, Op};
use crate::error::LakeResult;
use iceberg::spec::{DataFile, Datum, Literal, PartitionSpec, PrimitiveLiteral, PrimitiveType, Transform};
use iceberg::transform::create_transform_function;
use std::cmp::Ordering;

/// Estimate of the rows of a file that match a filter: none, possibly some, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    None,
    Maybe,
    All,
}

/// A filter that is compiled for the files of one partition spec.
#[derive(Debug)]
pub(crate) enum Pruner {
    Leaf { column: Column, test: Test, parts: Vec<(usize, PartTest)> },
    And(Vec<Pruner>),
    Or(Vec<Pruner>),
}

#[derive(Debug)]
pub(crate) enum Test {
    Compare(Op, PrimitiveLiteral),
    /// A sorted list of values.
    In(Vec<PrimitiveLiteral>, Negated),
    Null(Negated),
}

type Negated = bool;

/// The result of a comparison with a column, as implied by the value of a partition field.
#[derive(Debug)]
pub(crate) enum PartTest {
    /// The partition value equals the column value.
    Same,
    /// The partition value is null if and only if the column value is null.
    Nulls,
    /// All rows in partitions below the value match. In the partition equal to the value, the second field states how
    /// many rows match.
    Before(PrimitiveLiteral, Rows),
    After(PrimitiveLiteral, Rows),
    /// Rows can match only in partitions with these values. If negated, rows can fail to match only there.
    OneOf(Vec<PrimitiveLiteral>, Negated),
}

/// Statistics of a column in a data file.
struct Range<'a> {
    lower: Option<&'a PrimitiveLiteral>,
    upper: Option<&'a PrimitiveLiteral>,
    nulls: Rows,
    /// True if the column may contain NaN. NaN is not included in the bounds, and is greater than all other values.
    nans: bool,
}

impl Pruner {
    pub(crate) fn new(filter: &Bound, spec: &PartitionSpec) -> LakeResult<Self> {
        let all =
            |filters: &[Bound]| filters.iter().map(|filter| Pruner::new(filter, spec)).collect::<LakeResult<Vec<_>>>();
        let leaf = |column: &Column, test: Test, of: &dyn Fn(Transform) -> LakeResult<Option<PartTest>>| {
            let mut parts = vec![];
            for (index, field) in spec.fields().iter().enumerate().filter(|(_, field)| field.source_id == column.id) {
                parts.extend(of(field.transform)?.map(|test| (index, test)));
            }
            Ok(Pruner::Leaf { column: column.clone(), test, parts })
        };
        match filter {
            Bound::And(filters) => Ok(Pruner::And(all(filters)?)),
            Bound::Or(filters) => Ok(Pruner::Or(all(filters)?)),
            Bound::Null(column) => leaf(column, Test::Null(false), &|transform| Ok(nulls(transform))),
            Bound::NotNull(column) => leaf(column, Test::Null(true), &|transform| Ok(nulls(transform))),
            Bound::Compare { column, op, value } => {
                let test = Test::Compare(*op, value.literal().clone());
                leaf(column, test, &|transform| compare_part(transform, *op, value))
            }
            Bound::In { column, values, negated } => {
                let test = Test::In(values.iter().map(|value| value.literal().clone()).collect(), *negated);
                leaf(column, test, &|transform| in_part(transform, &column.data, values, *negated))
            }
        }
    }

    pub(crate) fn rows(&self, file: &DataFile) -> Rows {
        if file.record_count() == 0 {
            return Rows::None;
        }
        match self {
            Pruner::And(filters) => filters.iter().fold(Rows::All, |so_far, filter| so_far.and(|| filter.rows(file))),
            Pruner::Or(filters) => filters.iter().fold(Rows::None, |so_far, filter| so_far.or(|| filter.rows(file))),
            Pruner::Leaf { column, test, parts } => {
                let of_parts =
                    parts.iter().map(|(index, part)| part.rows(test, file.partition().fields()[*index].as_ref()));
                let of_column = std::iter::once_with(|| test.rows(&Range::of(file, column)));
                of_parts.chain(of_column).find(|rows| *rows != Rows::Maybe).unwrap_or(Rows::Maybe)
            }
        }
    }
}

impl Rows {
    fn and(self, other: impl FnOnce() -> Rows) -> Rows {
        match self {
            Rows::None => Rows::None,
            Rows::All => other(),
            Rows::Maybe if other() == Rows::None => Rows::None,
            Rows::Maybe => Rows::Maybe,
        }
    }

    fn or(self, other: impl FnOnce() -> Rows) -> Rows {
        match self {
            Rows::All => Rows::All,
            Rows::None => other(),
            Rows::Maybe if other() == Rows::All => Rows::All,
            Rows::Maybe => Rows::Maybe,
        }
    }

    fn not(self) -> Rows {
        match self {
            Rows::All => Rows::None,
            Rows::Maybe => Rows::Maybe,
            Rows::None => Rows::All,
        }
    }
}

impl<'a> Range<'a> {
    fn of(file: &'a DataFile, column: &Column) -> Self {
        let nulls = match file.null_value_counts().get(&column.id) {
            Some(0) => Rows::None,
            Some(nulls) if *nulls == file.record_count() => Rows::All,
            _ => Rows::Maybe,
        };
        let float = matches!(column.data, PrimitiveType::Float | PrimitiveType::Double);
        Self {
            lower: file.lower_bounds().get(&column.id).map(Datum::literal),
            upper: file.upper_bounds().get(&column.id).map(Datum::literal),
            nulls,
            nans: float && file.nan_value_counts().get(&column.id) != Some(&0),
        }
    }

    /// Returns the statistics of a file in which every row has the same value. `None` means that every row is null.
    fn one(value: Option<&'a PrimitiveLiteral>) -> Self {
        let nulls = if value.is_none() { Rows::All } else { Rows::None };
        Self { lower: value, upper: value, nulls, nans: value.is_some_and(PrimitiveLiteral::is_nan) }
    }
}

impl Test {
    fn rows(&self, range: &Range<'_>) -> Rows {
        if let Test::Null(negated) = self {
            return if *negated { range.nulls.not() } else { range.nulls };
        }
        if range.nulls == Rows::All {
            return Rows::None;
        }
        let (Some(lower), Some(upper)) = (range.lower, range.upper) else { return Rows::Maybe };
        let found = match self {
            Test::Compare(op, value) => match (order(value, lower), order(value, upper)) {
                (Some(to_lower), Some(to_upper)) => compare(*op, to_lower, to_upper),
                _ => Rows::Maybe,
            },
            Test::In(values, negated) => {
                let found = in_range(values, lower, upper);
                if *negated { found.not() } else { found }
            }
            Test::Null(_) => Rows::Maybe,
        };
        let nans_count = !matches!(self, Test::Compare(Op::Eq | Op::Lt | Op::LtEq, _) | Test::In(_, false));
        match found {
            // A null never matches, so the comparison cannot hold for all rows if there are nulls.
            Rows::All if range.nulls != Rows::None || range.nans => Rows::Maybe,
            Rows::None if range.nans && nans_count => Rows::Maybe,
            found => found,
        }
    }
}

/// Returns how many rows can match, given how the compared value is ordered relative to the lower and upper bounds.
fn compare(op: Op, to_lower: Ordering, to_upper: Ordering) -> Rows {
    use Ordering::{Equal, Greater, Less};
    match op {
        Op::Eq if to_lower == Less || to_upper == Greater => Rows::None,
        Op::Eq if to_lower == Equal && to_upper == Equal => Rows::All,
        Op::NotEq => compare(Op::Eq, to_lower, to_upper).not(),
        Op::Lt if to_upper == Greater => Rows::All,
        Op::Lt if to_lower != Greater => Rows::None,
        Op::LtEq if to_upper != Less => Rows::All,
        Op::LtEq if to_lower == Less => Rows::None,
        Op::Gt => compare(Op::LtEq, to_lower, to_upper).not(),
        Op::GtEq => compare(Op::Lt, to_lower, to_upper).not(),
        Op::Eq | Op::Lt | Op::LtEq => Rows::Maybe,
    }
}

fn in_range(values: &[PrimitiveLiteral], lower: &PrimitiveLiteral, upper: &PrimitiveLiteral) -> Rows {
    let first = values.partition_point(|value| order(value, lower) == Some(Ordering::Less));
    let Some(value) = values.get(first) else { return Rows::None };
    match order(value, upper) {
        Some(Ordering::Greater) => Rows::None,
        _ if order(lower, upper) == Some(Ordering::Equal) && order(value, lower) == Some(Ordering::Equal) => Rows::All,
        _ => Rows::Maybe,
    }
}

impl PartTest {
    fn rows(&self, test: &Test, value: Option<&Literal>) -> Rows {
        let value = match value {
            None => None,
            Some(Literal::Primitive(value)) => Some(value),
            Some(_) => return Rows::Maybe,
        };
        let Some(found) = value else { return test.rows(&Range::one(None)) };
        match self {
            PartTest::Same => test.rows(&Range::one(value)),
            PartTest::Nulls => test.rows(&Range { lower: None, upper: None, nulls: Rows::None, nans: false }),
            PartTest::Before(end, at_end) => match order(found, end) {
                Some(Ordering::Less) => Rows::All,
                Some(Ordering::Equal) => *at_end,
                Some(Ordering::Greater) => Rows::None,
                None => Rows::Maybe,
            },
            PartTest::After(end, at_end) => match order(found, end) {
                Some(Ordering::Less) => Rows::None,
                Some(Ordering::Equal) => *at_end,
                Some(Ordering::Greater) => Rows::All,
                None => Rows::Maybe,
            },
            PartTest::OneOf(values, negated) => {
                match values.iter().any(|value| order(found, value) == Some(Ordering::Equal)) {
                    true => Rows::Maybe,
                    false if *negated => Rows::All,
                    false => Rows::None,
                }
            }
        }
    }
}

fn nulls(transform: Transform) -> Option<PartTest> {
    (!matches!(transform, Transform::Void | Transform::Unknown)).then_some(PartTest::Nulls)
}

/// Returns true if the partition transform does not change column values.
fn same(transform: Transform, data: &PrimitiveType) -> bool {
    match transform {
        Transform::Identity => true,
        Transform::Day => *data == PrimitiveType::Date,
        _ => false,
    }
}

fn compare_part(transform: Transform, op: Op, value: &Datum) -> LakeResult<Option<PartTest>> {
    if same(transform, value.data_type()) {
        return Ok(Some(PartTest::Same));
    }
    if matches!(op, Op::Eq | Op::NotEq) {
        return in_part(transform, value.data_type(), std::slice::from_ref(value), op == Op::NotEq);
    }
    if !transform.preserves_order() {
        return Ok(nulls(transform));
    }
    // For integers, `> 4` equals `>= 5`, and `<= 4` equals `< 5`.
    let (op, value) = match (op, neighbour(value, 1)) {
        (Op::Gt, Some(next)) => (Op::GtEq, next),
        (Op::LtEq, Some(next)) => (Op::Lt, next),
        (op, _) => (op, value.clone()),
    };
    let function = create_transform_function(&transform)?;
    let Some(part) = function.transform_literal(&value)? else { return Ok(None) };
    let before = neighbour(&value, -1).map(|value| function.transform_literal(&value)).transpose()?.flatten();
    let is_first = before.is_some_and(|before| before != part);
    let part = part.literal().clone();
    Ok(Some(match op {
        Op::Lt => PartTest::Before(part, if is_first { Rows::None } else { Rows::Maybe }),
        Op::GtEq => PartTest::After(part, if is_first { Rows::All } else { Rows::Maybe }),
        Op::LtEq => PartTest::Before(part, Rows::Maybe),
        _ => PartTest::After(part, Rows::Maybe),
    }))
}

fn in_part(
    transform: Transform,
    data: &PrimitiveType,
    values: &[Datum],
    negated: bool,
) -> LakeResult<Option<PartTest>> {
    if same(transform, data) {
        return Ok(Some(PartTest::Same));
    }
    if matches!(transform, Transform::Void | Transform::Unknown) {
        return Ok(None);
    }
    let function = create_transform_function(&transform)?;
    let mut parts = vec![];
    for value in values {
        match function.transform_literal(value)? {
            Some(part) if !parts.contains(part.literal()) => parts.push(part.literal().clone()),
            Some(_) => {}
            None => return Ok(None),
        }
    }
    Ok(Some(PartTest::OneOf(parts, negated)))
}

/// Returns the value plus `by`. `None` for types that are not stored as integers.
fn neighbour(value: &Datum, by: i8) -> Option<Datum> {
    match (value.data_type(), value.literal()) {
        (PrimitiveType::Int, PrimitiveLiteral::Int(value)) => value.checked_add(by.into()).map(Datum::int),
        (PrimitiveType::Date, PrimitiveLiteral::Int(value)) => value.checked_add(by.into()).map(Datum::date),
        (PrimitiveType::Long, PrimitiveLiteral::Long(value)) => value.checked_add(by.into()).map(Datum::long),
        (PrimitiveType::Timestamp, PrimitiveLiteral::Long(value)) => {
            value.checked_add(by.into()).map(Datum::timestamp_micros)
        }
        (PrimitiveType::Timestamptz, PrimitiveLiteral::Long(value)) => {
            value.checked_add(by.into()).map(Datum::timestamptz_micros)
        }
        _ => None,
    }
}

/// Compares two values that may have different types. Files keep the type that a column had when they were written,
/// so an int can be compared with a long.
pub(crate) fn order(one: &PrimitiveLiteral, other: &PrimitiveLiteral) -> Option<Ordering> {
    use PrimitiveLiteral as L;
    match (one, other) {
        (L::Int(one), L::Long(other)) => i64::from(*one).partial_cmp(other),
        (L::Long(one), L::Int(other)) => one.partial_cmp(&i64::from(*other)),
        (L::Float(one), L::Double(other)) => f64::from(one.into_inner()).partial_cmp(&other.into_inner()),
        (L::Double(one), L::Float(other)) => one.into_inner().partial_cmp(&f64::from(other.into_inner())),
        _ if std::mem::discriminant(one) == std::mem::discriminant(other) => one.partial_cmp(other),
        _ => None,
    }
}
