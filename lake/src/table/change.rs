//! What a write did: files that exist already and nobody sees yet. Committing it makes them part of the table, all or
//! nothing; leaving it makes them orphans, which maintenance removes.

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

/// The snapshot property by which a commit that was tried twice is known.
pub const KEY_PROPERTY: &str = "orch.key";
/// The try of a task that made a change.
const ATTEMPT: &str = "orch.attempt";

/// A file of the table and the partition spec it was written under.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    pub data: DataFile,
    pub spec_id: i32,
}

/// Which rows a write has read or replaced: no other writer may have touched them meanwhile.
#[derive(Debug, Clone, Default)]
pub enum Region {
    /// It depends on nothing, like an append.
    #[default]
    Nothing,
    /// The rows of a filter.
    Rows(Filter),
    /// The rows with these keys, wherever they are.
    Keys(Arc<Keys>),
    /// The rows with the keys that a merge brings.
    Merge(Arc<Merge>),
    /// All rows of these partitions of a spec.
    Partitions { spec_id: i32, values: HashSet<Struct> },
}

/// A commit that is still to be made.
#[derive(Debug, Clone)]
#[must_use = "what was written is invisible until the change is committed"]
pub struct Change {
    /// What the work was done on.
    pub base: Table,
    pub operation: Operation,
    /// Data files and delete files to be added.
    pub add: Vec<File>,
    /// Data files and delete files to be taken away.
    pub remove: Vec<File>,
    /// Data files that new position deletes point into: they must still be there.
    pub points_into: HashSet<String>,
    pub region: Region,
    /// Compaction: the sequence number of the rows that were rewritten, so that deletes made since still apply.
    pub sequence_number: Option<i64>,
    /// Of the snapshot.
    pub properties: BTreeMap<String, String>,
    /// What else is to change with it; alone, when there is no snapshot to be made.
    pub updates: Vec<TableUpdate>,
    pub requirements: Vec<TableRequirement>,
    /// What a property of the table has to say at the moment of the commit; nothing, if it must not be there.
    pub expects: Option<(String, Option<String>)>,
    pub branch: String,
    /// It is right for the very state it was made of, and is not laid onto another.
    pub base_only: bool,
    /// Pack small manifests together however few they are; alone this makes a snapshot too.
    pub merge_manifests: bool,
    /// The id of the snapshot to come, the same at every try: by it a commit whose answer was lost is found.
    pub(crate) snapshot_id: i64,
}

/// What came of a commit.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The table as it is now.
    pub table: Table,
    /// Of the new snapshot; none where only metadata changed or there was nothing to do.
    pub snapshot_id: Option<i64>,
    /// It had been committed before, by this try or an earlier one with the same key.
    pub already: bool,
    /// How often another writer was faster.
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

    /// A change of metadata alone: schema, spec, references, properties of the table.
    pub fn of_metadata(base: &Table, updates: Vec<TableUpdate>, requirements: Vec<TableRequirement>) -> Self {
        Self { updates, requirements, ..Self::new(base, Operation::Replace) }
    }

    pub fn table(&self) -> &TableName {
        self.base.name()
    }

    /// One more property of the snapshot.
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(key.into(), value.into());
        self
    }

    /// Names the task that made it in the snapshot.
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

    /// Commits at most once under this key: if the table has a snapshot with it, the commit does nothing.
    pub fn once(self, key: impl Into<String>) -> Self {
        self.property(KEY_PROPERTY, key)
    }

    /// Once for the try of the task that made it, if it says so and has no other key. `number` tells it from other changes of the table.
    pub(crate) fn once_of_try(self, number: usize) -> Self {
        let key = self.properties.get(ATTEMPT).map(|attempt| format!("{attempt}/{number}"));
        match key.filter(|_| !self.properties.contains_key(KEY_PROPERTY)) {
            Some(key) => self.once(key),
            None => self,
        }
    }

    /// Sets a property of the table with it, and commits only while that says what it said before. It makes a snapshot even without rows: a catalog
    /// over HTTP refuses a commit for another snapshot that came in between, not for another property.
    pub fn moves(mut self, property: &str, from: Option<&str>, to: String) -> Self {
        self.updates.push(TableUpdate::SetProperties { updates: [(property.to_owned(), to)].into() });
        self.expects = Some((property.to_owned(), from.map(str::to_owned)));
        self
    }

    /// Onto a branch, not onto what readers see by default.
    pub fn onto(mut self, branch: impl Into<String>) -> Self {
        self.branch = branch.into();
        self
    }

    pub fn added_rows(&self) -> u64 {
        let data = self.add.iter().filter(|file| file.is_data());
        data.map(|file| file.data.record_count()).sum()
    }

    /// Is there anything to be done? An append of no rows makes no snapshot unless it [moves](Self::moves) a property.
    pub fn is_empty(&self) -> bool {
        !self.makes_snapshot() && self.updates.is_empty()
    }

    pub(crate) fn makes_snapshot(&self) -> bool {
        !self.add.is_empty() || !self.remove.is_empty() || self.merge_manifests || self.expects.is_some()
    }

    /// Makes it part of the table now. Other writers who were faster are no error as long as what this one read is still
    /// so.
    ///
    /// # Errors
    /// `LakeError::Conflict` if it is not: the work is to be done again.
    #[boxed]
    pub async fn commit(self, lake: &Lake) -> LakeResult<Committed> {
        super::commit::commit(lake, self).await
    }

    /// Leaves it for the transaction that records the success of a task: `ctx.commit(change.step(&lake))`.
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

/// Positive and of 63 random bits, as Iceberg wants it.
fn snapshot_id() -> i64 {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    ((high ^ low) >> 1).cast_signed()
}
