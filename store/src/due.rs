//! Work of schedulers. `poll_due` returns in one statement which kinds of work are due, and each kind has its own
//! function.

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

/// The kinds of work that are due.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one answer of the look")]
pub struct Due {
    /// Current time of the database.
    pub now: DateTime<Utc>,
    pub server_started: DateTime<Utc>,
    /// True if the scheduler's own row exists.
    pub known: bool,
    /// A schedule is due, and the limit of its DAG allows another run.
    pub dags: bool,
    /// An event is not distributed, a condition over assets must be evaluated, an asset has become stale, or a check
    /// failed.
    pub assets: bool,
    /// A queued run can start.
    pub queued: bool,
    /// A backfill can continue.
    pub backfills: bool,
    pub timed_out: bool,
    /// A deadline is due, or a run has started whose deadline counts from its start.
    pub deadlines: bool,
    pub waiting: bool,
    /// An outcome was recorded a while ago but not folded (applied to its run), or rows of skipped instances are
    /// missing.
    pub unfolded: bool,
    /// The lease of a worker has expired.
    pub workers: bool,
    /// A DAG exists that no worker offers any more, and it is not marked as stale yet.
    pub orphans: bool,
    /// A DAG exists that no worker offers any more.
    pub stale: bool,
    /// A run exists whose DAG version no worker offers any more.
    pub stranded: bool,
    /// An attempt has been claimable for longer than [`After::queued`].
    pub queued_long: bool,
    /// An attempt waits for slots.
    pub parked: bool,
    /// The last recount of slots is too long ago.
    pub recount: bool,
    /// A retention pass is due, which creates partitions and removes old rows.
    pub retention: bool,
    /// Shortest lease of the live workers. `None` if there are no live workers.
    pub shortest_lease_secs: Option<f64>,
    /// Time at which more work becomes due.
    pub next_at: Option<DateTime<Utc>>,
}

/// Delays after which a condition counts as work for schedulers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    /// Delay before schedulers fold outcomes. Until then they are left to the workers that recorded them.
    pub fold: Duration,
    /// Delay after which a DAG that no worker offers is marked as stale.
    pub stale: Duration,
    /// Delay after which an unclaimed attempt is reported.
    pub queued: Duration,
    /// End of the last period in which workers could not renew their leases, as far as the scheduler knows.
    pub awake: Option<DateTime<Utc>>,
}

/// Renews a scheduler's heartbeat, and returns the kinds of work that are due.
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

/// Makes at most `most` attempts claimable that waited for a time which has passed. Returns their number.
#[boxed]
pub async fn wake_waiting(db: &mut PgConnection, most: i64) -> StoreResult<u64> {
    Ok(sqlx::query_file!("queries/due/wake.sql", most).execute(db).await?.rows_affected())
}

/// Returns DAGs that have a queued run which is due and may start.
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
