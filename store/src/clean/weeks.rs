//! A week goes as a whole: its partition is dropped, or cut off and renamed; where runs stay an empty one stays too.

use super::record::{Mark, RowDisposal, mark};
use super::{CleanRequest, Goes, LOCK_TIMEOUT, Tell};
use crate::partition::{Runs, Week, has_runs};
use crate::{StoreError, StoreResult};
use sqlx::AssertSqlSafe;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// How often a lock is asked for that others hold, and the pause between: a claim that waited behind us goes on in it.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);

/// Lets a partition go, if there is one.
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
    // Nothing is worth keeping of nothing.
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

/// Statements that need a lock which everybody else needs too.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    /// Which it is about.
    pub(crate) table: String,
    /// Taken before the question.
    pub(crate) lock: Option<String>,
    /// Asked first; only when it answers yes anything is done.
    pub(crate) only_if: Option<String>,
    pub(crate) texts: Vec<String>,
}

impl Change {
    pub(crate) fn drop(table: &str) -> Change {
        Change { table: table.into(), texts: vec![format!("drop table {table}")], ..Change::default() }
    }

    /// Of a week that still has runs: somebody may clear one, and then it says more.
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

/// How one try to carry a change out ended.
enum Tried {
    Done,
    /// What it depends on is not so.
    MayNot,
    /// By whom.
    Held(String),
}

/// Carries a change out and writes it down, in one transaction. `false`: it may not be done.
///
/// # Errors
/// Somebody has the table open all the time.
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
    // An autovacuum gives way to whoever waits for a second. This lock stops it, and neither reading nor writing.
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
    // Before the others, so that no lock is held for it.
    mark(&mut tx, note).await?;
    for text in &change.texts {
        sqlx::query(AssertSqlSafe(text.clone())).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(Tried::Done)
}

/// Who has had a transaction open on the table, or on what it is a part of, for longer than we would wait: a backup, a
/// report, somebody's psql. Asking for the lock all the same would keep everybody waiting behind us, again and again.
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

/// Counting them would read them all.
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
