//! Table maintenance: compacts files, applies deletes, expires snapshots and their files, and merges manifests.
//! Maintenance runs concurrently with writers and never makes their commits fail. If a maintenance commit conflicts,
//! the work is repeated on the new table state.

mod compact;
mod compact_plan;
mod expire;
mod expire_plan;
mod expired;
mod manifests;
mod orphans;
mod purge;
mod reach;
mod statistics;
mod upkeep;

pub use compact::Compacted;
pub use compact_plan::{Compaction, Share};
pub use expire::{Expired, Expiry};
pub use manifests::Merged;
pub use orphans::{Orphans, Removed};
pub use statistics::{PartitionStatistics, Statistics};
pub use upkeep::{Upkeep, UpkeepReport};

use super::evolve::{Evolution, Naming};
use super::{At, Change, Table, TableName};
use crate::error::{LakeError, LakeResult};
use crate::lake::Lake;
use orch_sdk::task::Ctx;

/// Maximum number of attempts when maintenance conflicts with concurrent writers.
const TRIES: u32 = 10;

/// Runs `work` on the current state of the table and commits the resulting change. If the commit conflicts with a
/// concurrent one, repeats both, up to `tries` attempts in total. Returns `None` if `work` found nothing to do.
pub(crate) async fn until_committed<T, W: Future<Output = LakeResult<Option<(Change, T)>>>>(
    lake: &Lake,
    name: &TableName,
    tries: u32,
    mut work: impl FnMut(Table) -> W,
) -> LakeResult<Option<(Table, Table, T)>> {
    let mut tried = 1;
    loop {
        let base = lake.table(name).await?;
        let done = match work(base.clone()).await {
            Ok(None) => return Ok(None),
            Ok(Some((change, told))) => change.commit(lake).await.map(|committed| (committed.table, told)),
            Err(error) => Err(error),
        };
        match done {
            Ok((now, told)) => return Ok(Some((base, now, told))),
            Err(error) if tried < tries && overtaken(lake, &base, &error).await? => tried += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Records the task in the snapshot properties of the change, if there is a task.
fn signed(change: Change, by: Option<&Ctx>) -> Change {
    match by {
        Some(ctx) => change.by(ctx),
        None => change,
    }
}

/// Returns true if the error was caused by a concurrent commit: a conflict, or a file that has been deleted in the
/// meantime.
async fn overtaken(lake: &Lake, base: &Table, error: &LakeError) -> LakeResult<bool> {
    if let LakeError::Conflict { .. } = error {
        return Ok(true);
    }
    let now = lake.table(base.name()).await?;
    Ok(matches!(error, LakeError::Iceberg(_)) && now.metadata_location() != base.metadata_location())
}

impl Table {
    /// Returns a change of columns, partitioning, properties or references, based on the loaded table state. The
    /// commit conflicts if another writer changed the same element. [`Lake::evolve`] retries on the current state
    /// instead.
    ///
    /// # Errors
    /// Returns an error if the table does not allow the change.
    pub fn evolve(&self, evolution: impl Into<Evolution>) -> LakeResult<Change> {
        let evolution = evolution.into();
        let metadata = self.metadata();
        Ok(Change::of_metadata(self, evolution.updates(metadata)?, evolution.requirements(metadata)))
    }

    /// Returns a change that moves `main` back to one of its ancestor snapshots. The commit conflicts if another
    /// writer committed since the table was loaded, because the rollback would discard that commit too.
    ///
    /// # Errors
    /// Returns an error if the snapshot is not an ancestor.
    pub fn roll_back(&self, to: At) -> LakeResult<Change> {
        let from = self.current_snapshot().map(|snapshot| snapshot.snapshot_id());
        self.evolve(Naming::RollBack { to, from })
    }
}

impl Lake {
    /// Changes columns, partitioning, properties or references of a table, and returns the new table state.
    ///
    /// # Errors
    /// Returns an error if the table does not allow the change.
    pub async fn evolve(&self, name: &TableName, evolution: impl Into<Evolution>) -> LakeResult<Table> {
        let evolution = &evolution.into();
        let changed = until_committed(self, name, TRIES, |base: Table| async move {
            let change = base.evolve(evolution.clone())?;
            Ok((!change.is_empty()).then_some((change, ())))
        });
        match changed.await? {
            Some((_, table, ())) => Ok(table),
            None => self.table(name).await,
        }
    }
}
