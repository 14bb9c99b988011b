//! Files that no snapshot reaches: what a writer left that was killed, or whose commit was refused. The table's folder is
//! listed first and the table loaded then, so that whatever was committed before the listing is known; and what was not
//! yet committed is young, and young files are never touched.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;

use super::reach;
use crate::{
    boxed,
    error::{LakeError, LakeResult},
    lake::Lake,
    plain_location,
    table::TableName,
};

/// Longer than any write takes. A shorter age has to be asked for by name.
const SAFE: TimeDelta = TimeDelta::days(1);

/// Which orphans are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphans {
    older_than: TimeDelta,
    only_count: bool,
}

impl Default for Orphans {
    /// Those of three days ago and before.
    fn default() -> Self {
        Self { older_than: TimeDelta::days(3), only_count: false }
    }
}

impl Orphans {
    pub fn new() -> Self {
        Self::default()
    }

    /// Files written longer ago than this.
    ///
    /// # Errors
    /// It is less than a day: a write that is under way may be as old.
    pub fn older_than(self, age: TimeDelta) -> LakeResult<Self> {
        if age < SAFE {
            let what = format!("orphans of {} minutes may belong to a write that is under way", age.num_minutes());
            return Err(LakeError::input(what, "wait a day, or say `nobody_writes` if that is so"));
        }
        Ok(Self { older_than: age, ..self })
    }

    /// All of them, however young. Right only when no writer of any kind is at work on the table: its files would be lost.
    #[must_use]
    pub fn nobody_writes(self) -> Self {
        Self { older_than: TimeDelta::zero(), ..self }
    }

    /// Says what would be removed and removes nothing.
    #[must_use]
    pub fn only_count(self) -> Self {
        Self { only_count: true, ..self }
    }
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    pub files: u64,
    pub bytes: u64,
}

impl Lake {
    /// Removes the files of a table's folder that no snapshot reaches.
    ///
    /// # Errors
    /// Another table lives in that folder; or the table must not be cleaned (`gc.enabled` is false).
    #[boxed]
    pub async fn remove_orphans(&self, name: &TableName, asked: &Orphans, now: DateTime<Utc>) -> LakeResult<Removed> {
        let table = self.table(name).await?;
        let location = table.metadata().location().trim_end_matches('/').to_owned();
        if !table.metadata().table_properties()?.gc_enabled {
            let what = format!("files of table `{name}` must not be removed: its property `gc.enabled` is false");
            return Err(LakeError::input(
                what,
                "they belong to another table too; clean that one, or set the property",
            ));
        }
        self.lives_alone(name, &location).await?;

        let before = reach::of_table(table.iceberg()).await?;
        let bucket = self.bucket(&location)?;
        let listed: Vec<_> = bucket.list("").try_collect().await?;
        // Only now: what was committed before the listing is reached by this state of the table.
        let after = reach::of_table(self.table(name).await?.iceberg()).await?;
        let paths: HashSet<String> = listed.iter().map(|entry| plain_location(&bucket.location(&entry.key))).collect();
        let folder = format!("{}/", plain_location(&location));
        let seen = |path: &&String| paths.contains(&plain_location(path)) || !plain_location(path).starts_with(&folder);
        if let Some(path) = before.intersection(&after).find(|path| !seen(path)) {
            // Either it is lost, or the store spells it otherwise: then others would look like orphans too.
            let what = format!("`{path}` is part of table `{name}` and was not found in its folder");
            return Err(LakeError::input(what, "nothing was removed; look what became of the file"));
        }
        let reached: HashSet<String> = after.iter().map(|path| plain_location(path)).collect();
        let youngest = now - asked.older_than;
        let orphans = listed.into_iter().filter(|entry| entry.modified <= youngest);
        let orphans = orphans.filter(|entry| !reached.contains(&plain_location(&bucket.location(&entry.key))));
        let orphans: Vec<_> = orphans.collect();
        let removed = Removed { files: orphans.len() as u64, bytes: orphans.iter().map(|entry| entry.bytes).sum() };
        if !asked.only_count {
            let paths: Vec<String> = orphans.iter().map(|entry| bucket.location(&entry.key)).collect();
            self.io().delete_stream(futures::stream::iter(paths)).await?;
        }
        Ok(removed)
    }

    /// No other table of the catalog has its folder in this one: all of its files would look like orphans.
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
