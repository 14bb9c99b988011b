//! What keeps the table of a stream small: a commit each second leaves a file each second. Now and then they are written together,
//! and snapshots that are older than the table keeps them are forgotten.

use crate::publish::{To, beside};
use chrono::{DateTime, Utc};
use orch_lake::table::maintain::{self as work, Compaction, Expiry};
use orch_lake::{Lake, LakeError, LakeResult, TableName};

/// Commits from one turn to the next.
const EVERY: u32 = 100;
/// Small files of a partition that are worth it.
const MIN_FILES: usize = 20;
/// Snapshots that are kept whatever their age; the properties of the table may keep more by time.
const KEEP: usize = 100;

pub(crate) struct Upkeep {
    /// Postgres does this by itself.
    lake: Option<(Lake, Vec<TableName>)>,
    commits: u32,
}

/// One turn: the tables that are due.
pub(crate) struct Turn(Option<(Lake, Vec<TableName>)>);

impl Upkeep {
    pub(crate) fn of(to: &To) -> Upkeep {
        let lake = match to {
            To::Lake(to) => {
                let tables = [Ok(to.table.name.clone()), beside(&to.table.name)];
                Some((to.lake.clone(), tables.into_iter().flatten().collect()))
            }
            To::Postgres(_) | To::Runs(_) => None,
        };
        Upkeep { lake, commits: 0 }
    }

    /// Asked at each commit.
    pub(crate) fn turn(&mut self) -> Turn {
        self.commits += 1;
        Turn(self.lake.clone().filter(|_| self.commits.is_multiple_of(EVERY)))
    }
}

impl Turn {
    /// What goes wrong here is told and done the next time: the rows are published already.
    pub(crate) async fn tidy_tables(self, now: DateTime<Utc>) {
        let Some((lake, tables)) = self.0 else { return };
        for table in &tables {
            match tidy(&lake, table, now).await {
                Ok(()) | Err(LakeError::NoTable { .. }) => {}
                Err(error) => {
                    tracing::warn!(%table, error = %error, "a table could not be compacted; it is tried again later");
                }
            }
        }
    }
}

async fn tidy(lake: &Lake, table: &TableName, now: DateTime<Utc>) -> LakeResult<()> {
    let kept = lake.table(table).await?.property("history.expire.max-snapshot-age-ms").is_some();
    let expiry = if kept { Expiry::new() } else { Expiry::new().older_than(now).keep_last(KEEP) };
    let compaction = Some(Compaction::new().min_files(MIN_FILES));
    let asked = work::Upkeep { compaction, merge_manifests: true, expiry: Some(expiry), orphans: None };
    lake.keep_up(table, &asked, None, now).await?;
    Ok(())
}
