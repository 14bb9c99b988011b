//! Expires old snapshots. The files that only these snapshots referenced are deleted after a delay.

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

/// Options for the expiry of snapshots. A value of `None` falls back to the table properties (`history.expire.…`).
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
    /// Names of the tags and branches that expired.
    pub refs: Vec<String>,
    /// Number of files (data, deletes, manifests) that only expired snapshots referenced. They are deleted after
    /// [`Table::deletion_delay`].
    pub files: u64,
    /// Number of files that this call deleted, including those of earlier expiries.
    pub deleted: u64,
}

impl Table {
    /// Removes old snapshots from the table metadata. Their files become orphans, which [`Lake::remove_orphans`]
    /// deletes.
    ///
    /// # Errors
    /// Returns an error if the table property `gc.enabled` is false.
    pub fn expire(&self, asked: &Expiry, now: DateTime<Utc>) -> LakeResult<Change> {
        Ok(change(self, &plan(self.metadata(), asked, now)?))
    }
}

impl Lake {
    /// Removes old snapshots from a table, and deletes the files of earlier expiries whose delay has passed.
    ///
    /// # Errors
    /// Returns an error if the table property `gc.enabled` is false, the warehouse belongs to another catalog, or a
    /// file cannot be deleted.
    #[boxed]
    pub async fn expire(&self, name: &TableName, asked: &Expiry, now: DateTime<Utc>) -> LakeResult<Expired> {
        self.check_owner().await?;
        // File lists that the last attempt has written. They are deleted if its commit conflicts, and kept if the
        // outcome of the commit is unknown.
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
            // Writers may have committed while the expired files were determined. The plan is still valid if they
            // only added snapshots.
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

/// Returns true if `head` is `base` with additional snapshots on `main`. In this case the expired files are still the
/// same: a new snapshot references only new files and files of its parent.
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

/// Returns a change that removes references before snapshots, because a referenced snapshot cannot be removed. The
/// change is valid only for this table state, so a snapshot that is tagged concurrently is kept.
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
