//! Converts row changes to records in Debezium's envelope, as JSON without a schema. Each kind of source encodes its
//! own values and metadata ([`Table`]). Performs no I/O.

use crate::changes::{MARK, SNAPSHOT_MARK};
use orch_sdk::task::{TaskResult, fatal};
use orch_store::topic::{MOST_RECORD_BYTES, NewRecord};
use serde_json::{Map, Value};

const NEW_KEY: &str = "__debezium.newkey";
const OLD_KEY: &str = "__debezium.oldkey";
/// Partition of records without a key. A single partition keeps all changes of a table without a key in order.
const WITHOUT_KEY: i16 = 0;

/// A captured table with its current columns.
pub(super) trait Table {
    type Cell;
    /// Metadata of a change, written to the envelope's object `source`.
    type Origin;

    fn full_name(&self) -> String;

    /// Returns the name of each column, and true if the column is part of the key.
    fn columns(&self) -> impl Iterator<Item = (&str, bool)>;

    /// Returns true if records contain the column.
    fn is_told(&self, column: usize) -> bool;

    /// Appends a column value as JSON.
    fn write(&self, out: &mut Vec<u8>, column: usize, cell: &Self::Cell);

    /// Appends the envelope's object `source`.
    fn write_source(&self, out: &mut Vec<u8>, origin: &Self::Origin);

    /// Replaces values that a change did not touch with the values before the change.
    fn fill(&self, row: &mut [Self::Cell], before: &[Self::Cell]);

    /// Returns a hint that explains how to exclude a column whose values are too large.
    fn without_large_column(&self) -> String;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RowChange<C> {
    Read(Vec<C>),
    Insert(Vec<C>),
    Update(Option<Old<C>>, Vec<C>),
    Delete(Old<C>),
    Truncate,
    /// Not a row change: makes mirrors copy the table when they read this record.
    Mark,
}

/// Values of the row before the change, as far as the source sends them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Old<C> {
    /// Only the key columns have values.
    Key(Vec<C>),
    Full(Vec<C>),
}

impl<C> Old<C> {
    fn cells(&self) -> &[C] {
        match self {
            Old::Key(row) | Old::Full(row) => row,
        }
    }
}

/// Converts a change to records. Returns a fatal error if a row exceeds the maximum record size.
pub(super) fn records<T: Table>(
    table: &T,
    change: RowChange<T::Cell>,
    origin: &T::Origin,
    now_ms: i64,
) -> TaskResult<Vec<NewRecord>> {
    let writer = EnvelopeWriter { table, origin, now_ms };
    match change {
        RowChange::Read(row) => {
            let key = writer.key(&row);
            Ok(vec![writer.record(key, writer.event("r", None, Some(&row)))?])
        }
        RowChange::Insert(row) => {
            let key = writer.key(&row);
            Ok(vec![writer.record(key, writer.event("c", None, Some(&row)))?])
        }
        RowChange::Update(old, mut row) => {
            if let Some(Old::Full(before)) = &old {
                table.fill(&mut row, before);
            }
            writer.update(old.as_ref(), &row)
        }
        RowChange::Delete(old) => {
            let key = writer.key(old.cells());
            Ok(vec![writer.record(key, writer.event("d", Some(&old), None))?])
        }
        RowChange::Truncate => Ok(vec![writer.record(None, writer.event("t", None, None))?]),
        RowChange::Mark => Ok(vec![writer.record(None, writer.event(MARK, None, None))?]),
    }
}

struct EnvelopeWriter<'a, T: Table> {
    table: &'a T,
    origin: &'a T::Origin,
    now_ms: i64,
}

impl<T: Table> EnvelopeWriter<'_, T> {
    /// Converts an update. A key change becomes a delete of the old row and an insert of the new row.
    fn update(&self, old: Option<&Old<T::Cell>>, row: &[T::Cell]) -> TaskResult<Vec<NewRecord>> {
        let key = self.key(row);
        let old_key = old.and_then(|old| self.key(old.cells()));
        match (old, old_key, &key) {
            (Some(old), Some(old_key), Some(new_key)) if old_key != *new_key => {
                let gone = self.record(Some(old_key.clone()), self.event("d", Some(old), None))?;
                let come = self.record(key.clone(), self.event("c", None, Some(row)))?;
                Ok(vec![with_header(gone, NEW_KEY, new_key), with_header(come, OLD_KEY, &old_key)])
            }
            _ => {
                let whole = self.event("u", old, Some(row));
                let told = if is_too_large(key.as_ref(), &whole) { self.event("u", None, Some(row)) } else { whole };
                Ok(vec![self.record(key, told)?])
            }
        }
    }

    fn record(&self, key: Option<Vec<u8>>, value: Vec<u8>) -> TaskResult<NewRecord> {
        if is_too_large(key.as_ref(), &value) {
            let key = key.map_or_else(|| "without a key".into(), |key| String::from_utf8_lossy(&key).into_owned());
            return Err(fatal(format!(
                "the row {key} of table `{}` makes a record of {} bytes, and a topic takes {MOST_RECORD_BYTES} at most\n\
                 hint: {}, and begin anew with `orch streams reset <stream> --to-earliest`",
                self.table.full_name(),
                value.len(),
                self.table.without_large_column()
            )));
        }
        let partition = key.is_none().then_some(WITHOUT_KEY);
        Ok(NewRecord { key, value: Some(value), headers: Map::new(), partition })
    }

    /// Returns the key of a row as JSON, or `None` if the table has no key.
    fn key(&self, row: &[T::Cell]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(32);
        self.fields(&mut out, row, |is_key| is_key);
        (!out.is_empty()).then(|| {
            out.push(b'}');
            out
        })
    }

    fn event(&self, op: &str, before: Option<&Old<T::Cell>>, after: Option<&[T::Cell]>) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(b"{\"before\":");
        match before {
            Some(Old::Full(row)) => self.row(&mut out, row, |_| true),
            // Omit the other columns, because null would be read as a value.
            Some(Old::Key(row)) => self.row(&mut out, row, |is_key| is_key),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"after\":");
        match after {
            Some(row) => self.row(&mut out, row, |_| true),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"source\":");
        self.table.write_source(&mut out, self.origin);
        if op == MARK {
            out.extend_from_slice(
                format!(",\"message\":{{\"prefix\":\"{SNAPSHOT_MARK}\",\"content\":\"\"}}").as_bytes(),
            );
        }
        out.extend_from_slice(format!(",\"op\":\"{op}\",\"ts_ms\":{}}}", self.now_ms).as_bytes());
        out
    }

    fn row(&self, out: &mut Vec<u8>, row: &[T::Cell], is_told: impl Fn(bool) -> bool) {
        let begins_at = out.len();
        self.fields(out, row, is_told);
        out.extend_from_slice(if out.len() == begins_at { b"{}" } else { b"}" });
    }

    /// Appends an object with the selected columns, without its closing brace. Appends nothing if no column is
    /// selected.
    fn fields(&self, out: &mut Vec<u8>, row: &[T::Cell], is_told: impl Fn(bool) -> bool) {
        let mut before = b'{';
        for (place, ((name, is_key), cell)) in self.table.columns().zip(row).enumerate() {
            if is_told(is_key) && self.table.is_told(place) {
                out.push(before);
                before = b',';
                write_text(out, name);
                out.push(b':');
                self.table.write(out, place, cell);
            }
        }
    }
}

/// Appends a text as JSON.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("memory takes everything");
}

fn is_too_large(key: Option<&Vec<u8>>, value: &[u8]) -> bool {
    key.map_or(0, Vec::len) + value.len() > MOST_RECORD_BYTES
}

fn with_header(mut record: NewRecord, name: &str, key: &[u8]) -> NewRecord {
    record.headers.insert(name.into(), Value::String(String::from_utf8_lossy(key).into_owned()));
    record
}
