//! Merges the alerts of mapped elements into one. Each element that ends writes its own row (a part), so that 10,000
//! elements do not wait for the lock of a shared row. The sender merges the unsent parts into one alert, in one
//! transaction.
//!
//! An alert does not change once it exists, because a receiver may already have stored it under its key. Elements that
//! end while the alert is being sent go into the next alert.

use super::read;
use crate::{StoreResult, boxed, step::json};
use orch_core::alert::{FEW_ELEMENTS, Facts, GATHER_FOR, LONGEST_GATHER, gathered};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::time::Duration;
use uuid::Uuid;

/// Advisory lock of merging: an arbitrary number that is the same in all binaries. Without this lock, two concurrent
/// senders would each send some of the elements.
const GATHER_LOCK: i64 = 0x6f72_6368_616c;
/// Maximum number of alerts created per transaction.
const MOST_AT_ONCE: i64 = 100;

/// Computes when the unsent parts of each group (alerts that are merged) are due: some time after the first part, later
/// the more alerts the group has had, and immediately when the run has ended. They are not due while an alert of the
/// group waits to be sent.
///
/// The query steps along the index from group to group, because groups are few but large, and senders run it after each
/// hint. It reads at most 1,000 groups. `$rest` is the rest of the statement, which selects from `open` with its
/// `due_at`.
macro_rules! open_parts {
    ($rest:literal $(, $value:expr)* $(,)?) => {
        sqlx::query!(
            "with recursive groups as (
              (select run, gather, at as since, 1 as depth from alert_part where alert is null order by run, gather, at limit 1)
              union all
              select n.run, n.gather, n.at, g.depth + 1 from groups g cross join lateral (
                select p.run, p.gather, p.at from alert_part p where p.alert is null and (p.run, p.gather) > (g.run, g.gather)
                order by p.run, p.gather, p.at limit 1) n
              where g.depth < 1000),
            open as (select g.run, g.gather, case when t.waits then null
                when r.state is null or r.state in ('success', 'failed') then g.since
                else greatest(g.since + $1::float8 * interval '1 second',
                  t.last + least($1::float8 * 2 ^ least(t.told, 20), $2::float8) * interval '1 second') end as due_at
              from groups g left join dag_run r on r.id = g.run
              cross join lateral (select count(*) as told, max(coalesce(a.ended_at, a.at)) as last, coalesce(bool_or(a.state = 'waiting'), false) as waits
                from alert a where a.run = g.run and a.gather = g.gather) t) " + $rest,
            GATHER_FOR.as_secs_f64(),
            LONGEST_GATHER.as_secs_f64()
            $(, $value)*
        )
    };
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NextAlert {
    /// Time until the next alert is due.
    pub send: Option<Duration>,
    /// Time until the alerts of more elements are due to be merged.
    pub gather: Option<Duration>,
}

impl NextAlert {
    pub fn soonest(self) -> Option<Duration> {
        self.send.into_iter().chain(self.gather).min()
    }
}

#[boxed]
pub async fn next_alert_in(db: &mut PgConnection) -> StoreResult<NextAlert> {
    let row = open_parts!(
        "select extract(epoch from (select min(due_at) from alert where state = 'waiting') - now())::float8 as send,
          extract(epoch from (select min(due_at) from open) - now())::float8 as gather"
    );
    let row = row.fetch_one(db).await?;
    let of = |secs: f64| Duration::try_from_secs_f64(secs.max(0.0)).unwrap_or_default();
    Ok(NextAlert { send: row.send.map(of), gather: row.gather.map(of) })
}

/// Merges the parts that are due into alerts, and returns the number of alerts.
#[boxed]
pub async fn gather_alerts(db: &mut PgConnection) -> StoreResult<usize> {
    let mut tx = db.begin().await?;
    let mine = sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock($1) as "mine!""#, GATHER_LOCK);
    if !mine.fetch_one(&mut *tx).await? {
        return Ok(0);
    }
    let due = open_parts!(
        r#"select run as "run!", gather as "gather!" from open where due_at <= now() order by due_at limit $3"#,
        MOST_AT_ONCE
    );
    let due = due.fetch_all(&mut *tx).await?;
    for group in &due {
        tell_together(&mut tx, group.run, &group.gather).await?;
    }
    tx.commit().await?;
    Ok(due.len())
}

/// Creates one alert from all unsent parts of a group, under the key of the first part. Parts that cannot be decoded
/// are counted, but not named. The caller holds the merging lock, so no other process merges these parts meanwhile.
async fn tell_together(db: &mut PgConnection, run: Uuid, gather: &str) -> StoreResult<()> {
    let id = sqlx::query_scalar!(
        "insert into alert (key, kind, notifier, facts, dag_id, run, run_id, logical_date, at, gather)
        select key, kind, notifier, facts, dag_id, run, run_id, logical_date, at, gather from alert_part
        where run = $1 and gather = $2 and alert is null order by at, id limit 1
        on conflict (key) do update set gather = excluded.gather returning id",
        run,
        gather
    );
    let id = id.fetch_one(&mut *db).await?;
    let first = sqlx::query!(
        r#"with taken as (update alert_part set alert = $3 where run = $1 and gather = $2 and alert is null
          returning id, map_index, facts)
        select facts::text as "facts!", count(*) over () as "count!" from taken order by map_index, id limit $4"#,
        run,
        gather,
        id,
        FEW_ELEMENTS as i64
    );
    let first = first.fetch_all(&mut *db).await?;
    let count = first.first().map_or(0, |row| row.count);
    let first: Vec<Facts> = first.iter().filter_map(|row| read(id, &row.facts).ok()).collect();
    if first.is_empty() {
        // No part can be decoded, so the alert cannot be decoded either. The next claim gives it up.
        return Ok(());
    }
    let facts = json(&gathered(count, &first));
    sqlx::query!("update alert set facts = $2::text::json where id = $1", id, facts).execute(db).await?;
    Ok(())
}
