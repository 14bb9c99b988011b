//! What schedulers look at: one statement tells what there is to do, and each thing to do is one function.

mod stale;
mod tick;

pub use stale::{StrandedRun, mark_stale_dags, queued_too_long, stranded_runs};
pub use tick::{create_due_runs, due_dags};

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use std::time::Duration;
use uuid::Uuid;

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one answer of the look")]
pub struct Due {
    /// By the database's clock.
    pub now: DateTime<Utc>,
    pub server_started: DateTime<Utc>,
    /// The scheduler's own row is there.
    pub known: bool,
    /// A schedule asks for a run, and its DAG has room for one.
    pub dags: bool,
    /// Events of assets are new, a condition over assets is to be asked, an asset has become stale, or a check failed.
    pub assets: bool,
    /// A queued run could begin.
    pub queued: bool,
    /// A backfill could go on.
    pub backfills: bool,
    pub timed_out: bool,
    /// A run should be over by now, or one that has a time for it has begun.
    pub deadlines: bool,
    pub waiting: bool,
    /// An outcome was recorded a while ago and no worker folded it, or rows of skipped instances are not written.
    pub unfolded: bool,
    /// A worker's lease is over.
    pub workers: bool,
    /// A lost worker may have taken something when it woke up.
    pub orphans: bool,
    /// Nobody offers some DAG any more.
    pub stale: bool,
    /// Nobody offers the version of some run any more.
    pub stranded: bool,
    /// A try waits to be claimed for very long.
    pub queued_long: bool,
    /// Somebody waits to be let in at a gate.
    pub parked: bool,
    /// Slots were not compared for a while with the tries that live.
    pub recount: bool,
    /// Nobody made partitions and dropped old ones for an hour.
    pub retention: bool,
    /// Of the workers that live; none lives: `None`.
    pub shortest_lease_secs: Option<f64>,
    /// When the next of these things is due that is not yet.
    pub next_at: Option<DateTime<Utc>>,
}

/// After how long something is worth a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    /// Outcomes are left to the workers that recorded them so long.
    pub fold: Duration,
    /// What no worker has offered.
    pub stale: Duration,
    /// What no worker has claimed.
    pub queued: Duration,
    /// When workers were last kept from renewing their leases, as far as the scheduler knows: until then.
    pub awake: Option<DateTime<Utc>>,
}

/// Renews a scheduler's heartbeat and says what there is to do.
#[boxed]
pub async fn poll_due(db: &mut PgConnection, process: i32, progress: &Value, after: &After) -> StoreResult<Due> {
    let due = sqlx::query_file_as!(
        Due,
        "queries/due/look.sql",
        process,
        progress.to_string(),
        after.fold.as_secs_f64(),
        after.stale.as_secs_f64(),
        after.queued.as_secs_f64(),
        crate::process::memory_mb(),
        after.awake
    );
    Ok(due.fetch_one(db).await?)
}

/// Makes claimable what has waited long enough, at most so many; how many that were.
#[boxed]
pub async fn wake_waiting(db: &mut PgConnection, most: i64) -> StoreResult<u64> {
    Ok(sqlx::query_file!("queries/due/wake.sql", most).execute(db).await?.rows_affected())
}

/// DAGs with queued runs that are due and room for one more.
#[boxed]
pub async fn dags_with_room(db: &mut PgConnection, most: i64) -> StoreResult<Vec<String>> {
    let dags = sqlx::query_scalar!(
        r#"select dag_id as "dag_id!" from dags_with_room() as d (dag_id) order by dag_id limit $1"#,
        most
    );
    Ok(dags.fetch_all(db).await?)
}

/// Running runs whose time is over.
#[boxed]
pub async fn timed_out_runs(db: &mut PgConnection, most: i64) -> StoreResult<Vec<(Uuid, String)>> {
    let rows = sqlx::query!(
        "select id, dag_id from dag_run where state = 'running' and timeout_at <= now() order by timeout_at limit $1",
        most
    );
    Ok(rows.fetch_all(db).await?.into_iter().map(|row| (row.id, row.dag_id)).collect())
}
