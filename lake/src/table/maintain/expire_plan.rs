//! Selects the snapshots that expire. The selection is a pure function of the metadata, the options and the time.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadata};

use super::Expiry;
use crate::error::{LakeError, LakeResult};
use crate::table::evolve::{ancestors, refs};

/// The snapshots and references to remove, both sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub snapshots: Vec<i64>,
    pub refs: Vec<String>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.refs.is_empty()
    }
}

/// Selects the snapshots and references to remove, according to the Iceberg specification. `main`, and each branch
/// that has not expired, keep a minimum number of snapshots and all young ones. A tag keeps its snapshot.
/// Unreferenced snapshots expire by age. In addition, the newest snapshot that contains the offsets of a source is
/// kept, because the source would otherwise be read from the beginning.
pub(super) fn plan(metadata: &TableMetadata, asked: &Expiry, now: DateTime<Utc>) -> LakeResult<Plan> {
    let properties = metadata.table_properties()?;
    if !properties.gc_enabled {
        let what = "snapshots of this table must not expire: its property `gc.enabled` is false";
        return Err(LakeError::input(
            what,
            "its files belong to another table too; expire that one, or set the property",
        ));
    }
    if asked.keep_last == Some(0) {
        return Err(LakeError::input("no snapshot would be kept", "keep the last one at least; it is the table"));
    }
    let age = |limit: i64| now.timestamp_millis().saturating_sub(limit);
    let young = asked.older_than.map_or(age(properties.max_snapshot_age_ms), |moment| moment.timestamp_millis());
    let fewest = asked.keep_last.unwrap_or(properties.min_snapshots_to_keep);
    let made_at = |id: i64| metadata.snapshot_by_id(id).map_or(i64::MAX, |snapshot| snapshot.timestamp_ms());

    let too_old = |name: &str, reference: &SnapshotReference| {
        let (SnapshotRetention::Branch { max_ref_age_ms, .. } | SnapshotRetention::Tag { max_ref_age_ms }) =
            reference.retention;
        let oldest = age(max_ref_age_ms.unwrap_or(properties.max_ref_age_ms));
        name != MAIN_BRANCH && made_at(reference.snapshot_id) < oldest
    };
    let (gone, kept): (Vec<_>, Vec<_>) =
        refs(metadata)?.into_iter().partition(|(name, reference)| too_old(name, reference));

    let (mut retained, mut referenced) = (BTreeSet::new(), BTreeSet::new());
    for (_, reference) in &kept {
        retained.insert(reference.snapshot_id);
        referenced.insert(reference.snapshot_id);
        let SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, .. } = reference.retention else {
            continue;
        };
        let fewest = min_snapshots_to_keep.map_or(fewest, |count| usize::try_from(count).unwrap_or(fewest));
        let young = max_snapshot_age_ms.map_or(young, age);
        let mut sources = BTreeSet::new();
        for (place, snapshot) in ancestors(metadata, reference.snapshot_id).enumerate() {
            referenced.insert(snapshot.snapshot_id());
            let keys = snapshot.summary().additional_properties.keys().filter(|key| is_offset(key));
            let newest_of_source = keys.filter(|key| sources.insert(*key)).count() > 0;
            if place < fewest || snapshot.timestamp_ms() >= young || newest_of_source {
                retained.insert(snapshot.snapshot_id());
            }
        }
    }
    let goes = |id: &i64| !retained.contains(id) && (referenced.contains(id) || made_at(*id) < young);
    let snapshots: BTreeSet<i64> = metadata.snapshots().map(|snapshot| snapshot.snapshot_id()).filter(goes).collect();
    Ok(Plan { snapshots: snapshots.into_iter().collect(), refs: gone.into_iter().map(|(name, _)| name).collect() })
}

/// Returns true for snapshot properties that contain the read position of a source. They are written by orch, Kafka
/// Connect and Flink.
fn is_offset(key: &str) -> bool {
    (key.starts_with("orch.") && key.ends_with(".offsets"))
        || key.starts_with("kafka.connect.offsets.")
        || key == "flink.max-committed-checkpoint-id"
}

impl Expiry {
    /// Creates options that are determined by the table properties (`history.expire.…`). Their default age is five
    /// days.
    pub fn new() -> Self {
        Self::default()
    }

    /// Expires snapshots created before this time.
    #[must_use]
    pub fn older_than(mut self, moment: DateTime<Utc>) -> Self {
        self.older_than = Some(moment);
        self
    }

    /// Keeps at least this number of snapshots of each branch, regardless of age.
    #[must_use]
    pub fn keep_last(mut self, count: usize) -> Self {
        self.keep_last = Some(count);
        self
    }

    /// Sets the maximum number of attempts when commits of other writers conflict. Default: 10.
    #[must_use]
    pub fn tries(mut self, count: u32) -> Self {
        self.tries = Some(count.max(1));
        self
    }

    /// Deletes the files of expired snapshots immediately. Only safe if no query is running that was planned before
    /// the expiry.
    #[must_use]
    pub fn nobody_reads(mut self) -> Self {
        self.nobody_reads = true;
        self
    }
}

#[cfg(test)]
mod tests;
