//! Records that are published at once.

use orch_store::topic::NewRecord;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// A lot is published when it has so much, whatever the time: a large transaction is published in parts.
const MOST_RECORDS: usize = 10_000;
const MOST_BYTES: usize = 8 << 20;

#[derive(Debug, Default)]
pub(super) struct Lot {
    /// By topic, in the order in which topics are written to: two streams that write to the same ones never wait for each other.
    pub(super) records: BTreeMap<String, Vec<NewRecord>>,
    pub(super) count: usize,
    bytes: usize,
    /// When the newest change was committed.
    pub(super) at_ms: Option<i64>,
    /// When the first of its changes came.
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

    /// There is something to write down, if only a position.
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
