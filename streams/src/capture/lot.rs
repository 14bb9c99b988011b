//! A batch of captured records that is published in one commit.

use orch_store::topic::NewRecord;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// Limits of a batch. A batch that reaches one of them is published immediately, so a large transaction is published in
/// several batches.
const MOST_RECORDS: usize = 10_000;
const MOST_BYTES: usize = 8 << 20;

#[derive(Debug, Default)]
pub(super) struct Lot {
    /// Records by topic. Topics are written in sorted order, so that two streams with the same topics cannot deadlock.
    pub(super) records: BTreeMap<String, Vec<NewRecord>>,
    pub(super) count: usize,
    bytes: usize,
    /// Commit time of the newest change in the batch.
    pub(super) at_ms: Option<i64>,
    /// Arrival time of the first change in the batch.
    since: Option<Instant>,
}

impl Lot {
    pub(super) fn push(&mut self, topic: &str, record: NewRecord) {
        self.count += 1;
        self.bytes += record.key.as_ref().map_or(0, Vec::len) + record.value.as_ref().map_or(0, Vec::len);
        match self.records.get_mut(topic) {
            Some(records) => records.push(record),
            None => drop(self.records.insert(topic.into(), vec![record])),
        }
        self.touch();
    }

    /// Makes the batch due for publishing even if it contains no records and only advances the position.
    pub(super) fn touch(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= MOST_RECORDS || self.bytes >= MOST_BYTES
    }
}
