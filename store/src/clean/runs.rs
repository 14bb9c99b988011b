//! Removes runs and their logs week by week, and in batches within a week.

use super::rows::Mover;
use super::weeks::{leaf_is_there, let_go};
use super::{CleanRequest, LOCK_TIMEOUT, Tell};
use crate::StoreResult;
use crate::partition::{PARENTS, Runs, Week, has_runs, weeks_before};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use uuid::Uuid;

/// Tables whose rows are deleted together with their run by a foreign key. They are cleaned before the run, so that
/// their rows can be archived.
const CHILDREN: [&str; 3] = ["dag_run_detail", "instance_note", "deadline"];
/// Maximum number of partition rows removed per transaction, which takes some seconds. A single run with more rows is
/// still removed in one transaction. If a run were split, its page would show half of it, and a user could clear it.
const MOST_ROWS: i64 = 50_000;

pub(super) async fn clean_runs(
    db: &mut PgConnection,
    wish: &CleanRequest,
    mover: &mut Mover<'_>,
    tell: &mut Tell<'_>,
) -> StoreResult<()> {
    for week in weeks_before(db, wish.before).await? {
        let as_a_whole = goes_as_a_whole(wish, &week) && !has_runs(db, &week, Runs::ActiveSince(wish.before)).await?;
        let leaves = leaves(db, &week, &PARENTS).await?;
        while delete_runs(db, wish, &week, if as_a_whole { &[] } else { &leaves }, mover).await? {}
        if as_a_whole && !has_runs(db, &week, Runs::Any).await? {
            for parent in PARENTS {
                let_go(db, parent, &week, wish, mover.stamp(), tell).await?;
            }
        }
    }
    Ok(())
}

/// Removes old logs of runs that are kept.
pub(super) async fn clean_logs(
    db: &mut PgConnection,
    wish: &CleanRequest,
    mover: &mut Mover<'_>,
    tell: &mut Tell<'_>,
) -> StoreResult<()> {
    for week in weeks_before(db, wish.before).await? {
        let leaves = leaves(db, &week, &["log_chunk"]).await?;
        if leaves.is_empty() {
            continue;
        }
        if goes_as_a_whole(wish, &week) && !has_runs(db, &week, Runs::TalkingSince(wish.before)).await? {
            let_go(db, "log_chunk", &week, wish, mover.stamp(), tell).await?;
            continue;
        }
        mover.prepare(db, &["log_chunk"]).await?;
        let mut after = Uuid::nil();
        loop {
            let runs = finished(db, wish, &week, after).await?;
            let runs = that_fit(db, &leaves, &runs).await?;
            let Some(&last) = runs.last() else { break };
            after = last;
            let mut tx = db.begin().await?;
            sqlx::query(LOCK_TIMEOUT).execute(&mut *tx).await?;
            mover.of_runs(&mut tx, &leaves, runs).await?;
            tx.commit().await?;
        }
    }
    Ok(())
}

fn goes_as_a_whole(wish: &CleanRequest, week: &Week) -> bool {
    wish.is_of_all() && week.sunday <= wish.before
}

/// Returns the existing partitions of a week, each with its parent table.
async fn leaves(
    db: &mut PgConnection,
    week: &Week,
    parents: &[&'static str],
) -> StoreResult<Vec<(&'static str, String)>> {
    let mut leaves = Vec::new();
    for &parent in parents {
        let leaf = week.leaf(parent);
        if leaf_is_there(db, &leaf).await? {
            leaves.push((parent, leaf));
        }
    }
    Ok(leaves)
}

/// Removes some runs of a week, together with their rows in these partitions. Returns false if no run is left that may
/// be removed.
async fn delete_runs(
    db: &mut PgConnection,
    wish: &CleanRequest,
    week: &Week,
    leaves: &[(&'static str, String)],
    mover: &mut Mover<'_>,
) -> StoreResult<bool> {
    let mut tables: Vec<&'static str> = CHILDREN.to_vec();
    tables.extend(leaves.iter().map(|(parent, _)| *parent));
    tables.extend(["dag_run", "progress"]);
    mover.prepare(db, &tables).await?;
    let mut tx = db.begin().await?;
    sqlx::query(LOCK_TIMEOUT).execute(&mut *tx).await?;
    let runs = finished(&mut tx, wish, week, Uuid::nil()).await?;
    let runs = that_fit(&mut tx, leaves, &runs).await?;
    if runs.is_empty() {
        return Ok(false);
    }
    for child in CHILDREN {
        mover.rows_of(&mut tx, child, child, "run", runs).await?;
    }
    mover.of_runs(&mut tx, leaves, runs).await?;
    if !leaves.is_empty() {
        mover.rows_of(&mut tx, "progress", "progress", "run", runs).await?;
    }
    mover.rows_of(&mut tx, "dag_run", "dag_run", "id", runs).await?;
    tx.commit().await?;
    Ok(true)
}

/// Returns as many of the first runs as fit into one transaction, but at least one. Stops counting rows at the limit.
async fn that_fit<'r>(
    db: &mut PgConnection,
    leaves: &[(&'static str, String)],
    runs: &'r [Uuid],
) -> StoreResult<&'r [Uuid]> {
    if leaves.is_empty() || runs.is_empty() {
        return Ok(runs);
    }
    let of_one = |leaf: &str| {
        format!("(select count(*) from (select from {leaf} where run = ($1::uuid[])[many + 1] limit $2) x)")
    };
    let of_one: Vec<String> = leaves.iter().map(|(_, leaf)| of_one(leaf)).collect();
    let text = format!(
        "with recursive taken (many, rows) as (
          select 0, 0::bigint
          union all
          select many + 1, rows + {} from taken where many < cardinality($1::uuid[]) and rows < $2)
        select max(many) filter (where rows <= $2 or many = 1) from taken",
        of_one.join(" + ")
    );
    let many: i32 = sqlx::query_scalar(AssertSqlSafe(text)).bind(runs).bind(MOST_ROWS).fetch_one(db).await?;
    Ok(&runs[..(many.max(1) as usize).min(runs.len())])
}

/// Locks and returns finished runs of a week that may be removed. Skips locked runs, such as runs that are being
/// cleared.
async fn finished(db: &mut PgConnection, wish: &CleanRequest, week: &Week, after: Uuid) -> StoreResult<Vec<Uuid>> {
    let runs = sqlx::query_scalar!(
        "select id from dag_run where id > $6 and id >= uuid_of_moment($1) and id < uuid_of_moment(least($2::timestamptz, $3::timestamptz))
          and state in ('success', 'failed') and (ended_at is null or ended_at < $3)
          and (cardinality($4::text[]) = 0 or dag_id = any($4)) and dag_id <> all($5::text[])
        order by id limit $7 for update skip locked",
        week.monday,
        week.sunday,
        wish.before,
        &wish.only,
        &wish.except,
        after,
        wish.batch.max(1)
    );
    Ok(runs.fetch_all(db).await?)
}
