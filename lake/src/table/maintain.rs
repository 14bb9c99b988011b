//! Table maintenance: compacts files, applies deletes, expires snapshots and their files, merges manifests. It runs
//! concurrently with writers and never makes them fail: a maintenance commit that conflicts is repeated on the new
//! state.

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

/// Maximum number of attempts of maintenance that conflicts with concurrent writers.
const TRIES: u32 = 10;

/// Runs `work` on the current table and commits its change. Repeats both, up to `tries` times in all, if a concurrent
/// commit conflicts. Returns `None` if there was nothing to do.
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

/// Records the task in the snapshot properties of the change.
fn signed(change: Change, by: Option<&Ctx>) -> Change {
    match by {
        Some(ctx) => change.by(ctx),
        None => change,
    }
}

/// Returns true if the work failed because of a concurrent commit: a conflict, or files that are deleted by now.
async fn overtaken(lake: &Lake, base: &Table, error: &LakeError) -> LakeResult<bool> {
    if let LakeError::Conflict { .. } = error {
        return Ok(true);
    }
    let now = lake.table(base.name()).await?;
    Ok(matches!(error, LakeError::Iceberg(_)) && now.metadata_location() != base.metadata_location())
}

impl Table {
    /// Returns a change of columns, partition, properties or references, based on the loaded state. Its commit fails
    /// with a conflict if another writer changed the same; [`Lake::evolve`] retries on the current state.
    ///
    /// # Errors
    /// The evolution contradicts the table.
    pub fn evolve(&self, evolution: impl Into<Evolution>) -> LakeResult<Change> {
        let evolution = evolution.into();
        let metadata = self.metadata();
        Ok(Change::of_metadata(self, evolution.updates(metadata)?, evolution.requirements(metadata)))
    }

    /// Rolls `main` back to one of its ancestors.
    ///
    /// # Errors
    /// The snapshot is not an ancestor. The commit conflicts if another writer committed since the table was loaded,
    /// because that commit would be lost too.
    pub fn roll_back(&self, to: At) -> LakeResult<Change> {
        let from = self.current_snapshot().map(|snapshot| snapshot.snapshot_id());
        self.evolve(Naming::RollBack { to, from })
    }
}

impl Lake {
    /// Changes columns, partition, properties or references of a table and returns the new state.
    ///
    /// # Errors
    /// The evolution contradicts the table.
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
