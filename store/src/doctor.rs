//! Health checks of a database: limits of the server, and work that should have been picked up long ago.

mod history;

pub use history::{NamedDifference, VerifiedRun, WhichHistory, count_history, verify_history};

use crate::{
    StoreResult, boxed,
    parked::{ParkedRun, parked_runs},
    transaction::oldest_transaction,
};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

/// Results of the health checks. All timestamps are times of the database.
#[derive(Debug, Clone, PartialEq)]
pub struct Vitals {
    pub now: DateTime<Utc>,
    pub server_version: String,
    pub connections: i64,
    pub max_connections: i64,
    /// Number of consecutive weeks that have partitions, including the current week.
    pub weeks_ahead: i64,
    /// True if steps of `ctx.commit` run as a role that cannot read orch's tables.
    pub steps_have_a_role: bool,
    /// Number of claimable attempts, and the age of the oldest one in seconds.
    pub ready: i64,
    pub oldest_ready_secs: Option<f64>,
    /// Queues that have claimable attempts but no live worker.
    pub queues_without_worker: Vec<String>,
    /// Number of outcomes that are recorded but not in the ledger of their run, and the age of the oldest one in
    /// seconds.
    pub unfolded: i64,
    pub oldest_unfolded_secs: Option<f64>,
    /// Number of waits whose wake-up time or timeout has passed, and how many seconds ago the earliest one passed.
    pub overdue: i64,
    pub oldest_overdue_secs: Option<f64>,
    /// Age of the oldest open transaction, which prevents Postgres from removing dead rows, and the session that opened
    /// it. `None` if no transaction is open.
    pub oldest_transaction_secs: Option<f64>,
    pub oldest_transaction_of: Option<String>,
    /// Running runs that cannot progress: they have nothing that is running, claimable, held, waiting or unfolded.
    pub stranded: Vec<String>,
    /// Runs that cannot continue, each with the reason.
    pub parked: Vec<ParkedRun>,
}

/// Maximum number of stranded runs that are returned.
const MOST_STRANDED: i64 = 20;

#[boxed]
pub async fn vitals(db: &mut PgConnection) -> StoreResult<Vitals> {
    let server = sqlx::query!(
        r#"select now() as "now!", current_setting('server_version') as "server_version!",
          current_setting('max_connections')::bigint as "max_connections!",
          steps_have_a_role() as "steps_have_a_role!",
          (select count(*) from pg_stat_activity where backend_type = 'client backend') as "connections!",
          (select count(*) from generate_series(0, 60) w where not exists (
            select from generate_series(0, w) v where to_regclass('task_instance_' || to_char(
              date_trunc('week', now() at time zone 'UTC') + v * interval '1 week', 'IYYY"w"IW')) is null)) as "weeks!""#
    )
    .fetch_one(&mut *db)
    .await?;
    let left = sqlx::query!(
        r#"select (select count(*) from ready where queue > 0) as "ready!",
          (select extract(epoch from now() - min(queued_at))::float8 from ready where queue > 0) as oldest_ready,
          array(select q.name from queue q where exists (select from ready where queue = q.id) and not exists (
            select from worker w where w.state = 'running' and w.expires_at > now() and q.id = any(w.queues))
            order by 1) as "queues!",
          (select count(*) from unfolded) as "unfolded!",
          (select extract(epoch from now() - min(recorded_at))::float8 from unfolded) as oldest_unfolded,
          (select count(*) from waiting where case when state = 'awaiting_input' and kind is not null then give_up_at
            else wake_at end < now()) as "overdue!",
          (select extract(epoch from now() - min(due))::float8 from (select case when state = 'awaiting_input'
            and kind is not null then give_up_at else wake_at end as due from waiting) w where due < now()) as oldest_overdue"#
    )
    .fetch_one(&mut *db)
    .await?;
    let oldest = oldest_transaction(db).await?;
    Ok(Vitals {
        now: server.now,
        server_version: server.server_version,
        connections: server.connections,
        max_connections: server.max_connections,
        weeks_ahead: server.weeks,
        steps_have_a_role: server.steps_have_a_role,
        ready: left.ready,
        oldest_ready_secs: left.oldest_ready,
        queues_without_worker: left.queues,
        unfolded: left.unfolded,
        oldest_unfolded_secs: left.oldest_unfolded,
        overdue: left.overdue,
        oldest_overdue_secs: left.oldest_overdue,
        oldest_transaction_secs: oldest.as_ref().map(|oldest| oldest.age_secs),
        oldest_transaction_of: oldest.map(|oldest| oldest.session()),
        stranded: stranded(db).await?,
        parked: parked_runs(db, MOST_STRANDED).await?,
    })
}

/// Returns stranded runs. Runs that started less than a minute ago are left out, because they may be between two
/// states.
async fn stranded(db: &mut PgConnection) -> StoreResult<Vec<String>> {
    let runs = sqlx::query_scalar!(
        r#"select r.dag_id || ' ' || r.run_id as "run!" from dag_run r
        where r.state = 'running' and r.started_at < now() - interval '1 minute'
          and not exists (select from ready x where x.run = r.id) and not exists (select from held x where x.run = r.id)
          and not exists (select from waiting x where x.run = r.id)
          and not exists (select from unfolded x where x.run = r.id)
          and not exists (select from task_instance t where t.run = r.id
            and t.state not in ('success', 'failed', 'skipped', 'upstream_failed', 'removed'))
        order by r.run_after limit $1"#,
        MOST_STRANDED
    );
    Ok(runs.fetch_all(db).await?)
}
