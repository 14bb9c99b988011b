//! Work of schedulers: one statement returns which kinds of work there are, and each kind has its function.

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

/// Kinds of work that exist now.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one answer of the look")]
pub struct Due {
    /// Time of the database.
    pub now: DateTime<Utc>,
    pub server_started: DateTime<Utc>,
    /// The scheduler's own row exists.
    pub known: bool,
    /// A schedule is due, and its DAG may have another run.
    pub dags: bool,
    /// An event is not distributed, a condition over assets must be evaluated, an asset has become stale, or a check
    /// failed.
    pub assets: bool,
    /// A queued run can start.
    pub queued: bool,
    /// A backfill can continue.
    pub backfills: bool,
    pub timed_out: bool,
    /// A deadline is due, or a run has started from whose start a deadline counts.
    pub deadlines: bool,
    pub waiting: bool,
    /// An outcome was recorded a while ago and no worker folded it, or rows of skipped instances are not written.
    pub unfolded: bool,
    /// The lease of a worker has expired.
    pub workers: bool,
    /// A lost worker may have claimed attempts when it woke up.
    pub orphans: bool,
    /// No worker offers some DAG any more.
    pub stale: bool,
    /// No worker offers the version of some run any more.
    pub stranded: bool,
    /// An attempt has been claimable for very long.
    pub queued_long: bool,
    /// An attempt waits for slots.
    pub parked: bool,
    /// Slots were not recounted for a while.
    pub recount: bool,
    /// A retention pass is due, which creates partitions and removes old rows.
    pub retention: bool,
    /// Shortest lease of the living workers. `None` if there are none.
    pub shortest_lease_secs: Option<f64>,
    /// When the next of these kinds of work is due.
    pub next_at: Option<DateTime<Utc>>,
}

/// Time limits after which there is work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    /// Time for which outcomes are left to the workers that recorded them.
    pub fold: Duration,
    /// Time after which a DAG that no worker offers is stale.
    pub stale: Duration,
    /// Time after which an unclaimed attempt is reported.
    pub queued: Duration,
    /// End of the last time in which workers could not renew their leases, as far as the scheduler knows.
    pub awake: Option<DateTime<Utc>>,
}

/// Renews a scheduler's heartbeat, and returns which kinds of work there are.
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

/// Makes at most `most` waiting attempts claimable whose time has come, and returns their number.
#[boxed]
pub async fn wake_waiting(db: &mut PgConnection, most: i64) -> StoreResult<u64> {
    Ok(sqlx::query_file!("queries/due/wake.sql", most).execute(db).await?.rows_affected())
}

/// Returns DAGs with a queued run that is due and may start.
#[boxed]
pub async fn dags_with_room(db: &mut PgConnection, most: i64) -> StoreResult<Vec<String>> {
    let dags = sqlx::query_scalar!(
        r#"select dag_id as "dag_id!" from dags_with_room() as d (dag_id) order by dag_id limit $1"#,
        most
    );
    Ok(dags.fetch_all(db).await?)
}

/// Returns running runs whose timeout has passed.
#[boxed]
pub async fn timed_out_runs(db: &mut PgConnection, most: i64) -> StoreResult<Vec<(Uuid, String)>> {
    let rows = sqlx::query!(
        "select id, dag_id from dag_run where state = 'running' and timeout_at <= now() order by timeout_at limit $1",
        most
    );
    Ok(rows.fetch_all(db).await?.into_iter().map(|row| (row.id, row.dag_id)).collect())
}
