//! What schedulers do by themselves: everything that was kept long enough goes, into the archive where there is one.

use super::archived::{self, archived_by};
use super::record::{Mark, RowDisposal};
use super::weeks::{self, Change, patiently};
use super::{CleanRequest, Cleaned, Goes, Table, begin, carry_out, end};
use crate::{
    StoreResult,
    archive::{Archive, export},
    boxed,
    partition::Retention,
    rollover,
};
use chrono::{DateTime, Datelike, Days, NaiveTime, TimeDelta, Utc};
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// Who did it, in `cleanup`.
const ACTOR: &str = "scheduler";
/// In an archive.
const FOLDER: &str = "tables";

/// What goes with the runs of its time.
const WITH_RUNS: [Table; 6] =
    [Table::DagRun, Table::AssetEvent, Table::AssetCheck, Table::Lineage, Table::Progress, Table::Alert];

/// Since when things are kept.
#[derive(Debug, Clone, Copy)]
struct Since {
    runs: DateTime<Utc>,
    logs: DateTime<Utc>,
    audit: DateTime<Utc>,
}

/// Drops what was kept long enough.
#[boxed]
pub async fn retire(db: &mut PgConnection, keep: &Retention) -> StoreResult<Vec<Cleaned>> {
    begin(db).await?;
    let done = drop_all(db, keep).await;
    end(db).await?;
    done
}

/// Rolls it over: logs as objects that are read again, the rest as tables in files. Nothing goes before it is there.
#[boxed]
pub async fn retire_to(db: &mut PgConnection, keep: &Retention, archive: &dyn Archive) -> StoreResult<Vec<Cleaned>> {
    begin(db).await?;
    let done = move_all(db, keep, archive).await;
    end(db).await?;
    done
}

async fn drop_all(db: &mut PgConnection, keep: &Retention) -> StoreResult<Vec<Cleaned>> {
    let since = since(db, keep).await?;
    let mut done = Vec::new();
    for (tables, before) in
        [(&[Table::LogChunk][..], whole_weeks(since.logs)), (&[Table::DagRun][..], whole_weeks(since.runs))]
    {
        let wish = CleanRequest::of(tables, before, Goes::Dropped, ACTOR);
        carry_out(db, &wish, &mut |cleaned| done.push(cleaned.clone())).await?;
    }
    // A day at a time, and not a few rows at each turn: what was done is a line for people.
    for (tables, before) in [(&WITH_RUNS[1..], since.runs), (&[Table::Audit][..], since.audit)] {
        let wish = CleanRequest::of(tables, whole_days(before), Goes::Dropped, ACTOR);
        carry_out(db, &wish, &mut |cleaned| done.push(cleaned.clone())).await?;
    }
    rollover::forget_recalled(db).await?;
    forget_cleanups(db).await?;
    Ok(done)
}

async fn move_all(db: &mut PgConnection, keep: &Retention, archive: &dyn Archive) -> StoreResult<Vec<Cleaned>> {
    let since = since(db, keep).await?;
    let mut done = rollover::roll_over_logs(db, archive, whole_weeks(since.logs), ACTOR).await?;
    // All by whole weeks: a file a week and table, and not one for each turn.
    for (tables, before) in [(&WITH_RUNS[..], since.runs), (&[Table::Audit][..], since.audit)] {
        let wish = CleanRequest::of(tables, whole_weeks(before), Goes::Archived, ACTOR);
        carry_out(db, &wish, &mut |_| {}).await?;
    }
    for archived in archived_by(db, ACTOR).await? {
        // Of a pass that was killed before anything went there.
        if weeks::is_empty(db, &archived.name).await? {
            archived::drop_archived(db, ACTOR, &archived).await?;
            continue;
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
        done.push(note.cleaned());
    }
    rollover::forget_recalled(db).await?;
    forget_cleanups(db).await?;
    Ok(done)
}

/// Of a year ago, but for where logs are that can still be read.
async fn forget_cleanups(db: &mut PgConnection) -> StoreResult<()> {
    sqlx::query("delete from cleanup where how <> 'rolled over' and at < now() - interval '1 year'")
        .execute(db)
        .await?;
    Ok(())
}

async fn since(db: &mut PgConnection, keep: &Retention) -> StoreResult<Since> {
    let now = super::now(db).await?;
    // A time too long to be counted back is for ever.
    let back = |long: Duration| {
        TimeDelta::from_std(long)
            .ok()
            .and_then(|long| now.checked_sub_signed(long))
            .unwrap_or(DateTime::UNIX_EPOCH)
            .max(DateTime::UNIX_EPOCH)
    };
    Ok(Since { runs: back(keep.runs), logs: back(keep.logs), audit: back(keep.audit) })
}

/// The midnight before.
fn whole_days(moment: DateTime<Utc>) -> DateTime<Utc> {
    moment.date_naive().and_time(NaiveTime::MIN).and_utc()
}

/// The Monday before.
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
