//! Runs all maintenance of a table in one call, configured by table properties.

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

/// Table property that turns automatic maintenance `on` or `off`. Explicit calls are not affected.
const UPKEEP: &str = "orch.upkeep";
/// Table property: minimum number of small files in a partition before they are compacted.
const MIN_FILES: &str = "orch.upkeep.min-files";
/// Minimum number of small manifests before they are merged.
const MIN_MANIFESTS: usize = 20;
/// Default number of snapshots that are kept regardless of age, so that a table that is written once a week keeps
/// some history.
const KEEP_LAST: usize = 20;

/// Selects the kinds of maintenance to run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Upkeep {
    pub compaction: Option<Compaction>,
    pub merge_manifests: bool,
    pub expiry: Option<Expiry>,
    pub orphans: Option<Orphans>,
}

/// Describes the maintenance that was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpkeepReport {
    pub compacted: Compacted,
    pub manifests: Merged,
    pub expired: Expired,
    pub orphans: Removed,
}

impl Table {
    /// Returns true if the table properties turn automatic maintenance off.
    ///
    /// # Errors
    /// Returns an error if the property is neither `on` nor `off`.
    pub fn is_left_alone(&self) -> LakeResult<bool> {
        match self.property(UPKEEP) {
            None | Some("on") => Ok(false),
            Some("off") => Ok(true),
            Some(other) => Err(self.unreadable(UPKEEP, other, "write `on` or `off`")),
        }
    }

    /// Returns the compaction that automatic maintenance does, as configured by the table properties.
    ///
    /// # Errors
    /// Returns an error if a property is not a number.
    pub fn usual_compaction(&self) -> LakeResult<Compaction> {
        let Some(text) = self.property(MIN_FILES) else { return Ok(Compaction::new()) };
        let count = text.parse().map_err(|_| self.unreadable(MIN_FILES, text, "write a whole number, such as 5"))?;
        Ok(Compaction::new().min_files(count))
    }

    /// Returns the expiry of snapshots that automatic maintenance does.
    pub fn usual_expiry(&self) -> Expiry {
        match self.property(TableProperties::PROPERTY_MIN_SNAPSHOTS_TO_KEEP) {
            Some(_) => Expiry::new(),
            None => Expiry::new().keep_last(KEEP_LAST),
        }
    }

    pub(super) fn unreadable(&self, property: &str, text: &str, hint: &str) -> LakeError {
        LakeError::input(format!("table `{}` has the property `{property}` = `{text}`", self.name()), hint)
    }

    /// Returns true if there is maintenance to do, judged by metadata only. Always true if orphan removal is
    /// requested, because finding orphans requires a listing of the table's folder.
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
    /// Runs the requested maintenance. Skips kinds that are not worth a commit. If there is a task, it is recorded in
    /// the snapshots. Each kind starts from the result of the previous one.
    ///
    /// # Errors
    /// Returns an error if the table must not be cleaned, or a file cannot be read or removed. Completed kinds stay
    /// committed.
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
