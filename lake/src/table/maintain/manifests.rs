//! Merges the manifests that many small commits have written, so that planning a read opens fewer files. Appends do
//! the same when there are 100 small manifests (`commit.manifest.min-count-to-merge`).

use std::collections::BTreeMap;

use iceberg::spec::Operation;
use orch_sdk::task::Ctx;

use super::{TRIES, signed, until_committed};
use crate::{
    boxed,
    error::LakeResult,
    lake::Lake,
    table::commit::{is_small, target_bytes},
    table::{Change, Table, TableName},
};

/// Number of manifests before and after a merge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Merged {
    pub before: usize,
    pub after: usize,
}

impl Table {
    /// Merges the small manifests of the current snapshot. The returned change is empty if there are fewer than two.
    #[boxed]
    pub async fn merge_manifests(&self) -> LakeResult<Change> {
        let mut change = Change::new(self, Operation::Replace);
        change.merge_manifests = self.small_manifests().await? > 1;
        Ok(change)
    }

    /// Returns the number of small manifests of the most frequent kind. Only manifests of the same kind can be
    /// merged.
    pub(super) async fn small_manifests(&self) -> LakeResult<usize> {
        let Some(current) = self.current_snapshot() else { return Ok(0) };
        let list = self.lake().cache().list(self.iceberg(), current).await?;
        let target = target_bytes(self);
        let mut kinds: BTreeMap<(i32, i32), usize> = BTreeMap::new();
        for manifest in list.entries().iter().filter(|manifest| is_small(manifest, target)) {
            *kinds.entry((manifest.content as i32, manifest.partition_spec_id)).or_default() += 1;
        }
        Ok(kinds.into_values().max().unwrap_or_default())
    }

    async fn count_manifests(&self) -> LakeResult<usize> {
        let Some(current) = self.current_snapshot() else { return Ok(0) };
        Ok(self.lake().cache().list(self.iceberg(), current).await?.entries().len())
    }
}

impl Lake {
    #[boxed]
    pub async fn merge_manifests(&self, name: &TableName) -> LakeResult<Merged> {
        self.merge_manifests_by(name, None).await
    }

    pub(super) async fn merge_manifests_by(&self, name: &TableName, by: Option<&Ctx>) -> LakeResult<Merged> {
        let merged = until_committed(self, name, TRIES, |base: Table| async move {
            let change = signed(base.merge_manifests().await?, by);
            Ok((!change.is_empty()).then_some((change, ())))
        });
        match merged.await? {
            None => Ok(Merged::default()),
            Some((before, after, ())) => {
                Ok(Merged { before: before.count_manifests().await?, after: after.count_manifests().await? })
            }
        }
    }
}
