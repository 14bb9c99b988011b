//! Batch of a topic's records, stored in one buffer.

use chrono::{DateTime, Utc};
use std::ops::Range;

/// Header in which Debezium sends the previous key of a row after a key change.
pub(crate) const OLD_KEY: &str = "__debezium.oldkey";
pub(crate) const NEW_KEY: &str = "__debezium.newkey";

/// A record of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub partition: i32,
    pub offset: i64,
    /// Time that the producer or broker assigned, in milliseconds since the Unix epoch.
    pub at_ms: Option<i64>,
    pub key: Option<&'a [u8]>,
    /// Value of the record. `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Previous key, if this record inserts the new row of a key change.
    pub old_key: Option<&'a [u8]>,
    /// True if this record deletes the old row of a key change. Another record inserts the new row.
    pub has_new_key: bool,
}

impl Record<'_> {
    pub fn at(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.at_ms?)
    }
}

/// Records with their keys and values in one buffer, so that a million records do not need two million allocations.
#[derive(Debug, Clone, Default)]
pub struct Records {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    partition: i32,
    offset: i64,
    at_ms: Option<i64>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    old_key: Option<Range<usize>>,
    has_new_key: bool,
}

impl Records {
    pub fn push(&mut self, record: &Record<'_>) {
        let key = self.keep(record.key);
        let value = self.keep(record.value);
        let old_key = self.keep(record.old_key);
        let Record { partition, offset, at_ms, has_new_key, .. } = *record;
        self.entries.push(Entry { partition, offset, at_ms, key, value, old_key, has_new_key });
    }

    fn keep(&mut self, bytes: Option<&[u8]>) -> Option<Range<usize>> {
        let bytes = bytes?;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Some(start..self.bytes.len())
    }

    pub fn get(&self, nth: usize) -> Option<Record<'_>> {
        Some(self.record(self.entries.get(nth)?))
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        self.entries.iter().map(|entry| self.record(entry))
    }

    fn record(&self, entry: &Entry) -> Record<'_> {
        let bytes = |range: &Option<Range<usize>>| range.clone().map(|range| &self.bytes[range]);
        let Entry { partition, offset, at_ms, has_new_key, .. } = *entry;
        let (key, value, old_key) = (bytes(&entry.key), bytes(&entry.value), bytes(&entry.old_key));
        Record { partition, offset, at_ms, key, value, old_key, has_new_key }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the number of key changes whose old row was deleted in this batch, minus those whose new row has
    /// arrived.
    pub(crate) fn moving(&self) -> i64 {
        let of =
            |entry: &Entry| i64::from(entry.has_new_key && entry.value.is_some()) - i64::from(entry.old_key.is_some());
        self.entries.iter().map(of).sum()
    }

    /// Returns the total size of keys and values in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Removes all records but keeps the allocated memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }
}
