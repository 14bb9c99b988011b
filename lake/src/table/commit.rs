//! Commits a table change with optimistic concurrency control. Applies the change to the current table state, writes
//! the new metadata files, and requests a compare-and-swap from the catalog. If another writer committed first, the
//! conflict check runs again on the new state before each retry. If the response of a commit was lost, the commit is
//! found by its snapshot id.

mod conflict;
mod manifests;
mod snapshot;
mod summary;

use super::change::KEY_PROPERTY;
use super::{Change, Committed, Table, TableName};
use crate::catalog::{Swap, Swapped};
use crate::error::{LakeError, LakeResult};
use crate::lake::Lake;
use futures::future::{join_all, try_join};
use iceberg::spec::{SnapshotRef, TableMetadata};
use iceberg::util::snapshot::ancestors_of;
use iceberg::{MetadataLocation, TableRequirement, TableUpdate};
use std::str::FromStr as _;
use std::time::Duration;
use uuid::Uuid;

/// Default maximum number of retries when other writers commit first. Overridden by the table property
/// `commit.retry.num-retries`.
const RETRIES: u32 = 100;
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// A commit whose files are written but whose compare-and-swap was not requested yet.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    table: TableName,
    base: String,
    location: String,
    metadata: TableMetadata,
    updates: Vec<TableUpdate>,
    requirements: Vec<TableRequirement>,
    /// Files that are deleted if the commit fails.
    files: Vec<String>,
}

impl Staged {
    pub(crate) fn swap(&self) -> Swap<'_> {
        Swap {
            table: &self.table,
            base: &self.base,
            next: &self.location,
            requirements: &self.requirements,
            updates: &self.updates,
        }
    }

    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Deletes the files of a commit that failed. If a file cannot be deleted, it is left to orphan removal.
    pub(crate) async fn discard(self, lake: &Lake) {
        let removed = self.files.iter().map(|file| async move {
            if let Err(error) = lake.io().delete(file).await {
                tracing::debug!(file, %error, "a file of a commit that did not come about stays behind");
            }
        });
        join_all(removed).await;
    }

    /// Returns the table state after the commit.
    pub(crate) fn table(&self, lake: &Lake) -> LakeResult<Table> {
        let metadata = lake.cache().keep_metadata(&self.location, self.metadata.clone());
        Table::new(lake, &self.table, &self.location, metadata)
    }
}

pub(crate) async fn commit(lake: &Lake, change: Change) -> LakeResult<Committed> {
    lake.check_owner_of_commit().await?;
    let snapshot_id = change.makes_snapshot().then_some(change.snapshot_id);
    let retries = retries(&change.base);
    let mut head = if change.base.is_past { change.base.refresh().await? } else { change.base.clone() };
    let mut staged_at: Vec<String> = vec![];
    let mut unknown = None;
    for attempt in 0..=retries {
        if attempt > 0 {
            tokio::time::sleep(pause(attempt)).await;
            head = match head.refresh().await {
                Ok(head) => head,
                Err(LakeError::NoTable { .. }) => return Err(LakeError::conflict(change.table(), "it is gone")),
                Err(error) => return Err(error),
            };
        }
        if let EarlierCommit::Committed(snapshot_id) = find_earlier_commit(&change, &staged_at, &head) {
            let is_of_this = head.metadata().snapshot_by_id(change.snapshot_id).is_some();
            let already = !is_of_this && !staged_at.iter().any(|location| seen(&head, location));
            return Ok(Committed { snapshot_id, already, table: head, retries: attempt });
        }
        if change.is_empty() {
            return Ok(Committed { snapshot_id: None, already: false, table: head, retries: attempt });
        }
        conflict::check(&change, &head).await?;
        let staged = stage(&change, &head).await?;
        match lake.catalog().swap(&staged.swap()).await {
            Ok(Swapped::Done(written)) => {
                let table = match written {
                    Some(written) => lake.located(change.table(), written).await?,
                    None => staged.table(lake)?,
                };
                return Ok(Committed { table, snapshot_id, already: false, retries: attempt });
            }
            Ok(Swapped::Moved) => staged.discard(lake).await,
            Err(refusal) if refusal.is_fatal() => {
                staged.discard(lake).await;
                return Err(refusal);
            }
            // The commit may have succeeded, so its files are kept. The next refresh of the table shows whether it
            // did.
            Err(error) => {
                tracing::warn!(table = %change.table(), %error, "whether a commit was done is not known: looking again");
                staged_at.push(staged.location);
                unknown = Some(error);
            }
        }
    }
    Err(unknown.unwrap_or_else(|| {
        LakeError::conflict(change.table(), format!("others were faster {} times in a row", retries + 1))
    }))
}

/// Applies the change to a table state and writes all files of the commit. Does not request the compare-and-swap.
pub(crate) async fn stage(change: &Change, base: &Table) -> LakeResult<Staged> {
    let lake = base.lake();
    for requirement in &change.requirements {
        let checked = requirement.check(Some(base.metadata()));
        checked.map_err(|error| LakeError::conflict(change.table(), error.message().to_owned()))?;
    }
    let mut builder = base.metadata().clone().into_builder(Some(base.metadata_location().to_owned()));
    for update in &change.updates {
        builder = update.clone().apply(builder)?;
    }
    let (mut files, mut list) = (vec![], None);
    if change.makes_snapshot() {
        let made = snapshot::make(change, base).await?;
        (files, list) = (made.files, Some(made.list));
        builder = builder.set_branch_snapshot(made.snapshot, &change.branch)?;
    }
    let built = builder.build()?;
    let location = match MetadataLocation::from_str(&file_before(base, &built.metadata)) {
        Ok(before) => before.with_next_version().with_new_metadata(&built.metadata),
        // The current metadata file was named by another writer, and its name does not match the pattern of iceberg.
        Err(_) => MetadataLocation::new_with_metadata(built.metadata.location(), &built.metadata),
    };
    let write_list = async {
        match list {
            Some(list) => Ok(list.close().await?),
            None => LakeResult::Ok(()),
        }
    };
    if lake.catalog().writes_metadata() {
        write_list.await?;
    } else {
        try_join(write_list, lake.write_metadata(&built.metadata, &location)).await?;
        files.push(location.to_string());
    }
    let mut requirements = change.requirements.clone();
    requirements.push(TableRequirement::UuidMatch { uuid: base.metadata().uuid() });
    if change.makes_snapshot() {
        let snapshot_id = branch_head(base.metadata(), &change.branch).map(|head| head.snapshot_id());
        requirements.push(TableRequirement::RefSnapshotIdMatch { r#ref: change.branch.clone(), snapshot_id });
    }
    Ok(Staged {
        table: change.table().clone(),
        base: base.metadata_location().to_owned(),
        location: location.to_string(),
        metadata: built.metadata,
        updates: built.changes,
        requirements,
        files,
    })
}

/// Returns the path of the current metadata file as if it were in the folder of the next one. If a table moves, its
/// metadata is written to the new folder from then on, because [`Lake::locations_of`] trusts only the path of the
/// metadata file.
fn file_before(base: &Table, next: &TableMetadata) -> String {
    let before = base.metadata_location();
    if next.location() == base.metadata().location() {
        return before.to_owned();
    }
    let file = before.rsplit_once('/').map_or(before, |(_, file)| file);
    format!("{}/metadata/{file}", next.location().trim_end_matches('/'))
}

pub(crate) use conflict::check as check_conflicts;
pub(crate) use manifests::{is_small, target_bytes};
pub(crate) use snapshot::now;

/// Returns the parent snapshot for a commit onto a branch. A new branch starts at the current snapshot.
pub(crate) fn branch_head<'a>(metadata: &'a TableMetadata, branch: &str) -> Option<&'a SnapshotRef> {
    metadata.snapshot_for_ref(branch).or_else(|| metadata.current_snapshot())
}

/// Result of the search for an earlier commit of the same change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EarlierCommit {
    Nothing,
    /// The change was committed. Contains its snapshot id, or `None` if it creates no snapshot.
    Committed(Option<i64>),
}

/// Searches the table for an earlier commit of the change, by its snapshot id, idempotency key, or staged metadata
/// file.
pub(crate) fn find_earlier_commit(change: &Change, staged_at: &[String], head: &Table) -> EarlierCommit {
    if head.metadata().snapshot_by_id(change.snapshot_id).is_some() {
        return EarlierCommit::Committed(Some(change.snapshot_id));
    }
    if let (Some(key), Some(newest)) =
        (change.properties.get(KEY_PROPERTY), branch_head(head.metadata(), &change.branch))
    {
        let with_key = ancestors_of(&head.metadata_ref(), newest.snapshot_id())
            .find(|snapshot| snapshot.summary().additional_properties.get(KEY_PROPERTY) == Some(key));
        return with_key
            .map_or(EarlierCommit::Nothing, |snapshot| EarlierCommit::Committed(Some(snapshot.snapshot_id())));
    }
    if !change.makes_snapshot() && staged_at.iter().any(|location| seen(head, location)) {
        return EarlierCommit::Committed(None);
    }
    EarlierCommit::Nothing
}

/// Returns true if the location is a current or former metadata file of the table.
fn seen(head: &Table, location: &str) -> bool {
    head.metadata_location() == location
        || head.metadata().metadata_log().iter().any(|before| before.metadata_file == location)
}

pub(crate) fn retries(table: &Table) -> u32 {
    table.property("commit.retry.num-retries").and_then(|number| number.parse().ok()).unwrap_or(RETRIES)
}

/// Returns a random retry delay (full jitter). Its upper bound doubles with each attempt, up to `LONGEST_PAUSE`.
pub(crate) fn pause(attempt: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << attempt.min(10)).min(LONGEST_PAUSE);
    let random = Uuid::new_v4().as_u128() as u64;
    Duration::from_nanos(random % longest.as_nanos() as u64)
}
