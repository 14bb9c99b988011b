//! Removes the rows of a whole week: drops their partition, or detaches and renames it. While the week still has runs,
//! an empty partition remains.

use super::record::{Mark, RowDisposal, mark};
use super::{CleanRequest, Goes, LOCK_TIMEOUT, Tell};
use crate::partition::{Runs, Week, has_runs};
use crate::{StoreError, StoreResult};
use sqlx::AssertSqlSafe;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// Number of retries of a lock request, and the pause between them. During the pause, the claims that were blocked by
/// the request continue.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);

/// Removes the partition of a week, if it exists.
pub(super) async fn let_go(
    db: &mut PgConnection,
    parent: &str,
    week: &Week,
    wish: &CleanRequest,
    stamp: &str,
    tell: &mut Tell<'_>,
) -> StoreResult<()> {
    let leaf = week.leaf(parent);
    if !leaf_is_there(db, &leaf).await? {
        return Ok(());
    }
    let stays = has_runs(db, week, Runs::Any).await?;
    let is_empty = is_empty(db, &leaf).await?;
    if is_empty && stays {
        return Ok(());
    }
    let archived = format!("archived__{leaf}__{stamp}");
    // An empty partition is not archived.
    let is_kept = wish.goes == Goes::Archived && !is_empty;
    let note = Mark {
        actor: &wish.actor,
        table: parent,
        week: Some(week.monday.date_naive()),
        how: if is_kept { RowDisposal::Archived } else { RowDisposal::Dropped },
        rows: guessed_rows(db, &leaf).await?,
        place: is_kept.then_some(&*archived),
    };
    let change = match (is_kept, stays) {
        (false, false) => Change::drop(&leaf),
        (false, true) => Change::empty(&leaf),
        (true, stays) => Change::cut_off(parent, week, &archived, stays),
    };
    patiently(db, &change, &note).await?;
    tell(&note.cleaned());
    Ok(())
}

/// A change of a table that needs a lock which conflicts with all other statements on that table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub(crate) table: String,
    /// Statement that takes a lock before `only_if` is evaluated.
    pub(crate) lock: Option<String>,
    /// Query that must return true. Otherwise nothing is changed.
    pub(crate) only_if: Option<String>,
    pub(crate) texts: Vec<String>,
}

impl Change {
    pub(crate) fn drop(table: &str) -> Change {
        Change { table: table.into(), texts: vec![format!("drop table {table}")], ..Change::default() }
    }

    /// Truncates the partition of a week that still has runs. The partition stays, because a run that is cleared may
    /// write into it again.
    pub(crate) fn empty(leaf: &str) -> Change {
        Change { table: leaf.into(), texts: vec![format!("truncate table only {leaf}")], ..Change::default() }
    }

    fn cut_off(parent: &str, week: &Week, archived: &str, stays: bool) -> Change {
        let leaf = week.leaf(parent);
        let mut texts = vec![
            format!("alter table {parent} detach partition {leaf}"),
            format!("alter table {leaf} rename to {archived}"),
        ];
        if stays {
            texts.push(format!("select make_partitions('{}')", week.monday.to_rfc3339()));
        }
        Change { table: leaf, texts, ..Change::default() }
    }
}

/// Result of one attempt to carry out a change.
enum Tried {
    Done,
    /// Nothing was changed, because `only_if` returned false.
    MayNot,
    /// Another session uses the table. Contains a description of that session.
    Held(String),
}

/// Carries out a change and records it, in one transaction. Retries while other sessions use the table, and finally
/// returns `StoreError::Held`. Returns false if `only_if` is not true.
pub(crate) async fn patiently(db: &mut PgConnection, change: &Change, note: &Mark<'_>) -> StoreResult<bool> {
    let mut tries = 0;
    loop {
        let by = match at_once(db, change, note).await {
            Ok(Tried::Done) => return Ok(true),
            Ok(Tried::MayNot) => return Ok(false),
            Ok(Tried::Held(by)) => by,
            Err(error) if error.is_locked_out() => "others use it all the time".into(),
            Err(error) => return Err(error),
        };
        if tries == TRIES {
            return Err(StoreError::Held { table: change.table.clone(), by });
        }
        tries += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn at_once(db: &mut PgConnection, change: &Change, note: &Mark<'_>) -> StoreResult<Tried> {
    let mut tx = db.begin().await?;
    // Taking this lock stops a running autovacuum, which cancels itself when another session has waited a second for
    // its lock. The lock blocks neither reads nor writes.
    sqlx::query("set local lock_timeout = '5s'").execute(&mut *tx).await?;
    let quiet = format!("lock table only {} in share update exclusive mode", change.table);
    sqlx::query(AssertSqlSafe(quiet)).execute(&mut *tx).await?;
    if let Some(by) = holder(&mut tx, &change.table).await? {
        tx.rollback().await?;
        return Ok(Tried::Held(by));
    }
    sqlx::query(LOCK_TIMEOUT).execute(&mut *tx).await?;
    if let Some(lock) = &change.lock {
        sqlx::query(AssertSqlSafe(lock.clone())).execute(&mut *tx).await?;
    }
    if let Some(only_if) = &change.only_if
        && !sqlx::query_scalar::<_, bool>(AssertSqlSafe(only_if.clone())).fetch_one(&mut *tx).await?
    {
        tx.rollback().await?;
        return Ok(Tried::MayNot);
    }
    // The record is written before the other statements, so that their locks are not held while it is written.
    mark(&mut tx, note).await?;
    for text in &change.texts {
        sqlx::query(AssertSqlSafe(text.clone())).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(Tried::Done)
}

/// Returns the session whose transaction has used the table or its parent for longer than the lock timeout, such as a
/// backup, a report or psql. If the lock were requested anyway, each request would block all other sessions until it
/// times out.
async fn holder(db: &mut PgConnection, table: &str) -> StoreResult<Option<String>> {
    let found: Option<(String, i32, f64)> = sqlx::query_as(
        "select coalesce(nullif(a.application_name, ''), a.usename, 'another session')::text, a.pid,
          extract(epoch from clock_timestamp() - a.xact_start)::float8
        from pg_locks l join pg_stat_activity a on a.pid = l.pid
        where l.locktype = 'relation' and l.granted and a.datname = current_database() and a.pid <> pg_backend_pid()
          and (l.relation = to_regclass($1) or l.relation in (select inhparent from pg_inherits where inhrelid = to_regclass($1)))
          and a.backend_type = 'client backend' and a.xact_start < clock_timestamp() - interval '250 ms'
        order by a.xact_start limit 1",
    )
    .bind(table)
    .fetch_optional(db)
    .await?;
    Ok(found.map(|(name, pid, secs)| format!("`{name}` (pid {pid}) has had it open for {secs:.0} s")))
}

pub(crate) async fn leaf_is_there(db: &mut PgConnection, leaf: &str) -> StoreResult<bool> {
    Ok(sqlx::query_scalar("select to_regclass($1) is not null").bind(leaf).fetch_one(db).await?)
}

pub(super) async fn is_empty(db: &mut PgConnection, table: &str) -> StoreResult<bool> {
    let text = format!("select not exists (select from {table})");
    Ok(sqlx::query_scalar(AssertSqlSafe(text)).fetch_one(db).await?)
}

/// Returns the row count that the planner estimates. Counting would read all rows.
async fn guessed_rows(db: &mut PgConnection, table: &str) -> StoreResult<Option<i64>> {
    let guess: Option<i64> = sqlx::query_scalar(
        "select case when reltuples >= 0 then reltuples::bigint end from pg_class where oid = to_regclass($1)",
    )
    .bind(table)
    .fetch_optional(db)
    .await?
    .flatten();
    Ok(guess)
}
