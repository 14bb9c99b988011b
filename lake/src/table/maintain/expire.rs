//! Old snapshots go, and with them the files that only they reached: first the table forgets them, then they are deleted.
//! Whoever dies in between leaves orphans, nothing worse.

use chrono::{DateTime, Utc};
use iceberg::TableUpdate;

use super::expire_plan::{Plan, plan};
use super::{reach, until_committed};
use crate::{
    boxed,
    error::LakeResult,
    lake::Lake,
    table::{Change, Table, TableName},
};

/// Which snapshots are to go. What is not said is as the table's properties say (`history.expire.…`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expiry {
    pub(super) older_than: Option<DateTime<Utc>>,
    pub(super) keep_last: Option<usize>,
}

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expired {
    pub snapshots: Vec<i64>,
    /// Tags and branches that had a time to live.
    pub refs: Vec<String>,
    /// Files that nobody reaches any more: data, deletes, manifests.
    pub files: u64,
}

impl Table {
    /// Takes old snapshots out of the table. Their files stay, as orphans, until [`Lake::remove_orphans`]; to remove them at
    /// once use [`Lake::expire`].
    ///
    /// # Errors
    /// The table must not be cleaned (`gc.enabled` is false).
    pub fn expire(&self, asked: &Expiry, now: DateTime<Utc>) -> LakeResult<Change> {
        Ok(change(self, &plan(self.metadata(), asked, now)?))
    }
}

impl Lake {
    /// Takes old snapshots out of a table and deletes the files that only they reached. Readers of snapshots that stay
    /// notice nothing; those of one that goes may.
    ///
    /// # Errors
    /// The table must not be cleaned (`gc.enabled` is false); or a file cannot be deleted: then it is an orphan.
    #[boxed]
    pub async fn expire(&self, name: &TableName, asked: &Expiry, now: DateTime<Utc>) -> LakeResult<Expired> {
        let expired = until_committed(self, name, |base: Table| async move {
            let plan = plan(base.metadata(), asked, now)?;
            Ok((!plan.is_empty()).then(|| (change(&base, &plan), plan)))
        });
        let Some((before, after, plan)) = expired.await? else {
            return Ok(Expired::default());
        };
        let lost = reach::lost(before.iceberg(), after.iceberg()).await?;
        let files = lost.len() as u64;
        self.io().delete_stream(futures::stream::iter(lost)).await?;
        Ok(Expired { snapshots: plan.snapshots, refs: plan.refs, files })
    }
}

/// Names first, or the snapshots would still be theirs. It holds for exactly this state of the table: a tag that somebody
/// puts on a snapshot meanwhile keeps it.
fn change(base: &Table, plan: &Plan) -> Change {
    let metadata = base.metadata();
    let refs = plan.refs.iter().map(|name| TableUpdate::RemoveSnapshotRef { ref_name: name.clone() });
    let mut updates: Vec<TableUpdate> = refs.collect();
    for &snapshot_id in &plan.snapshots {
        if metadata.statistics_for_snapshot(snapshot_id).is_some() {
            updates.push(TableUpdate::RemoveStatistics { snapshot_id });
        }
        if metadata.partition_statistics_for_snapshot(snapshot_id).is_some() {
            updates.push(TableUpdate::RemovePartitionStatistics { snapshot_id });
        }
    }
    if !plan.snapshots.is_empty() {
        updates.push(TableUpdate::RemoveSnapshots { snapshot_ids: plan.snapshots.clone() });
    }
    Change { base_only: true, ..Change::of_metadata(base, updates, Vec::new()) }
}
