//! Removes orphans: files that no snapshot references because a writer was killed or its commit failed. The folder is
//! listed before the table is loaded, so every file that was committed before the listing is recognized. Files of
//! writes in progress are protected by a minimum age.
//!
//! The folder may also contain tables of other catalogs. Files that the newest metadata file of any table references
//! are kept.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use iceberg::spec::TableMetadata;
use uuid::Uuid;

use super::{expired, reach};
use crate::{
    boxed,
    bucket::Entry,
    error::{LakeError, LakeResult},
    lake::Lake,
    plain_location,
    table::{Table, TableName},
};

/// Extension of table metadata files. All engines use the same one.
const METADATA: &str = ".metadata.json";

/// Minimum age of removable files, longer than any write takes. Only `nobody_writes` allows a shorter age.
const SAFE: TimeDelta = TimeDelta::days(1);

/// Options that select the orphaned files to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphans {
    older_than: TimeDelta,
    only_count: bool,
}

impl Default for Orphans {
    /// Selects orphans that are at least three days old.
    fn default() -> Self {
        Self { older_than: TimeDelta::days(3), only_count: false }
    }
}

impl Orphans {
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects files that were written longer ago than `age`.
    ///
    /// # Errors
    /// Returns an error if the age is less than one day, because a running write could be that old.
    pub fn older_than(self, age: TimeDelta) -> LakeResult<Self> {
        if age < SAFE {
            let what = format!("orphans of {} minutes may belong to a write that is under way", age.num_minutes());
            return Err(LakeError::input(what, "wait a day, or say `nobody_writes` if that is so"));
        }
        Ok(Self { older_than: age, ..self })
    }

    /// Selects all orphans regardless of age. Only safe if no engine is writing to the table: files of a write in
    /// progress would be deleted.
    #[must_use]
    pub fn nobody_writes(self) -> Self {
        Self { older_than: TimeDelta::zero(), ..self }
    }

    /// Counts the orphans without removing them.
    #[must_use]
    pub fn only_count(self) -> Self {
        Self { only_count: true, ..self }
    }
}

/// Number and size of the removed files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    pub files: u64,
    pub bytes: u64,
}

impl Lake {
    /// Removes files in the folder of a table that no snapshot references.
    ///
    /// # Errors
    /// Returns an error if the warehouse belongs to another catalog, the folder contains the folder of another table,
    /// or the table property `gc.enabled` is false.
    #[boxed]
    pub async fn remove_orphans(&self, name: &TableName, asked: &Orphans, now: DateTime<Utc>) -> LakeResult<Removed> {
        self.check_owner().await?;
        let table = self.table(name).await?;
        let location = table.metadata().location().trim_end_matches('/').to_owned();
        if !table.metadata().table_properties()?.gc_enabled {
            let what = format!("files of table `{name}` must not be removed: its property `gc.enabled` is false");
            return Err(LakeError::input(
                what,
                "they belong to another table too; clean that one, or set the property",
            ));
        }
        table.check_location()?;
        self.lives_alone(name, &location).await?;

        let before = reach::of_table(table.iceberg()).await?;
        let bucket = self.bucket(&location)?;
        let listed: Vec<_> = bucket.list("").try_collect().await?;
        // The table is loaded after the listing, so that this state references all files committed before the
        // listing.
        let table = self.table(name).await?;
        let after = reach::of_table(table.iceberg()).await?;
        let located = |entry: &Entry| bucket.location(&entry.key);
        let paths: HashSet<String> = listed.iter().map(|entry| plain_location(&located(entry))).collect();
        let folder = format!("{}/", plain_location(&location));
        let seen = |path: &&String| paths.contains(&plain_location(path)) || !plain_location(path).starts_with(&folder);
        if let Some(path) = before.intersection(&after).find(|path| !seen(path)) {
            // Stops because a live file is missing from the listing. The file is lost, or the object store lists it
            // under a different name. In the latter case other live files would look like orphans too.
            let what = format!("`{path}` is part of table `{name}` and was not found in its folder");
            return Err(LakeError::input(what, "nothing was removed; look what became of the file"));
        }
        let mut kept: HashSet<String> = after.iter().map(|path| plain_location(path)).collect();
        for list in table.expired_files_of_all().await? {
            kept.extend(table.read_expired_files(&list).await?.iter().map(|path| plain_location(path)));
        }
        let is_kept = |path: &String, kept: &HashSet<String>| kept.contains(&plain_location(path));
        let mut others: Vec<&Entry> = listed.iter().filter(|entry| entry.key.ends_with(METADATA)).collect();
        others.retain(|entry| !is_kept(&located(entry), &kept));
        others.sort_by_key(|entry| std::cmp::Reverse(entry.modified));
        let others = others.into_iter().map(located).collect();
        kept.extend(self.reached_by_others(&table, others).await?.iter().map(|path| plain_location(path)));

        let youngest = now - asked.older_than;
        let lists = format!("{}/", expired::FOLDER);
        let orphans = listed.into_iter().filter(|entry| entry.modified <= youngest && !entry.key.starts_with(&lists));
        let orphans: Vec<Entry> = orphans.filter(|entry| !is_kept(&located(entry), &kept)).collect();
        let removed = Removed { files: orphans.len() as u64, bytes: orphans.iter().map(|entry| entry.bytes).sum() };
        if !asked.only_count {
            let paths: Vec<String> = orphans.iter().map(located).collect();
            self.io().delete_stream(futures::stream::iter(paths)).await?;
        }
        Ok(removed)
    }

    /// Returns the files that the newest metadata file of each foreign table references. A metadata file is foreign
    /// if `table` does not reference it. It belongs to a table of another catalog, or to a newer state of this table
    /// than its catalog has after a restore from a backup.
    async fn reached_by_others(&self, table: &Table, metadata_files: Vec<String>) -> LakeResult<HashSet<String>> {
        let mut newest: HashMap<Uuid, (i64, String, TableMetadata)> = HashMap::new();
        let own = table.metadata();
        let mut known: HashSet<String> = HashSet::new();
        for location in metadata_files {
            if known.contains(&plain_location(&location)) {
                continue;
            }
            // A file that cannot be parsed as table metadata protects no files.
            let Ok(metadata) = TableMetadata::read_from(self.io(), &location).await else { continue };
            // Skips older metadata files of the same table.
            known.extend(metadata.metadata_log().iter().map(|log| plain_location(&log.metadata_file)));
            let written_at = metadata.last_updated_ms();
            if metadata.uuid() == own.uuid() && written_at <= own.last_updated_ms() {
                continue;
            }
            if newest.get(&metadata.uuid()).is_none_or(|(at, ..)| *at < written_at) {
                newest.insert(metadata.uuid(), (written_at, location, metadata));
            }
        }
        let mut reached = HashSet::new();
        for (_, location, metadata) in newest.into_values() {
            let other = Table::new(self, table.name(), &location, Arc::new(metadata))?;
            reached.extend(reach::of_table(other.iceberg()).await?);
        }
        Ok(reached)
    }

    /// Fails if the table's folder contains the folder of another table, because all files of that table would look
    /// like orphans.
    async fn lives_alone(&self, name: &TableName, location: &str) -> LakeResult<()> {
        let folder = format!("{}/", plain_location(location));
        for other in self.tables(None).await? {
            if other == *name {
                continue;
            }
            let Some(table) = self.find(&other).await? else { continue };
            if format!("{}/", plain_location(table.metadata().location()).trim_end_matches('/')).starts_with(&folder) {
                let what = format!("table `{other}` is in the folder of `{name}`, `{location}`");
                return Err(LakeError::input(what, "move one of them; none of its files can be told from orphans"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn young_orphans_are_refused() {
        assert!(Orphans::new().older_than(TimeDelta::hours(23)).is_err());
        assert!(Orphans::new().older_than(TimeDelta::hours(24)).is_ok());
    }
}
