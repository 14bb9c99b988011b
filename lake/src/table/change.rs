//! The result of a write: files that exist but are not visible yet. A commit makes them part of the table atomically.
//! Without a commit they are orphans, which maintenance deletes.

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
/// Snapshot property with the attempt of the task that made the change.
const ATTEMPT: &str = "orch.attempt";

/// A file of the table and the partition spec it was written under.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    pub data: DataFile,
    pub spec_id: i32,
}

/// Rows that a write has read or replaced. A concurrent change of these rows is a conflict.
#[derive(Debug, Clone, Default)]
pub enum Region {
    /// No rows, as for an append.
    #[default]
    Nothing,
    /// The rows that match a filter.
    Rows(Filter),
    /// The rows with these keys, in any partition.
    Keys(Arc<Keys>),
    /// The rows whose keys are in the source of a merge.
    Merge(Arc<Merge>),
    /// All rows of these partitions of a spec.
    Partitions { spec_id: i32, values: HashSet<Struct> },
}

/// A commit that has not been made yet.
#[derive(Debug, Clone)]
#[must_use = "what was written is invisible until the change is committed"]
pub struct Change {
    /// State of the table from which the change was made.
    pub base: Table,
    pub operation: Operation,
    /// Data files and delete files to be added.
    pub add: Vec<File>,
    /// Data files and delete files to be removed.
    pub remove: Vec<File>,
    /// Data files that the new position deletes refer to. They must still exist at the commit.
    pub points_into: HashSet<String>,
    pub region: Region,
    /// Sequence number of the rewritten rows in a compaction, so that deletes made since still apply.
    pub sequence_number: Option<i64>,
    /// Snapshot properties.
    pub properties: BTreeMap<String, String>,
    /// Metadata updates to commit together with the snapshot, or alone if there is none.
    pub updates: Vec<TableUpdate>,
    pub requirements: Vec<TableRequirement>,
    /// A table property and the value it must have at the commit; `None` if it must not exist.
    pub expects: Option<(String, Option<String>)>,
    pub branch: String,
    /// The change is valid only for its base state and conflicts with any other.
    pub base_only: bool,
    /// Merges small manifests regardless of their number; this creates a snapshot even without file changes.
    pub merge_manifests: bool,
    /// Snapshot id, the same for all retries, by which a commit whose response was lost is found.
    pub(crate) snapshot_id: i64,
}

/// Result of a commit.
#[derive(Debug, Clone)]
pub struct Committed {
    pub table: Table,
    /// The new snapshot. `None` if only metadata changed or there was nothing to do.
    pub snapshot_id: Option<i64>,
    /// True if the change was already committed before, by this attempt or by an earlier one with the same key.
    pub already: bool,
    /// Number of times that another writer committed first.
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

    /// Creates a change of metadata only: schema, spec, references or table properties.
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

    /// Makes the commit idempotent: if the table has a snapshot with this key, the commit does nothing.
    pub fn once(self, key: impl Into<String>) -> Self {
        self.property(KEY_PROPERTY, key)
    }

    /// Makes the commit idempotent per task attempt, if the change has an attempt and no other key. `number`
    /// distinguishes it from other changes of the table.
    pub(crate) fn once_of_try(self, number: usize) -> Self {
        let key = self.properties.get(ATTEMPT).map(|attempt| format!("{attempt}/{number}"));
        match key.filter(|_| !self.properties.contains_key(KEY_PROPERTY)) {
            Some(key) => self.once(key),
            None => self,
        }
    }

    /// Sets a table property in the same commit, which fails if the property has a value other than `from`. Creates a
    /// snapshot even without rows, because a REST catalog rejects a commit after a concurrent snapshot, but not after a
    /// concurrent change of a property.
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

    /// Returns true if there is nothing to commit. An append of no rows makes no snapshot unless it
    /// [moves](Self::moves) a property.
    pub fn is_empty(&self) -> bool {
        !self.makes_snapshot() && self.updates.is_empty()
    }

    pub(crate) fn makes_snapshot(&self) -> bool {
        !self.add.is_empty() || !self.remove.is_empty() || self.merge_manifests || self.expects.is_some()
    }

    /// Commits the change now. Retries if another writer committed first, as long as what this change read is
    /// unchanged.
    ///
    /// # Errors
    /// Returns `LakeError::Conflict` if it has changed; the work must be repeated.
    #[boxed]
    pub async fn commit(self, lake: &Lake) -> LakeResult<Committed> {
        super::commit::commit(lake, self).await
    }

    /// Returns a step that commits the change in the transaction which records the success of the task:
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
