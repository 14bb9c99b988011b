//! All that keeps a table fast and small, in one call. What a table wants of it says its properties.

use chrono::{DateTime, Utc};
use iceberg::spec::TableProperties;
use orch_sdk::task::Ctx;

use super::{Compacted, Compaction, Expired, Expiry, Merged, Orphans, Removed};
use crate::{
    boxed,
    error::{LakeError, LakeResult},
    lake::Lake,
    table::{Table, TableName},
};

/// `off`: the table is left alone until people name it.
const UPKEEP: &str = "orch.upkeep";
/// So many small files of a partition are worth a compaction.
const MIN_FILES: &str = "orch.upkeep.min-files";
/// Fewer small manifests are not worth a commit.
const MIN_MANIFESTS: usize = 20;
/// Snapshots that stay, however old, of a table that says nothing: one that is written each week keeps a history.
const KEEP_LAST: usize = 20;

/// What is done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Upkeep {
    pub compaction: Option<Compaction>,
    pub merge_manifests: bool,
    pub expiry: Option<Expiry>,
    pub orphans: Option<Orphans>,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpkeepReport {
    pub compacted: Compacted,
    pub manifests: Merged,
    pub expired: Expired,
    pub orphans: Removed,
}

impl Table {
    /// Whether its properties leave it to people.
    ///
    /// # Errors
    /// The property is neither `on` nor `off`.
    pub fn is_left_alone(&self) -> LakeResult<bool> {
        match self.property(UPKEEP) {
            None | Some("on") => Ok(false),
            Some("off") => Ok(true),
            Some(other) => Err(self.unreadable(UPKEEP, other, "write `on` or `off`")),
        }
    }

    /// How it is compacted when nothing else is asked for.
    ///
    /// # Errors
    /// Its property is not a number.
    pub fn usual_compaction(&self) -> LakeResult<Compaction> {
        let Some(text) = self.property(MIN_FILES) else { return Ok(Compaction::new()) };
        let count = text.parse().map_err(|_| self.unreadable(MIN_FILES, text, "write a whole number, such as 5"))?;
        Ok(Compaction::new().min_files(count))
    }

    /// Which snapshots go when nothing else is asked for.
    pub fn usual_expiry(&self) -> Expiry {
        match self.property(TableProperties::PROPERTY_MIN_SNAPSHOTS_TO_KEEP) {
            Some(_) => Expiry::new(),
            None => Expiry::new().keep_last(KEEP_LAST),
        }
    }

    pub(super) fn unreadable(&self, property: &str, text: &str, hint: &str) -> LakeError {
        LakeError::input(format!("table `{}` has the property `{property}` = `{text}`", self.name()), hint)
    }

    /// Whether there is anything to do. No data file is opened; orphans are only known after their folder is listed, so
    /// asking for them is a reason of its own.
    #[boxed]
    pub async fn needs(&self, asked: &Upkeep, now: DateTime<Utc>) -> LakeResult<bool> {
        if asked.orphans.is_some() {
            return Ok(true);
        }
        if let Some(compaction) = &asked.compaction
            && self.needs_compaction(compaction).await?
        {
            return Ok(true);
        }
        if asked.merge_manifests && self.small_manifests().await? >= MIN_MANIFESTS {
            return Ok(true);
        }
        match &asked.expiry {
            Some(expiry) if !self.expire(expiry, now)?.is_empty() => Ok(true),
            Some(_) => Ok(self.expired_files().await?.iter().any(|list| list.is_due(now))),
            None => Ok(false),
        }
    }
}

impl Lake {
    /// Does what is asked, each part where it is worth a commit, in the name of a task if there is one. What a part before
    /// did is seen by the next.
    ///
    /// # Errors
    /// The table must not be cleaned, or a file cannot be read or removed. What was done until then stays done.
    #[boxed]
    pub async fn keep_up(
        &self,
        name: &TableName,
        asked: &Upkeep,
        by: Option<&Ctx>,
        now: DateTime<Utc>,
    ) -> LakeResult<UpkeepReport> {
        let mut kept = UpkeepReport::default();
        if let Some(compaction) = &asked.compaction {
            kept.compacted = self.compact_by(name, compaction, by).await?;
        }
        if asked.merge_manifests && self.table(name).await?.small_manifests().await? >= MIN_MANIFESTS {
            kept.manifests = self.merge_manifests_by(name, by).await?;
        }
        if let Some(expiry) = &asked.expiry {
            kept.expired = self.expire(name, expiry, now).await?;
        }
        if let Some(orphans) = &asked.orphans {
            kept.orphans = self.remove_orphans(name, orphans, now).await?;
        }
        Ok(kept)
    }
}
