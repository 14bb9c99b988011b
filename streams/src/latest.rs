//! Selects the newest row of each key within a batch, and compares it with the row in the table.

use crate::declare::Stream;
use crate::gone::Deleted;
use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, UInt64Array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Int32Type, Int64Type, Schema};
use arrow::row::{RowConverter, Rows, SortField};
use futures::TryStreamExt as _;
use iceberg::arrow::type_to_arrow_type;
use orch_lake::table::{At, FilesRead};
use orch_lake::{Filter, Table, Value};
use orch_sdk::task::{TaskResult, fatal};
use std::collections::HashMap;
use std::sync::Arc;

/// Returns the newest row of each key within the batch. If the `newest_by` values are equal, or `newest_by` is `None`,
/// the last row wins.
pub(crate) fn among(lot: &[RecordBatch], key: &[String], newest_by: Option<&str>) -> TaskResult<RecordBatch> {
    let rows = one_batch(lot)?;
    let schema = rows.schema();
    let mut sorter = Sorter::new(key, newest_by, |name| Ok(schema.field_with_name(name)?.data_type().clone()))?;
    let newest = sorter.newest(&rows)?;
    kept(&rows, newest)
}

/// Returns the newest row of each key within the batch. Omits rows that a tombstone deletes and rows that are older
/// than the row in the table. Without `newest_by`, the table is not read.
pub(crate) async fn of(
    table: &Table,
    stream: &Stream,
    lot: &[RecordBatch],
    key: &[String],
    newest_by: Option<&str>,
    deleted: &Deleted<'_>,
) -> TaskResult<RecordBatch> {
    let mut rows = one_batch(lot)?;
    // Streams that delete on tombstones have exactly one key column.
    let column = key.first().map(String::as_str).unwrap_or_default();
    if !deleted.is_empty() {
        rows = deleted.leave(stream, &rows, column)?;
    }
    let mut sorter = Sorter::new(key, newest_by, |name| type_in(table, name))?;
    let mut newest = sorter.newest(&rows)?;
    if newest_by.is_some() {
        let columns: Vec<&str> = key.iter().map(String::as_str).chain(newest_by).collect();
        let schema = rows.schema();
        let keys = key.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
        let known = rows_with_keys(table, &rows.project(&keys)?, Some(columns), (At::Now, None)).await?;
        let known = known.iter().map(|known| deleted.take_out(known, column)).collect::<TaskResult<Vec<_>>>()?;
        sorter.drop_older(&rows, &known, &mut newest)?;
    }
    kept(&rows, newest)
}

pub(crate) fn type_in(table: &Table, column: &str) -> TaskResult<DataType> {
    let field = table.schema().field_by_name(column);
    let field = field.ok_or_else(|| fatal(format!("table `{}` has no column `{column}`", table.name())))?;
    Ok(type_to_arrow_type(&field.field_type)?)
}

pub(crate) fn one_batch(lot: &[RecordBatch]) -> TaskResult<RecordBatch> {
    let Some(first) = lot.first() else { return Err(fatal("an empty lot has no newest rows")) };
    // A transformation may declare the same column nullable in some batches and non-nullable in others.
    let is_nullable =
        |nth: usize| lot.iter().any(|rows| rows.schema().fields().get(nth).is_some_and(|one| one.is_nullable()));
    let fields = first.schema_ref().fields().iter().enumerate().map(|(nth, field)| {
        let field = field.as_ref().clone();
        field.with_nullable(is_nullable(nth))
    });
    Ok(concat_batches(&Arc::new(Schema::new(fields.collect::<Vec<_>>())), lot)?)
}

/// Returns the newest rows in their original order.
fn kept(rows: &RecordBatch, newest: Newest) -> TaskResult<RecordBatch> {
    let mut kept: Vec<u64> = newest.into_values().map(|row| row as u64).collect();
    kept.sort_unstable();
    Ok(take_record_batch(rows, &UInt64Array::from(kept))?)
}

/// Encodes keys and `newest_by` values as bytes that sort in the order of the values.
pub(crate) struct Sorter {
    columns: Vec<(String, DataType)>,
    age: Option<(String, DataType)>,
    keys: RowConverter,
    ages: RowConverter,
}

type Newest = HashMap<Box<[u8]>, usize>;

impl Sorter {
    pub(crate) fn new(
        key: &[String],
        newest_by: Option<&str>,
        type_of: impl Fn(&str) -> TaskResult<DataType>,
    ) -> TaskResult<Sorter> {
        let column = |name: &str| Ok::<_, anyhow::Error>((name.to_owned(), type_of(name)?));
        let columns = key.iter().map(|name| column(name)).collect::<TaskResult<Vec<_>>>()?;
        let age = newest_by.map(column).transpose()?;
        let keys = RowConverter::new(columns.iter().map(|(_, data)| SortField::new(data.clone())).collect())?;
        let ages = RowConverter::new(age.iter().map(|(_, data)| SortField::new(data.clone())).collect())?;
        Ok(Sorter { columns, age, keys, ages })
    }

    pub(crate) fn keys(&mut self, rows: &RecordBatch) -> TaskResult<Rows> {
        let columns =
            self.columns.iter().map(|(name, data)| array(rows, name, data)).collect::<TaskResult<Vec<_>>>()?;
        Ok(self.keys.convert_columns(&columns)?)
    }

    /// Decodes encoded keys to a batch with the key columns.
    pub(crate) fn columns_of(&self, keys: &[impl AsRef<[u8]>]) -> TaskResult<RecordBatch> {
        let parser = self.keys.parser();
        let columns = self.keys.convert_rows(keys.iter().map(|key| parser.parse(key.as_ref())))?;
        Ok(RecordBatch::try_from_iter(self.columns.iter().map(|(name, _)| name).zip(columns))?)
    }

    /// Returns the encoded `newest_by` values. Nulls sort first.
    fn ages(&mut self, rows: &RecordBatch) -> TaskResult<Option<Rows>> {
        let Some((name, data)) = &self.age else { return Ok(None) };
        Ok(Some(self.ages.convert_columns(&[array(rows, name, data)?])?))
    }

    fn newest(&mut self, rows: &RecordBatch) -> TaskResult<Newest> {
        let (keys, ages) = (self.keys(rows)?, self.ages(rows)?);
        let mut newest = Newest::new();
        for row in 0..rows.num_rows() {
            let is_older = |than: usize| ages.as_ref().is_some_and(|ages| ages.row(row) < ages.row(than));
            match newest.get_mut(keys.row(row).as_ref()) {
                Some(known) if !is_older(*known) => *known = row,
                Some(_) => {}
                None => {
                    newest.insert(keys.row(row).as_ref().into(), row);
                }
            }
        }
        Ok(newest)
    }

    /// Drops rows for which the table has a newer row. If the `newest_by` values are equal, the new row is kept.
    fn drop_older(&mut self, rows: &RecordBatch, known: &[RecordBatch], newest: &mut Newest) -> TaskResult<()> {
        let Some(ages) = self.ages(rows)? else { return Ok(()) };
        for batch in known {
            let (keys, known_ages) = (self.keys(batch)?, self.ages(batch)?);
            let Some(known_ages) = known_ages else { continue };
            for row in 0..batch.num_rows() {
                let key = keys.row(row);
                if newest.get(key.as_ref()).is_some_and(|mine| ages.row(*mine) < known_ages.row(row)) {
                    newest.remove(key.as_ref());
                }
            }
        }
        Ok(())
    }
}

fn array(rows: &RecordBatch, name: &str, data: &DataType) -> TaskResult<ArrayRef> {
    let column = rows.column_by_name(name).ok_or_else(|| fatal(format!("the rows have no column `{name}`")))?;
    Ok(if column.data_type() == data { column.clone() } else { cast(column, data)? })
}

/// Returns rows of a current or older snapshot of the table that may match one of the keys (a superset of the matches).
/// Returns all columns if `columns` is `None`. Files that cannot match, and files that `once` contains, are not read.
pub(crate) async fn rows_with_keys(
    table: &Table,
    keys: &RecordBatch,
    columns: Option<Vec<&str>>,
    (at, once): (At, Option<&FilesRead>),
) -> TaskResult<Vec<RecordBatch>> {
    if table.current_snapshot().is_none() {
        return Ok(Vec::new());
    }
    let mut filter = Filter::All;
    for (field, column) in keys.schema().fields().iter().zip(keys.columns()) {
        if let Some(values) = values(column) {
            filter = filter.and(Filter::In { column: field.name().clone(), values });
        }
    }
    let mut scan = table.scan().at(at).filter(filter);
    if let Some(read) = once {
        scan = scan.once(read);
    }
    if let Some(columns) = columns {
        scan = scan.columns(columns);
    }
    scan.stream().await?.try_collect().await
}

/// Returns the values for filtering the scan, or `None` if filtering by this column type is not possible.
fn values(column: &ArrayRef) -> Option<Vec<Value>> {
    let mut values: Vec<Value> = match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().iter().flatten().map(Value::from).collect(),
        DataType::Int64 => column.as_primitive::<Int64Type>().iter().flatten().map(Value::from).collect(),
        DataType::Int32 => {
            column.as_primitive::<Int32Type>().iter().flatten().map(|one| Value::from(i64::from(one))).collect()
        }
        _ => return None,
    };
    values.dedup();
    Some(values)
}
