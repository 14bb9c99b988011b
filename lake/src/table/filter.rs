//! A small filter language. A filter is bound to the columns of a table. The bound filter can exclude files
//! (`prune`), test the rows of a batch (`rows`), or be converted to a predicate for iceberg's scan (`predicate`).

mod predicate;
pub(crate) mod prune;
mod rows;
mod value;

pub use value::Value;

use super::definition::no_column;
use crate::error::{LakeError, LakeResult};
use iceberg::spec::{Datum, PrimitiveType, Schema, Type};
use std::fmt;

/// Selects rows of a table; `All` selects every row. A comparison with a null is never true, as in SQL.
///
/// ```
/// # use orch_lake::Filter;
/// Filter::eq("state", "TX").and(Filter::ge("order_date", "2014-01-01").and(Filter::lt("order_date", "2014-02-01")));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    All,
    Compare { column: String, op: Op, value: Value },
    In { column: String, values: Vec<Value> },
    Null { column: String },
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
}

impl Filter {
    pub fn eq(column: &str, value: impl Into<Value>) -> Self {
        Self::compare(column, Op::Eq, value)
    }

    pub fn ne(column: &str, value: impl Into<Value>) -> Self {
        Self::compare(column, Op::NotEq, value)
    }

    pub fn lt(column: &str, value: impl Into<Value>) -> Self {
        Self::compare(column, Op::Lt, value)
    }

    pub fn le(column: &str, value: impl Into<Value>) -> Self {
        Self::compare(column, Op::LtEq, value)
    }

    pub fn gt(column: &str, value: impl Into<Value>) -> Self {
        Self::compare(column, Op::Gt, value)
    }

    pub fn ge(column: &str, value: impl Into<Value>) -> Self {
        Self::compare(column, Op::GtEq, value)
    }

    pub fn compare(column: &str, op: Op, value: impl Into<Value>) -> Self {
        Filter::Compare { column: column.to_owned(), op, value: value.into() }
    }

    pub fn is_in<V: Into<Value>>(column: &str, values: impl IntoIterator<Item = V>) -> Self {
        Filter::In { column: column.to_owned(), values: values.into_iter().map(Into::into).collect() }
    }

    pub fn is_null(column: &str) -> Self {
        Filter::Null { column: column.to_owned() }
    }

    #[must_use]
    pub fn and(self, other: Filter) -> Self {
        match (self, other) {
            (Filter::All, filter) | (filter, Filter::All) => filter,
            (Filter::And(mut filters), filter) => {
                filters.push(filter);
                Filter::And(filters)
            }
            (one, other) => Filter::And(vec![one, other]),
        }
    }

    #[must_use]
    pub fn or(self, other: Filter) -> Self {
        match (self, other) {
            (Filter::All, _) | (_, Filter::All) => Filter::All,
            (Filter::Or(mut filters), filter) => {
                filters.push(filter);
                Filter::Or(filters)
            }
            (one, other) => Filter::Or(vec![one, other]),
        }
    }

    /// Binds the filter to a table: resolves column names to ids, converts values to column types, and moves each
    /// `Not` down to the comparisons.
    pub(crate) fn bind(&self, schema: &Schema) -> LakeResult<Bound> {
        self.bind_as(schema, false)
    }

    fn bind_as(&self, schema: &Schema, negated: bool) -> LakeResult<Bound> {
        let all = |filters: &[Filter]| {
            filters.iter().map(|filter| filter.bind_as(schema, negated)).collect::<LakeResult<Vec<_>>>()
        };
        Ok(match self {
            Filter::All if negated => Bound::Or(vec![]),
            Filter::All => Bound::And(vec![]),
            Filter::Not(filter) => filter.bind_as(schema, !negated)?,
            Filter::And(filters) if negated => Bound::Or(all(filters)?),
            Filter::Or(filters) if negated => Bound::And(all(filters)?),
            Filter::And(filters) => Bound::And(all(filters)?),
            Filter::Or(filters) => Bound::Or(all(filters)?),
            Filter::Null { column } => {
                let column = Column::find(schema, column)?;
                if negated { Bound::NotNull(column) } else { Bound::Null(column) }
            }
            Filter::Compare { column, op, value } => {
                let column = Column::find(schema, column)?;
                let value = value.datum(&column)?;
                Bound::Compare { column, op: if negated { op.negated() } else { *op }, value }
            }
            Filter::In { column, values } => {
                let column = Column::find(schema, column)?;
                let mut values = values.iter().map(|value| value.datum(&column)).collect::<LakeResult<Vec<_>>>()?;
                values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
                values.dedup();
                Bound::In { column, values, negated }
            }
        })
    }
}

impl std::ops::Not for Filter {
    type Output = Filter;

    fn not(self) -> Filter {
        match self {
            Filter::Not(filter) => *filter,
            filter => Filter::Not(Box::new(filter)),
        }
    }
}

impl Op {
    fn negated(self) -> Self {
        match self {
            Op::Eq => Op::NotEq,
            Op::NotEq => Op::Eq,
            Op::Lt => Op::GtEq,
            Op::LtEq => Op::Gt,
            Op::Gt => Op::LtEq,
            Op::GtEq => Op::Lt,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Op::Eq => "=",
            Op::NotEq => "<>",
            Op::Lt => "<",
            Op::LtEq => "<=",
            Op::Gt => ">",
            Op::GtEq => ">=",
        })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, filters: &[Filter], word: &str| {
            for (index, filter) in filters.iter().enumerate() {
                let word = if index == 0 { "" } else { word };
                write!(f, "{word}({filter})")?;
            }
            Ok(())
        };
        match self {
            Filter::All => f.write_str("true"),
            Filter::Compare { column, op, value } => write!(f, "{column} {op} {value}"),
            Filter::In { column, values } => {
                let values: Vec<_> = values.iter().map(ToString::to_string).collect();
                write!(f, "{column} in ({})", values.join(", "))
            }
            Filter::Null { column } => write!(f, "{column} is null"),
            Filter::And(filters) => list(f, filters, " and "),
            Filter::Or(filters) => list(f, filters, " or "),
            Filter::Not(filter) => write!(f, "not ({filter})"),
        }
    }
}

/// A filter that is bound to a table. It contains no `Not`, because every comparison has a negated form. The values
/// of `In` are sorted.
#[derive(Debug, Clone)]
pub(crate) enum Bound {
    Compare { column: Column, op: Op, value: Datum },
    In { column: Column, values: Vec<Datum>, negated: bool },
    Null(Column),
    NotNull(Column),
    And(Vec<Bound>),
    Or(Vec<Bound>),
}

impl Bound {
    /// Returns the columns that the filter uses, without duplicates.
    pub(crate) fn columns(&self) -> Vec<Column> {
        let mut columns: Vec<Column> = vec![];
        self.visit(&mut |column| {
            if !columns.iter().any(|known| known.id == column.id) {
                columns.push(column.clone());
            }
        });
        columns
    }

    fn visit(&self, see: &mut impl FnMut(&Column)) {
        match self {
            Bound::Compare { column, .. } | Bound::In { column, .. } | Bound::Null(column) | Bound::NotNull(column) => {
                see(column);
            }
            Bound::And(filters) | Bound::Or(filters) => filters.iter().for_each(|filter| filter.visit(see)),
        }
    }
}

/// A primitive column with its field id.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) id: i32,
    pub(crate) name: String,
    pub(crate) data: PrimitiveType,
}

impl Column {
    pub(crate) fn find(schema: &Schema, name: &str) -> LakeResult<Self> {
        let there = || schema.as_struct().fields().iter().map(|field| field.name.as_str());
        let field = schema.field_by_name(name).ok_or_else(|| no_column(name, there()))?;
        match field.field_type.as_ref() {
            Type::Primitive(data) => Ok(Column { id: field.id, name: name.to_owned(), data: data.clone() }),
            other => {
                let what = format!("column `{name}` has the type {other}, by which rows cannot be filtered");
                Err(LakeError::input(what, "name a column with single values"))
            }
        }
    }
}
