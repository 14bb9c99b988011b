//! Manifests that many small commits left are written anew as few, so that planning a read opens few files. Appends do the
//! same by themselves when there are a hundred (`commit.manifest.min-count-to-merge`).

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

/// How many manifests there were, and are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Merged {
    pub before: usize,
    pub after: usize,
}

impl Table {
    /// Writes the manifests of the current snapshot anew as few. Where there are few, the change is empty.
    #[boxed]
    pub async fn merge_manifests(&self) -> LakeResult<Change> {
        let mut change = Change::new(self, Operation::Replace);
        change.merge_manifests = self.small_manifests().await? > 1;
        Ok(change)
    }

    /// How many small ones could become one, at most.
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
    /// Writes the manifests of a table anew as few.
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
