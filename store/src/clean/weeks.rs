//! A week goes as a whole: its partition is dropped, or cut off and renamed; where runs stay an empty one stays too.

use super::record::{How, Mark, mark};
use super::{Goes, LOCK_TIMEOUT, Tell, Wish};
use crate::partition::{Runs, Week, has_runs};
use crate::{StoreError, StoreResult};
use sqlx::AssertSqlSafe;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// How often a lock is asked for that others hold, and the pause between: a claim that waited behind us goes on in it.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Lets a partition go, if there is one.
pub(super) async fn let_go(
    db: &mut PgConnection,
    parent: &str,
    week: &Week,
    wish: &Wish,
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
        how: if is_kept { How::Archived } else { How::Dropped },
        rows: guessed_rows(db, &leaf).await?,
        place: is_kept.then_some(&*archived),
    };
    let change = match (is_kept, stays) {
        (false, false) => Change::drop(&leaf),
        (false, true) => Change::empty(&leaf),
        (true, stays) => Change::cut_off(parent, week, &archived, stays),
    };
    patiently(db, &change, &note).await?;
    tell(&note.told());
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

/// Carries a change out and writes it down, in one transaction. `false`: it may not be done.
pub(crate) async fn patiently(db: &mut PgConnection, change: &Change, note: &Mark<'_>) -> StoreResult<bool> {
    let mut tries = 0;
    loop {
        match at_once(db, change, note).await {
            Err(StoreError::Sql(sqlx::Error::Database(error)))
                if error.code().as_deref() == Some(LOCK_NOT_AVAILABLE) && tries < TRIES =>
            {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

async fn at_once(db: &mut PgConnection, change: &Change, note: &Mark<'_>) -> StoreResult<bool> {
    let mut tx = db.begin().await?;
    // An autovacuum gives way to whoever waits for a second. This lock stops it, and neither reading nor writing.
    sqlx::query("set local lock_timeout = '5s'").execute(&mut *tx).await?;
    let quiet = format!("lock table only {} in share update exclusive mode", change.table);
    sqlx::query(AssertSqlSafe(quiet)).execute(&mut *tx).await?;
    sqlx::query(LOCK_TIMEOUT).execute(&mut *tx).await?;
    if let Some(lock) = &change.lock {
        sqlx::query(AssertSqlSafe(lock.clone())).execute(&mut *tx).await?;
    }
    if let Some(only_if) = &change.only_if
        && !sqlx::query_scalar::<_, bool>(AssertSqlSafe(only_if.clone())).fetch_one(&mut *tx).await?
    {
        return Ok(false);
    }
    // Before the others, so that no lock is held for it.
    mark(&mut tx, note).await?;
    for text in &change.texts {
        sqlx::query(AssertSqlSafe(text.clone())).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(true)
}

pub(crate) async fn leaf_is_there(db: &mut PgConnection, leaf: &str) -> StoreResult<bool> {
    Ok(sqlx::query_scalar("select to_regclass($1) is not null").bind(leaf).fetch_one(db).await?)
}

async fn is_empty(db: &mut PgConnection, table: &str) -> StoreResult<bool> {
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
