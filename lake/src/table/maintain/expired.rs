//! Deletes files that only expired snapshots reference. They are deleted after a delay, because queries that were
//! planned before the expiry still read them.
//!
//! An expiry writes the paths of these files to list files before it commits, so that a crash cannot lose them. The
//! name of a list starts with the time from which its files may be deleted. If the commit of an expiry failed, its
//! list contains files that the table still references, so each path is checked against the table before it is
//! deleted.

use super::reach;
use crate::boxed;
use crate::bucket::Bucket;
use crate::error::{LakeError, LakeResult};
use crate::lake::Lake;
use crate::plain_location;
use crate::table::{Table, TableName};
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use std::collections::HashSet;
use uuid::Uuid;

/// Folder for lists of expired files, below the table's folder. Each table has its own subfolder, named by its UUID,
/// because tables of two catalogs may share a folder.
pub(super) const FOLDER: &str = "expired";
/// Maximum number of paths in one list file, about 2 MB.
const MAX_PATHS: usize = 10_000;
/// Table property with the delay between an expiry and the deletion of its files, in hours.
const DELETE_AFTER: &str = "orch.upkeep.delete-after-hours";
const DEFAULT_HOURS: i64 = 24;
const MIN_HOURS: i64 = 6;

pub(super) struct ExpiredFiles {
    key: String,
    delete_at: DateTime<Utc>,
}

impl Table {
    /// Returns the delay between an expiry and the deletion of the files that only expired snapshots reference. It is
    /// set by the table property `orch.upkeep.delete-after-hours`. Default: one day.
    ///
    /// # Errors
    /// Returns an error if the property is not a whole number of at least 6.
    pub fn deletion_delay(&self) -> LakeResult<TimeDelta> {
        let Some(text) = self.property(DELETE_AFTER) else { return Ok(TimeDelta::hours(DEFAULT_HOURS)) };
        let hours = text.parse::<u16>().ok().map(i64::from).filter(|hours| *hours >= MIN_HOURS);
        let hint = "write a whole number of hours, at least 6: a query may run for hours";
        hours.map(TimeDelta::hours).ok_or_else(|| self.unreadable(DELETE_AFTER, text, hint))
    }

    fn expired_folder(&self) -> String {
        format!("{FOLDER}/{}", self.metadata().uuid())
    }

    fn expired_bucket(&self) -> LakeResult<Bucket> {
        self.check_location()?;
        Ok(self.lake().bucket(self.metadata().location().trim_end_matches('/'))?)
    }

    /// Writes the paths of expired files to list files, and returns the keys of the lists. The files may be deleted
    /// from `delete_at` on.
    pub(super) async fn list_expired_files(
        &self,
        paths: &[String],
        delete_at: DateTime<Utc>,
    ) -> LakeResult<Vec<String>> {
        let bucket = self.expired_bucket()?;
        let mut keys = Vec::new();
        for paths in paths.chunks(MAX_PATHS) {
            let name = format!("{:015}-{}.json", delete_at.timestamp_millis(), Uuid::new_v4().simple());
            let key = format!("{}/{name}", self.expired_folder());
            bucket.put(&key, serde_json::to_vec(paths).unwrap_or_default()).await?;
            keys.push(key);
        }
        Ok(keys)
    }

    /// Deletes the list files of an expiry whose commit failed.
    pub(super) async fn delete_expired_lists(&self, keys: Vec<String>) -> LakeResult<()> {
        let bucket = self.expired_bucket()?;
        for key in keys {
            bucket.delete(&key).await?;
        }
        Ok(())
    }

    /// Returns the lists of expired files of this table that still have to be deleted.
    pub(super) async fn expired_files(&self) -> LakeResult<Vec<ExpiredFiles>> {
        self.expired_files_in(&self.expired_folder()).await
    }

    /// Returns the lists of expired files of all tables that share this table's folder.
    pub(super) async fn expired_files_of_all(&self) -> LakeResult<Vec<ExpiredFiles>> {
        self.expired_files_in(FOLDER).await
    }

    async fn expired_files_in(&self, folder: &str) -> LakeResult<Vec<ExpiredFiles>> {
        let entries: Vec<_> = self.expired_bucket()?.list(folder).try_collect().await?;
        Ok(entries.into_iter().filter_map(|entry| ExpiredFiles::parse(entry.key)).collect())
    }

    pub(super) async fn read_expired_files(&self, list: &ExpiredFiles) -> LakeResult<Vec<String>> {
        let bucket = self.expired_bucket()?;
        serde_json::from_slice(&bucket.get(&list.key).await?).map_err(|error| {
            let what = format!("`{}` is not a list of expired files: {error}", bucket.location(&list.key));
            LakeError::input(what, "delete it; the files that it named are then removed as orphans")
        })
    }
}

impl ExpiredFiles {
    fn parse(key: String) -> Option<ExpiredFiles> {
        let (millis, _) = key.rsplit('/').next()?.split_once('-')?;
        let delete_at = DateTime::from_timestamp_millis(millis.parse().ok()?)?;
        Some(ExpiredFiles { key, delete_at })
    }

    pub(super) fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.delete_at <= now
    }
}

impl Lake {
    /// Deletes the files of earlier expiries whose delay has passed, and returns the number of deleted files.
    ///
    /// # Errors
    /// Returns an error if the warehouse belongs to another catalog, or a file cannot be read or deleted. The next
    /// call resumes the work.
    #[boxed]
    pub async fn delete_expired(&self, name: &TableName, now: DateTime<Utc>) -> LakeResult<u64> {
        let lists = self.table(name).await?.expired_files().await?;
        let due: Vec<ExpiredFiles> = lists.into_iter().filter(|list| list.is_due(now)).collect();
        if due.is_empty() {
            return Ok(0);
        }
        self.check_owner().await?;
        // The table is loaded after the lists, so that it includes every snapshot committed before the lists were
        // read.
        let table = self.table(name).await?;
        if !table.metadata().table_properties()?.gc_enabled {
            return Ok(0);
        }
        let reached = reach::of_table(table.iceberg()).await?;
        let reached: HashSet<String> = reached.iter().map(|path| plain_location(path)).collect();
        let bucket = table.expired_bucket()?;
        let mut deleted = 0;
        for list in due {
            let paths = table.read_expired_files(&list).await?.into_iter();
            let paths: Vec<String> = paths.filter(|path| !reached.contains(&plain_location(path))).collect();
            deleted += self.delete_own_files(&table, paths).await?;
            bucket.delete(&list.key).await?;
        }
        Ok(deleted)
    }

    /// Deletes the expired files of a dropped table. Each list is deleted after the files in it, because it is the
    /// only record of them.
    pub(super) async fn purge_expired(&self, table: &Table) -> LakeResult<()> {
        let bucket = table.expired_bucket()?;
        for list in table.expired_files().await? {
            let paths = table.read_expired_files(&list).await?;
            self.delete_own_files(table, paths).await?;
            bucket.delete(&list.key).await?;
        }
        Ok(())
    }

    /// Deletes a file. A file that does not exist is not an error.
    pub(super) async fn delete_file(&self, path: &str) -> LakeResult<()> {
        match self.io().delete(path).await {
            Err(error) if self.io().exists(path).await? => Err(error.into()),
            _ => Ok(()),
        }
    }
}
