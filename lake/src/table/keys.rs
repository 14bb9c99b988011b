//! Determines which rows of a table an upsert replaces, from the keys of the new rows.

use super::Table;
use super::filter::prune::{Rows, order};
use super::filter::{Bound, Column, Op};
use super::plan::{LiveFile, PlannedFile, Pruners};
use super::position::{self, Deleted};
use crate::error::{LakeError, LakeResult};
use arrow::array::{Array as _, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::cast;
use arrow::row::{RowConverter, SortField};
use iceberg::arrow::{arrow_primitive_to_literal, type_to_arrow_type};
use iceberg::spec::{Datum, Literal, PrimitiveLiteral, PrimitiveType, Type};
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;

/// Maximum number of distinct values of a key column that are compared with file statistics individually. If there
/// are more, only their minimum and maximum are compared.
const LISTED: usize = 10_000;

/// A set of keys in a binary encoding. Two encoded keys are equal if and only if their values are equal.
pub struct Keys {
    columns: Vec<Column>,
    converter: RowConverter,
    rows: HashSet<Box<[u8]>>,
    known: Vec<KeyColumnValues>,
}

/// The distinct values of one key column.
#[derive(Debug, Clone)]
struct KeyColumnValues {
    least: Option<PrimitiveLiteral>,
    greatest: Option<PrimitiveLiteral>,
    /// The values themselves. `None` if there are more than `LISTED`.
    listed: Option<HashSet<PrimitiveLiteral>>,
}

impl Keys {
    pub(crate) fn new(table: &Table, columns: &[String]) -> LakeResult<Self> {
        if columns.is_empty() {
            let what = format!("table `{}` has no key, by which rows could be replaced", table.name());
            return Err(LakeError::input(what, "name the columns of the key in the call or in the table's definition"));
        }
        let columns = columns.iter().map(|name| Column::find(table.schema(), name)).collect::<LakeResult<Vec<_>>>()?;
        let fields =
            columns.iter().map(|column| Ok(SortField::new(type_to_arrow_type(&Type::Primitive(column.data.clone()))?)));
        let converter = RowConverter::new(fields.collect::<LakeResult<_>>()?)?;
        let known = KeyColumnValues { least: None, greatest: None, listed: Some(HashSet::new()) };
        Ok(Self { known: vec![known; columns.len()], columns, converter, rows: HashSet::new() })
    }

    /// Adds the keys of a batch.
    ///
    /// # Errors
    /// Returns an error if a key is null, or if it occurs twice, because it would be unclear which of the two rows to
    /// keep.
    pub(crate) fn add(&mut self, batch: &RecordBatch) -> LakeResult<()> {
        let columns = values_of(&self.columns, batch)?;
        check_nulls(&self.columns, &columns)?;
        let rows = self.converter.convert_columns(&columns)?;
        for (index, row) in rows.iter().enumerate() {
            if !self.rows.insert(row.as_ref().into()) {
                let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
                let what = format!(
                    "two rows have the same key ({}): the second is row {} of a batch",
                    names.join(", "),
                    index + 1
                );
                return Err(LakeError::input(what, "keep one row for each key before they are written"));
            }
        }
        for ((known, column), values) in self.known.iter_mut().zip(&self.columns).zip(&columns) {
            known.learn(values, &column.data)?;
        }
        Ok(())
    }

    /// Checks that no key in a batch is null.
    ///
    /// # Errors
    /// Returns an error if a key is null.
    pub(crate) fn check(columns: &[Column], batch: &RecordBatch) -> LakeResult<()> {
        check_nulls(columns, &values_of(columns, batch)?)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Returns a mask of the rows of a batch whose key is in the set.
    pub(crate) fn rows(&self, batch: &RecordBatch) -> LakeResult<BooleanArray> {
        let rows = self.converter.convert_columns(&values_of(&self.columns, batch)?)?;
        Ok(rows.iter().map(|row| Some(self.rows.contains(row.as_ref()))).collect())
    }

    /// Returns a filter that excludes files that cannot contain any of the keys.
    pub(crate) fn filter(&self) -> LakeResult<Bound> {
        let mut all = vec![];
        for (known, column) in self.known.iter().zip(&self.columns) {
            if let Some(listed) = &known.listed {
                let mut values =
                    listed.iter().map(|value| datum(value, &column.data)).collect::<LakeResult<Vec<_>>>()?;
                values.sort_by(|one, other| one.partial_cmp(other).unwrap_or(Ordering::Equal));
                all.push(Bound::In { column: column.clone(), values, negated: false });
            } else {
                for (op, value) in [(Op::GtEq, &known.least), (Op::LtEq, &known.greatest)] {
                    if let Some(value) = value {
                        all.push(Bound::Compare { column: column.clone(), op, value: datum(value, &column.data)? });
                    }
                }
            }
        }
        Ok(Bound::And(all))
    }

    /// Returns true if the file contains a row with one of the keys.
    pub(crate) async fn touches(&self, table: &Table, file: &LiveFile) -> LakeResult<bool> {
        if Pruners::new(table, &self.filter()?).rows(file)? == Rows::None {
            return Ok(false);
        }
        let planned = PlannedFile { file: file.clone(), deletes: vec![], whole: false };
        let mut deleted = Deleted::default();
        let rows = position::of_rows(table, &planned, &self.columns, &|batch| self.rows(batch), &mut deleted).await?;
        Ok(!rows.is_empty())
    }
}

impl KeyColumnValues {
    fn learn(&mut self, values: &ArrayRef, data: &PrimitiveType) -> LakeResult<()> {
        for literal in arrow_primitive_to_literal(values, &Type::Primitive(data.clone()))? {
            let Some(Literal::Primitive(value)) = literal else { continue };
            if self.least.as_ref().is_none_or(|least| order(&value, least) == Some(Ordering::Less)) {
                self.least = Some(value.clone());
            }
            if self.greatest.as_ref().is_none_or(|greatest| order(&value, greatest) == Some(Ordering::Greater)) {
                self.greatest = Some(value.clone());
            }
            if let Some(listed) = &mut self.listed {
                listed.insert(value);
            }
        }
        if self.listed.as_ref().is_some_and(|listed| listed.len() > LISTED) {
            self.listed = None;
        }
        Ok(())
    }
}

fn check_nulls(columns: &[Column], values: &[ArrayRef]) -> LakeResult<()> {
    for (column, values) in columns.iter().zip(values) {
        if let Some(row) = (0..values.len()).find(|row| values.is_null(*row)) {
            let what = format!("column `{}` of the key is null in row {} of a batch", column.name, row + 1);
            return Err(LakeError::input(what, "give it a value, or name another key"));
        }
    }
    Ok(())
}

/// Returns the values of the key columns, cast to the types of the table.
pub(super) fn values_of(columns: &[Column], batch: &RecordBatch) -> LakeResult<Vec<ArrayRef>> {
    let columns = columns.iter().map(|column| {
        let found = batch.column_by_name(&column.name).ok_or_else(|| {
            let what = format!("the rows have no column `{}` of the key", column.name);
            LakeError::input(what, "write rows that have it")
        })?;
        let wanted = type_to_arrow_type(&Type::Primitive(column.data.clone()))?;
        Ok(if *found.data_type() == wanted { found.clone() } else { cast(found, &wanted)? })
    });
    columns.collect()
}

pub(super) fn datum(value: &PrimitiveLiteral, data: &PrimitiveType) -> LakeResult<Datum> {
    Ok(match (data, value) {
        (_, PrimitiveLiteral::Boolean(value)) => Datum::bool(*value),
        (PrimitiveType::Date, PrimitiveLiteral::Int(value)) => Datum::date(*value),
        (_, PrimitiveLiteral::Int(value)) => Datum::int(*value),
        (PrimitiveType::Time, PrimitiveLiteral::Long(value)) => Datum::time_micros(*value)?,
        (PrimitiveType::Timestamp, PrimitiveLiteral::Long(value)) => Datum::timestamp_micros(*value),
        (PrimitiveType::Timestamptz, PrimitiveLiteral::Long(value)) => Datum::timestamptz_micros(*value),
        (_, PrimitiveLiteral::Long(value)) => Datum::long(*value),
        (_, PrimitiveLiteral::String(value)) => Datum::string(value),
        (data, PrimitiveLiteral::Int128(value)) => Datum::try_from_bytes(&value.to_be_bytes(), data.clone())?,
        (data, PrimitiveLiteral::UInt128(value)) => Datum::try_from_bytes(&value.to_be_bytes(), data.clone())?,
        (data, PrimitiveLiteral::Binary(value)) => Datum::try_from_bytes(value, data.clone())?,
        (data, _) => {
            let what = format!("a column of the type {data} cannot be part of a key");
            return Err(LakeError::input(what, "name another key"));
        }
    })
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<_> = self.columns.iter().map(|column| &column.name).collect();
        f.debug_struct("Keys").field("columns", &columns).field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}
