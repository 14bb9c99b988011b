//! Weekly partitions: made ahead of time, dropped when what is in them is old. Dropping frees space at once, and works
//! when the disk is so full that nothing can be deleted.

use crate::StoreResult;
use crate::leaf::Leaf;
use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// Weeks made ahead: a scheduler that is down for a month loses nothing, and whoever creates a run makes its own.
pub const WEEKS_AHEAD: i32 = 4;
/// All that is partitioned by run.
const PARENTS: [&str; 6] = ["task_instance", "attempt", "failure", "output", "output_part", "log_chunk"];
/// Finished runs deleted in one transaction.
const DELETE_RUNS: i64 = 2_000;
/// Events, and edges of lineage, deleted at a turn.
const DELETE_UPDATES: i64 = 50_000;

/// How long things are kept.
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

/// What a retention did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dropped {
    pub partitions: Vec<String>,
    pub runs: u64,
}

/// A week that has partitions.
struct Week {
    monday: DateTime<Utc>,
    sunday: DateTime<Utc>,
}

/// Makes the partitions of this week and the next ones.
pub async fn make_ahead(db: &mut PgConnection) -> StoreResult<()> {
    sqlx::query!(
        "select make_partitions(now() + weeks * interval '1 week') from generate_series(0, $1::integer) weeks",
        WEEKS_AHEAD
    )
    .fetch_all(db)
    .await?;
    Ok(())
}

/// Drops weeks of logs, and weeks with all their runs, that ended longer ago than they are kept. A week with a run that
/// is not over stays.
pub async fn drop_old(db: &mut PgConnection, keep: &Retention) -> StoreResult<Dropped> {
    let mut dropped = Dropped::default();
    for week in old_weeks(db, keep.logs).await? {
        if !has_runs(db, &week, Some("running")).await? {
            drop_leaf(db, "log_chunk", &week, &mut dropped).await?;
        }
    }
    for week in old_weeks(db, keep.runs).await? {
        dropped.runs += delete_finished(db, &week).await?;
        if !has_runs(db, &week, None).await? {
            for parent in PARENTS {
                drop_leaf(db, parent, &week, &mut dropped).await?;
            }
        }
    }
    sqlx::query!(
        "delete from audit where id <= (select max(id) from audit where at < now() - $1::float8 * interval '1 second')",
        keep.audit.as_secs_f64()
    )
    .execute(&mut *db)
    .await?;
    forget_updates(db, keep.runs).await?;
    Ok(dropped)
}

/// What goes with the runs of its time, and what else must hold of a row: what a paused DAG never took goes too, but no
/// event goes before it was given to those that wait for it, and no alert before it was sent or given up.
const OF_THEIR_TIME: [(&str, &str); 5] = [
    ("asset_event", "distributed"),
    ("lineage", "true"),
    ("asset_check", "true"),
    ("progress", "true"),
    ("alert", "state <> 'waiting'"),
];

/// Events and checks of assets, ways of data, how far tries were, and alerts.
async fn forget_updates(db: &mut PgConnection, keep: Duration) -> StoreResult<()> {
    for (table, and) in OF_THEIR_TIME {
        let text = format!(
            "delete from {table} where ctid = any(array(select ctid from {table}
                where at < now() - $1::float8 * interval '1 second' and {and} order by at limit $2))"
        );
        sqlx::query(AssertSqlSafe(text)).bind(keep.as_secs_f64()).bind(DELETE_UPDATES).execute(&mut *db).await?;
    }
    Ok(())
}

/// Weeks of which some partition is left and that ended so long ago.
async fn old_weeks(db: &mut PgConnection, keep: Duration) -> StoreResult<Vec<Week>> {
    let weeks = sqlx::query_as!(
        Week,
        r#"select w.monday as "monday!", w.monday + interval '7 days' as "sunday!" from (
          select distinct to_date(right(c.relname, 7), 'IYYY"w"IW')::timestamp at time zone 'UTC' as monday
          from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
          where p.relname = any($1) and p.relnamespace = current_schema()::regnamespace and c.relname ~ '_\d{4}w\d{2}$') w
        where w.monday + interval '7 days' < now() - $2::float8 * interval '1 second' order by w.monday"#,
        &PARENTS.map(String::from)[..],
        keep.as_secs_f64()
    );
    Ok(weeks.fetch_all(db).await?)
}

/// Whether the week has runs, or runs in a state.
async fn has_runs(db: &mut PgConnection, week: &Week, state: Option<&str>) -> StoreResult<bool> {
    let has = sqlx::query_scalar!(
        r#"select exists (select from dag_run where id >= uuid_of_moment($1) and id < uuid_of_moment($2)
          and ($3::text is null or state::text = $3)) as "has!""#,
        week.monday,
        week.sunday,
        state
    );
    Ok(has.fetch_one(db).await?)
}

async fn delete_finished(db: &mut PgConnection, week: &Week) -> StoreResult<u64> {
    let mut deleted = 0;
    loop {
        let done = sqlx::query!(
            "delete from dag_run where id = any(array(select id from dag_run where id >= uuid_of_moment($1)
                and id < uuid_of_moment($2) and state in ('success', 'failed') limit $3))
              and state in ('success', 'failed')",
            week.monday,
            week.sunday,
            DELETE_RUNS
        );
        let many = done.execute(&mut *db).await?.rows_affected();
        deleted += many;
        if many == 0 {
            return Ok(deleted);
        }
    }
}

/// Everybody waits for a drop that waits for somebody: it gives up after a second and is tried again at the next turn.
async fn drop_leaf(db: &mut PgConnection, parent: &str, week: &Week, dropped: &mut Dropped) -> StoreResult<()> {
    let name = format!("{parent}_{}", Leaf::at(week.monday));
    let there: bool = sqlx::query_scalar("select to_regclass($1) is not null").bind(&name).fetch_one(&mut *db).await?;
    if !there {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    sqlx::query("set local lock_timeout = '1s'").execute(&mut *tx).await?;
    sqlx::query(AssertSqlSafe(format!("drop table {name}"))).execute(&mut *tx).await?;
    tx.commit().await?;
    dropped.partitions.push(name);
    Ok(())
}
