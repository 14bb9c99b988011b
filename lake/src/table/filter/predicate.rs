//! Converts a filter to a predicate for iceberg's scan, which uses it to skip files, row groups and rows.

use super::{Bound, Op};
use iceberg::expr::{Predicate, Reference};

impl Bound {
    pub(crate) fn predicate(&self) -> Predicate {
        match self {
            Bound::Compare { column, op, value } => {
                let (column, value) = (Reference::new(&column.name), value.clone());
                match op {
                    Op::Eq => column.equal_to(value),
                    Op::NotEq => column.not_equal_to(value),
                    Op::Lt => column.less_than(value),
                    Op::LtEq => column.less_than_or_equal_to(value),
                    Op::Gt => column.greater_than(value),
                    Op::GtEq => column.greater_than_or_equal_to(value),
                }
            }
            Bound::In { column, values, negated: false } => Reference::new(&column.name).is_in(values.iter().cloned()),
            Bound::In { column, values, negated: true } => {
                Reference::new(&column.name).is_not_in(values.iter().cloned())
            }
            Bound::Null(column) => Reference::new(&column.name).is_null(),
            Bound::NotNull(column) => Reference::new(&column.name).is_not_null(),
            Bound::And(filters) => {
                filters.iter().fold(Predicate::AlwaysTrue, |all, filter| all.and(filter.predicate()))
            }
            Bound::Or(filters) => filters.iter().fold(Predicate::AlwaysFalse, |any, filter| any.or(filter.predicate())),
        }
    }
}
