//! Weekly partitions of large tables. They are created in advance and dropped when their rows are old. Dropping a
//! partition frees disk space immediately, and works even if the disk is too full for deletes.

use crate::{StoreResult, boxed, clean::LOCK_TIMEOUT, leaf::Leaf};
use chrono::{DateTime, Utc};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// Number of weeks for which partitions are created in advance. Schedulers may be down for a month; after that, the
/// code that creates a run creates the missing partitions.
pub const WEEKS_AHEAD: i32 = 4;
/// All tables that are partitioned by the creation week of their run.
pub(crate) const PARENTS: [&str; 6] = ["task_instance", "attempt", "failure", "output", "output_part", "log_chunk"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub runs: Duration,
    pub logs: Duration,
    pub audit: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |n: u64| Duration::from_hours(24 * n);
        Retention { runs: days(90), logs: days(30), audit: days(365) }
    }
}

/// A week for which partitions exist. `sunday` is the exclusive end: the start of the next Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Week {
    pub(crate) monday: DateTime<Utc>,
    pub(crate) sunday: DateTime<Utc>,
}

impl Week {
    /// Returns the name of this week's partition of the table `parent`.
    pub(crate) fn leaf(&self, parent: &str) -> String {
        format!("{parent}_{}", Leaf::at(self.monday))
    }
}

/// Selects runs that were created in a week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runs {
    Any,
    /// Runs that may still write logs, or that have written logs since this time. For an old run that was cleared, the
    /// time of its last attempt counts.
    TalkingSince(DateTime<Utc>),
    /// Runs that are queued or running, or that ended after this time.
    ActiveSince(DateTime<Utc>),
}

/// Creates the partitions of this week and the next ones without blocking readers or writers. If the schema is locked
/// by a concurrent change, does nothing; later passes retry well before the partitions are needed.
#[boxed]
pub async fn make_ahead(db: &mut PgConnection) -> StoreResult<()> {
    match made_ahead(db).await {
        Err(error) if error.is_locked_out() => {
            tracing::debug!("partitions of the next weeks are made at another turn: their tables are being changed");
            Ok(())
        }
        made => made,
    }
}

async fn made_ahead(db: &mut PgConnection) -> StoreResult<()> {
    let mut tx = db.begin().await?;
    sqlx::query(LOCK_TIMEOUT).execute(&mut *tx).await?;
    sqlx::query!(
        "select make_partitions(now() + weeks * interval '1 week') from generate_series(0, $1::integer) weeks",
        WEEKS_AHEAD
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Returns the weeks that have partitions and started before `before`, oldest first.
pub(crate) async fn weeks_before(db: &mut PgConnection, before: DateTime<Utc>) -> StoreResult<Vec<Week>> {
    let weeks = sqlx::query_as!(
        Week,
        r#"select w.monday as "monday!", w.monday + interval '7 days' as "sunday!" from (
          select distinct to_date(right(c.relname, 7), 'IYYY"w"IW')::timestamp at time zone 'UTC' as monday
          from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
          where p.relname = any($1) and p.relnamespace = current_schema()::regnamespace and c.relname ~ '_\d{4}w\d{2}$') w
        where w.monday < $2::timestamptz order by w.monday"#,
        &PARENTS.map(String::from)[..],
        before
    );
    Ok(weeks.fetch_all(db).await?)
}

/// Returns true if any run of the week matches `which`.
pub(crate) async fn has_runs(db: &mut PgConnection, week: &Week, which: Runs) -> StoreResult<bool> {
    let (states, since): (Vec<String>, Option<DateTime<Utc>>) = match which {
        Runs::Any => (Vec::new(), None),
        Runs::TalkingSince(since) => (vec!["running".into()], Some(since)),
        Runs::ActiveSince(since) => (vec!["queued".into(), "running".into()], Some(since)),
    };
    let has = sqlx::query_scalar!(
        r#"select exists (select from dag_run where id >= uuid_of_moment($1) and id < uuid_of_moment($2)
          and (cardinality($3::text[]) = 0 or state::text = any($3) or ended_at >= $4::timestamptz)) as "has!""#,
        week.monday,
        week.sunday,
        &states,
        since
    );
    Ok(has.fetch_one(db).await?)
}
