//! Expires old snapshots. The files that only they referenced are deleted after a delay.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use iceberg::TableUpdate;
use iceberg::spec::MAIN_BRANCH;
use std::collections::BTreeMap;

use super::expire_plan::{Plan, plan};
use super::{TRIES, reach, until_committed};
use crate::{
    boxed,
    error::{LakeError, LakeResult},
    lake::Lake,
    table::evolve::{ancestors, refs},
    table::{Change, Table, TableName},
};

/// Options of an expiry. `None` defaults to the table's properties (`history.expire.…`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expiry {
    pub(super) older_than: Option<DateTime<Utc>>,
    pub(super) keep_last: Option<usize>,
    pub(super) nobody_reads: bool,
    pub(super) tries: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expired {
    pub snapshots: Vec<i64>,
    /// Expired tags and branches.
    pub refs: Vec<String>,
    /// Number of files (data, deletes, manifests) that only these snapshots referenced. They are deleted after
    /// [`Table::deletion_delay`].
    pub files: u64,
    /// Number of files deleted by this call, of this and of earlier expiries.
    pub deleted: u64,
}

impl Table {
    /// Removes old snapshots from the table. Their files stay, as orphans, until [`Lake::remove_orphans`].
    ///
    /// # Errors
    /// The table's property `gc.enabled` is false.
    pub fn expire(&self, asked: &Expiry, now: DateTime<Utc>) -> LakeResult<Change> {
        Ok(change(self, &plan(self.metadata(), asked, now)?))
    }
}

impl Lake {
    /// Removes old snapshots from a table, and deletes the files of earlier expiries whose delay is over.
    ///
    /// # Errors
    /// The table's property `gc.enabled` is false, the warehouse belongs to another catalog, or a file cannot be
    /// deleted.
    #[boxed]
    pub async fn expire(&self, name: &TableName, asked: &Expiry, now: DateTime<Utc>) -> LakeResult<Expired> {
        self.check_owner().await?;
        // The lists of the last attempt. They are deleted if it conflicts, and stay if its outcome is unknown.
        let lists = &Mutex::new(Vec::new());
        let take_lists = || std::mem::take(&mut *lists.lock().unwrap_or_else(PoisonError::into_inner));
        let expired = until_committed(self, name, asked.tries.unwrap_or(TRIES), |base: Table| async move {
            base.delete_expired_lists(take_lists()).await?;
            let plan = plan(base.metadata(), asked, now)?;
            if plan.is_empty() {
                return Ok(None);
            }
            let delay = if asked.nobody_reads { TimeDelta::zero() } else { base.deletion_delay()? };
            let lost = reach::lost(base.iceberg(), &plan.snapshots.iter().copied().collect()).await?;
            let written = base.list_expired_files(&lost, now + delay).await?;
            *lists.lock().unwrap_or_else(PoisonError::into_inner) = written;
            // Writers may have committed while the files were found. The plan still holds if they only added snapshots.
            let head = self.table(name).await?;
            let base = if is_continued(&base, &head, &plan)? { head } else { base };
            Ok(Some((change(&base, &plan), (plan, lost.len() as u64))))
        });
        let expired = expired.await;
        if let Err(LakeError::Conflict { .. }) = expired {
            self.table(name).await?.delete_expired_lists(take_lists()).await?;
        }
        let (plan, files) = expired?.map(|(_, _, done)| done).unwrap_or_default();
        let deleted = self.delete_expired(name, now).await?;
        Ok(Expired { snapshots: plan.snapshots, refs: plan.refs, files, deleted })
    }
}

/// Returns true if `head` is `base` with more snapshots on `main`. Then the files that only the planned snapshots
/// referenced are the same, because a new snapshot references new files and files of its parent.
fn is_continued(base: &Table, head: &Table, plan: &Plan) -> LakeResult<bool> {
    let named = |table: &Table| -> LakeResult<BTreeMap<String, i64>> {
        let refs = refs(table.metadata())?.into_iter().filter(|(name, _)| name != MAIN_BRANCH);
        Ok(refs.map(|(name, reference)| (name, reference.snapshot_id)).collect())
    };
    let main = |table: &Table| table.current_snapshot().map(|one| one.snapshot_id());
    let descends = match (main(base), main(head)) {
        (Some(old), Some(new)) => ancestors(head.metadata(), new).any(|one| one.snapshot_id() == old),
        (old, new) => old == new,
    };
    Ok(descends
        && named(base)? == named(head)?
        && plan.snapshots.iter().all(|id| head.metadata().snapshot_by_id(*id).is_some()))
}

/// Removes the references before the snapshots, because a referenced snapshot cannot be removed. The change applies
/// only to this state of the table, so that a snapshot that is tagged concurrently is kept.
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
