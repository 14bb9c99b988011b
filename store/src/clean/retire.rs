//! Retention: schedulers remove rows whose retention period has passed. If an archive is configured, the rows are
//! archived first.

use super::archived::{self, Archived, archived_by};
use super::record::{Mark, RowDisposal};
use super::weeks::{self, Change, patiently};
use super::{CleanRequest, Cleaned, Goes, Table, begin, carry_out, end};
use crate::{
    StoreResult,
    archive::{Archive, export},
    boxed,
    connect::first_error,
    partition::Retention,
    rollover,
};
use chrono::{DateTime, Datelike, Days, NaiveTime, TimeDelta, Utc};
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// Name of the actor in the table `cleanup`.
const ACTOR: &str = "scheduler";
/// Folder of exported tables in the archive.
const FOLDER: &str = "tables";

/// Tables whose rows are kept as long as runs.
const WITH_RUNS: [Table; 6] =
    [Table::DagRun, Table::AssetEvent, Table::AssetCheck, Table::Lineage, Table::Progress, Table::Alert];

/// Cutoff times of the retention. Older rows are removed.
#[derive(Debug, Clone, Copy)]
struct Since {
    runs: DateTime<Utc>,
    logs: DateTime<Utc>,
    audit: DateTime<Utc>,
}

/// Callback that receives the result of each duty (the removal of one kind of rows), with its name.
pub type Report<'a> = dyn FnMut(&str, StoreResult<Vec<Cleaned>>) + Send + 'a;

/// Deletes rows whose retention period has passed. Runs all duties (removals of one kind of rows) even if one of them
/// fails, and returns the first error.
#[boxed]
pub async fn retire(db: &mut PgConnection, keep: &Retention) -> StoreResult<Vec<Cleaned>> {
    retire_all(db, keep, None).await
}

/// Like [`retire`], but archives rows before it deletes them: logs as objects that can still be read, other rows as
/// exported tables.
#[boxed]
pub async fn retire_to(db: &mut PgConnection, keep: &Retention, archive: &dyn Archive) -> StoreResult<Vec<Cleaned>> {
    retire_all(db, keep, Some(archive)).await
}

async fn retire_all(
    db: &mut PgConnection,
    keep: &Retention,
    archive: Option<&dyn Archive>,
) -> StoreResult<Vec<Cleaned>> {
    let (mut all, mut failed) = (Vec::new(), None);
    let report = &mut |_: &str, ended: StoreResult<Vec<Cleaned>>| match ended {
        Ok(done) => all.extend(done),
        Err(error) => drop(failed.get_or_insert(error)),
    };
    retire_each(db, keep, archive, report).await?;
    failed.map_or(Ok(all), Err)
}

/// Runs each duty (the removal of one kind of rows) separately: if one fails, its error is reported and the next one
/// starts. With an archive, rows are exported before they are deleted.
///
/// # Errors
/// Returns an error if another process is cleaning, or if the connection is lost.
#[boxed]
pub async fn retire_each(
    db: &mut PgConnection,
    keep: &Retention,
    archive: Option<&dyn Archive>,
    report: &mut Report<'_>,
) -> StoreResult<()> {
    begin(db).await?;
    let ended = match archive {
        Some(archive) => move_all(db, keep, archive, report).await,
        None => drop_all(db, keep, report).await,
    };
    report("recalled_log", rollover::forget_recalled(db).await.map(|()| Vec::new()));
    report("cleanup", forget_cleanups(db).await.map(|()| Vec::new()));
    first_error(ended, end(db).await)
}

async fn drop_all(db: &mut PgConnection, keep: &Retention, report: &mut Report<'_>) -> StoreResult<()> {
    let since = since(db, keep).await?;
    let weekly = [(Table::LogChunk, whole_weeks(since.logs)), (Table::DagRun, whole_weeks(since.runs))];
    // Removes rows of whole days instead of a few rows in each pass, because each removal is a line in a list for
    // users.
    let daily = WITH_RUNS[1..].iter().map(|&table| (table, whole_days(since.runs)));
    for (table, before) in weekly.into_iter().chain(daily).chain([(Table::Audit, whole_days(since.audit))]) {
        let wish = CleanRequest::of(&[table], before, Goes::Dropped, ACTOR);
        let mut done = Vec::new();
        let ended = carry_out(db, &wish, &mut |cleaned| done.push(cleaned.clone())).await;
        report(table.as_str(), ended.map(|()| done));
    }
    Ok(())
}

async fn move_all(
    db: &mut PgConnection,
    keep: &Retention,
    archive: &dyn Archive,
    report: &mut Report<'_>,
) -> StoreResult<()> {
    let since = since(db, keep).await?;
    let logs = rollover::roll_over_logs(db, archive, whole_weeks(since.logs), ACTOR).await;
    report(Table::LogChunk.as_str(), logs);
    // Archives rows of whole weeks, so that there is one file per week and table instead of one per pass.
    let with_runs = WITH_RUNS.iter().map(|&table| (table, since.runs));
    for (table, before) in with_runs.chain([(Table::Audit, since.audit)]) {
        let wish = CleanRequest::of(&[table], whole_weeks(before), Goes::Archived, ACTOR);
        report(table.as_str(), carry_out(db, &wish, &mut |_| {}).await.map(|()| Vec::new()));
    }
    for archived in archived_by(db, ACTOR).await? {
        let exported = export_archived(db, archive, &archived).await;
        report(&archived.name, exported.map(|cleaned| cleaned.into_iter().collect()));
    }
    Ok(())
}

/// Exports a table that contains archived rows, and drops it. Returns `None` if the table is empty, because a pass was
/// killed before it moved rows.
async fn export_archived(
    db: &mut PgConnection,
    archive: &dyn Archive,
    archived: &Archived,
) -> StoreResult<Option<Cleaned>> {
    if weeks::is_empty(db, &archived.name).await? {
        archived::drop_archived(db, ACTOR, archived).await?;
        return Ok(None);
    }
    let exported = export(db, &archived.name, archive, FOLDER).await?;
    let place = format!("{}/{}", archive.place(), exported.folder);
    let note = Mark {
        actor: ACTOR,
        table: &archived.of,
        week: None,
        how: RowDisposal::Exported,
        rows: Some(exported.rows as i64),
        place: Some(&place),
    };
    patiently(db, &Change::drop(&archived.name), &note).await?;
    Ok(Some(note.cleaned()))
}

/// Deletes cleanup records older than a year, except those with the location of logs that can still be read.
async fn forget_cleanups(db: &mut PgConnection) -> StoreResult<()> {
    sqlx::query("delete from cleanup where how <> 'rolled over' and at < now() - interval '1 year'")
        .execute(db)
        .await?;
    Ok(())
}

async fn since(db: &mut PgConnection, keep: &Retention) -> StoreResult<Since> {
    let now = super::now(db).await?;
    // If the retention period is too long to be subtracted from the current time, rows are kept forever.
    let back = |long: Duration| {
        TimeDelta::from_std(long)
            .ok()
            .and_then(|long| now.checked_sub_signed(long))
            .unwrap_or(DateTime::UNIX_EPOCH)
            .max(DateTime::UNIX_EPOCH)
    };
    Ok(Since { runs: back(keep.runs), logs: back(keep.logs), audit: back(keep.audit) })
}

/// Rounds down to midnight.
fn whole_days(moment: DateTime<Utc>) -> DateTime<Utc> {
    moment.date_naive().and_time(NaiveTime::MIN).and_utc()
}

/// Rounds down to Monday.
fn whole_weeks(moment: DateTime<Utc>) -> DateTime<Utc> {
    whole_days(moment) - Days::new(u64::from(moment.weekday().num_days_from_monday()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_monday() {
        let check = |moment: &str, monday: &str| {
            let moment: DateTime<Utc> = moment.parse().expect("a moment");
            assert_eq!(whole_weeks(moment).to_rfc3339(), monday);
        };
        check("2026-11-21T05:13:09Z", "2026-11-16T00:00:00+00:00");
        check("2026-11-16T00:00:00Z", "2026-11-16T00:00:00+00:00");
        check("2027-01-03T23:59:59Z", "2026-12-28T00:00:00+00:00");
    }
}
