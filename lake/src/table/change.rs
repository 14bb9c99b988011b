//! The result of a write: new files that are not visible to readers until a commit adds them to the table atomically.
//! Files that are never committed are orphans, and maintenance deletes them.

use crate::{
    boxed,
    error::LakeResult,
    lake::Lake,
    table::keys::Keys,
    table::{Filter, Merge, Table, TableName},
};
use iceberg::spec::{DataFile, MAIN_BRANCH, Operation, Struct};
use iceberg::{TableRequirement, TableUpdate};
use orch_sdk::task::Ctx;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// Snapshot property with the idempotency key of a commit.
pub const KEY_PROPERTY: &str = "orch.key";
/// Snapshot property that records which task attempt made the change.
const ATTEMPT: &str = "orch.attempt";

/// A data or delete file together with the partition spec under which it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    pub data: DataFile,
    pub spec_id: i32,
}

/// The rows that a write has read or replaced. Another writer's change to these rows causes a conflict.
#[derive(Debug, Clone, Default)]
pub enum Region {
    /// No rows. An append reads and replaces nothing.
    #[default]
    Nothing,
    /// The rows that match a filter.
    Rows(Filter),
    /// The rows with these keys, in any partition.
    Keys(Arc<Keys>),
    /// The rows whose keys occur in the source table of a merge.
    Merge(Arc<Merge>),
    /// All rows in these partitions of one partition spec.
    Partitions { spec_id: i32, values: HashSet<Struct> },
}

/// A table change that is prepared but not committed.
#[derive(Debug, Clone)]
#[must_use = "what was written is invisible until the change is committed"]
pub struct Change {
    /// Table state on which the change is based.
    pub base: Table,
    pub operation: Operation,
    /// Data files and delete files to be added.
    pub add: Vec<File>,
    /// Data files and delete files to be removed.
    pub remove: Vec<File>,
    /// Data files that the new position deletes refer to. The commit fails if one of them no longer exists.
    pub points_into: HashSet<String>,
    pub region: Region,
    /// Sequence number for rows rewritten by a compaction. Keeping the old number ensures that deletes committed
    /// during the compaction still apply.
    pub sequence_number: Option<i64>,
    /// Snapshot properties.
    pub properties: BTreeMap<String, String>,
    /// Metadata updates that are committed together with the snapshot. If there is no snapshot, they are committed
    /// alone.
    pub updates: Vec<TableUpdate>,
    pub requirements: Vec<TableRequirement>,
    /// A table property and its required value at the time of the commit. The value `None` requires that it is not
    /// set.
    pub expects: Option<(String, Option<String>)>,
    pub branch: String,
    /// If true, the change can be committed only onto its base state. Any concurrent commit is a conflict.
    pub base_only: bool,
    /// If true, small manifests are merged even if there are few. The merge creates a snapshot even if no files
    /// changed.
    pub merge_manifests: bool,
    /// Snapshot id, which stays the same for all retries. If the response of a commit was lost, the commit can be
    /// found by this id.
    pub(crate) snapshot_id: i64,
}

/// Result of a commit.
#[derive(Debug, Clone)]
pub struct Committed {
    pub table: Table,
    /// Id of the new snapshot. `None` if only metadata changed or there was nothing to commit.
    pub snapshot_id: Option<i64>,
    /// True if the change had already been committed by this attempt or an earlier one with the same idempotency key.
    pub already: bool,
    /// Number of lost races, in which another writer committed first.
    pub retries: u32,
}

impl Change {
    pub(crate) fn new(base: &Table, operation: Operation) -> Self {
        Self {
            base: base.clone(),
            operation,
            add: vec![],
            remove: vec![],
            points_into: HashSet::new(),
            region: Region::default(),
            sequence_number: None,
            properties: BTreeMap::new(),
            updates: vec![],
            requirements: vec![],
            expects: None,
            branch: MAIN_BRANCH.to_owned(),
            base_only: false,
            merge_manifests: false,
            snapshot_id: snapshot_id(),
        }
    }

    /// Creates a change that touches only metadata: schema, partition spec, references or table properties.
    pub fn of_metadata(base: &Table, updates: Vec<TableUpdate>, requirements: Vec<TableRequirement>) -> Self {
        Self { updates, requirements, ..Self::new(base, Operation::Replace) }
    }

    pub fn table(&self) -> &TableName {
        self.base.name()
    }

    /// Adds a snapshot property.
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(key.into(), value.into());
        self
    }

    /// Records the task that made the change in the snapshot.
    pub fn by(self, ctx: &Ctx) -> Self {
        let change = self
            .property("orch.dag_id", ctx.dag_id())
            .property("orch.run_id", ctx.run_id())
            .property("orch.task_id", ctx.task_id())
            .property("orch.try_number", ctx.try_number().to_string())
            .property(ATTEMPT, ctx.attempt().to_string());
        match ctx.map_index() {
            Some(index) => change.property("orch.map_index", index.to_string()),
            None => change,
        }
    }

    /// Makes the commit idempotent: if the table already has a snapshot with this key, the commit does nothing.
    pub fn once(self, key: impl Into<String>) -> Self {
        self.property(KEY_PROPERTY, key)
    }

    /// Makes the commit idempotent per task attempt, unless the change has no attempt or already has a key. `number`
    /// distinguishes several changes of the same table in one attempt.
    pub(crate) fn once_of_try(self, number: usize) -> Self {
        let key = self.properties.get(ATTEMPT).map(|attempt| format!("{attempt}/{number}"));
        match key.filter(|_| !self.properties.contains_key(KEY_PROPERTY)) {
            Some(key) => self.once(key),
            None => self,
        }
    }

    /// Sets a table property in the same commit. The commit fails if the current value of the property is not `from`.
    /// Always creates a snapshot, even without rows: a REST catalog detects a concurrent snapshot but not a
    /// concurrent property change.
    pub fn moves(mut self, property: &str, from: Option<&str>, to: String) -> Self {
        self.updates.push(TableUpdate::SetProperties { updates: [(property.to_owned(), to)].into() });
        self.expects = Some((property.to_owned(), from.map(str::to_owned)));
        self
    }

    /// Commits onto a branch instead of `main`.
    pub fn onto(mut self, branch: impl Into<String>) -> Self {
        self.branch = branch.into();
        self
    }

    pub fn added_rows(&self) -> u64 {
        let data = self.add.iter().filter(|file| file.is_data());
        data.map(|file| file.data.record_count()).sum()
    }

    /// Returns true if there is nothing to commit. An append without rows creates a snapshot only if it
    /// [moves](Self::moves) a property.
    pub fn is_empty(&self) -> bool {
        !self.makes_snapshot() && self.updates.is_empty()
    }

    pub(crate) fn makes_snapshot(&self) -> bool {
        !self.add.is_empty() || !self.remove.is_empty() || self.merge_manifests || self.expects.is_some()
    }

    /// Commits the change. If another writer committed first, retries as long as the rows that this change read are
    /// unchanged.
    ///
    /// # Errors
    /// Returns `LakeError::Conflict` if these rows have changed. The caller must then repeat the work.
    #[boxed]
    pub async fn commit(self, lake: &Lake) -> LakeResult<Committed> {
        super::commit::commit(lake, self).await
    }

    /// Returns a step that commits the change in the transaction that records the task's success:
    /// `ctx.commit(change.step(&lake))`.
    pub fn step(self, lake: &Lake) -> super::step::CommitStep {
        super::step::CommitStep::new(lake, vec![self])
    }
}

impl File {
    pub fn path(&self) -> &str {
        self.data.file_path()
    }

    pub fn is_data(&self) -> bool {
        self.data.content_type() == iceberg::spec::DataContentType::Data
    }
}

/// Returns a positive random 63-bit number, as Iceberg requires.
fn snapshot_id() -> i64 {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    ((high ^ low) >> 1).cast_signed()
}
