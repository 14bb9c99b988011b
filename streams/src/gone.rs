//! Tombstones: records without a value. Each deletes the row that has the record's key.

use crate::declare::Stream;
use crate::records::Record;
use crate::sort::origin;
use arrow::array::{ArrayRef, AsArray as _, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::DataType;
use orch_sdk::task::{TaskResult, fatal};
use std::collections::{HashMap, HashSet};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tombstone {
    /// Key of the record as text. It is compared with the table's key column.
    key: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl Tombstone {
    /// Converts a record. Returns an error with the reason if the record cannot delete a row.
    pub(crate) fn of(record: &Record<'_>) -> Result<Tombstone, &'static str> {
        let key = record.key.ok_or("it has neither a value nor a key, so it is not known which row it deletes")?;
        let key = std::str::from_utf8(key).map_err(|_| "it has no value, and its key is no text")?;
        Ok(Tombstone { key: key.to_owned(), partition: record.partition, offset: record.offset })
    }
}

/// Deleted keys, with the partition and offset of the last tombstone of each key.
#[derive(Debug, Default)]
pub(crate) struct Deleted<'a>(HashMap<&'a str, (i32, i64)>);

impl<'a> Deleted<'a> {
    /// Collects the deleted keys. The tombstones must be ordered by offset.
    pub(crate) fn of(gone: impl IntoIterator<Item = &'a Tombstone>) -> Deleted<'a> {
        Deleted(gone.into_iter().map(|one| (one.key.as_str(), (one.partition, one.offset))).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops the rows that precede a tombstone of the same key. All records of a key are in one partition.
    pub(crate) fn leave(&self, stream: &Stream, rows: &RecordBatch, key: &str) -> TaskResult<RecordBatch> {
        let (partitions, offsets) = origin(stream, rows)?;
        self.filter(rows, key, |row, (partition, offset)| {
            partitions.value(row) != partition || offsets.value(row) > offset
        })
    }

    /// Drops all rows whose key is deleted.
    pub(crate) fn take_out(&self, rows: &RecordBatch, key: &str) -> TaskResult<RecordBatch> {
        self.filter(rows, key, |_, _| false)
    }

    fn filter(
        &self,
        rows: &RecordBatch,
        key: &str,
        keep: impl Fn(usize, (i32, i64)) -> bool,
    ) -> TaskResult<RecordBatch> {
        if self.is_empty() {
            return Ok(rows.clone());
        }
        let keys = texts(rows, key)?;
        let kept = keys.iter().enumerate().map(|(row, key)| {
            let deleted = key.and_then(|key| self.0.get(key));
            Some(deleted.is_none_or(|place| keep(row, *place)))
        });
        Ok(filter_record_batch(rows, &kept.collect::<BooleanArray>())?)
    }

    /// Returns the deleted keys as a batch with one column, except the keys that `but` contains. Returns `None` if no
    /// key is left.
    pub(crate) fn keys(
        &self,
        key: &str,
        data: &DataType,
        but: Option<&RecordBatch>,
    ) -> TaskResult<Option<RecordBatch>> {
        let there = but.map(|rows| texts(rows, key)).transpose()?;
        let there: HashSet<&str> = there.iter().flat_map(|there| there.iter().flatten()).collect();
        let mut keys: Vec<&str> = self.0.keys().copied().filter(|key| !there.contains(key)).collect();
        if keys.is_empty() {
            return Ok(None);
        }
        keys.sort_unstable();
        // A key that cannot be cast to the column type becomes null and is dropped, because no row can have it.
        let column = cast(&StringArray::from(keys), data)?;
        let rows = RecordBatch::try_from_iter([(key, column as ArrayRef)])?;
        let valid = arrow::compute::is_not_null(rows.column(0))?;
        Ok(Some(filter_record_batch(&rows, &valid)?).filter(|rows| rows.num_rows() > 0))
    }
}

fn texts(rows: &RecordBatch, key: &str) -> TaskResult<StringArray> {
    let column = rows.column_by_name(key).ok_or_else(|| fatal(format!("the rows have no column `{key}`")))?;
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{OFFSET, PARTITION};
    use arrow::array::{Int32Array, Int64Array};
    use arrow::datatypes::Int64Type;
    use std::sync::Arc;

    fn gone(key: &str, offset: i64) -> Tombstone {
        Tombstone { key: key.into(), partition: 0, offset }
    }

    fn rows(all: &[(i64, i64)]) -> RecordBatch {
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from_iter_values(all.iter().map(|(id, _)| *id)))),
            (PARTITION, Arc::new(Int32Array::from_iter_values(all.iter().map(|_| 0)))),
            (OFFSET, Arc::new(Int64Array::from_iter_values(all.iter().map(|(_, offset)| *offset)))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn ids(rows: &RecordBatch) -> Vec<i64> {
        rows.column(0).as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn a_row_that_comes_after_the_tombstone_of_its_key_stays() {
        let all = [gone("1", 3), gone("2", 4), gone("1", 6), gone("no number", 7), gone("9", 8)];
        let deleted = Deleted::of(&all);
        let rows = rows(&[(1, 1), (2, 5), (1, 5), (3, 2)]);
        let left = deleted.leave(&Stream::new("s"), &rows, "id").unwrap();
        assert_eq!(ids(&left), [2, 3]);
        assert_eq!(ids(&deleted.take_out(&rows, "id").unwrap()), [3]);
        let keys = deleted.keys("id", &DataType::Int64, Some(&left)).unwrap().unwrap();
        assert_eq!(ids(&keys), [1, 9]);
        assert_eq!(ids(&deleted.keys("id", &DataType::Int64, None).unwrap().unwrap()), [1, 2, 9]);
    }
}
