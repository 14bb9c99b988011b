//! Scheduler and web server processes, recorded for display and health checks only. The engine makes no decision based
//! on these rows.

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::PgConnection;

/// A scheduler or web server process, which may have died.
#[derive(Debug, Clone)]
pub struct ProcessRow {
    pub id: i32,
    /// Kind of the process: `scheduler` or `web`.
    pub role: String,
    pub hostname: String,
    pub pid: i32,
    pub binary_version: String,
    /// Memory of the process in MB at its last heartbeat.
    pub memory_mb: i32,
    pub started_at: DateTime<Utc>,
    pub heartbeat_at: DateTime<Utc>,
    /// Seconds since the last heartbeat of the process, by the database clock.
    pub silent_secs: f64,
    /// JSON object with the time of the last iteration of each internal loop, by loop name.
    pub progress: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Scheduler,
    Web,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Scheduler => "scheduler",
            Role::Web => "web",
        }
    }
}

#[boxed]
pub async fn register_process(db: &mut PgConnection, role: Role, hostname: &str, pid: u32) -> StoreResult<i32> {
    let id = sqlx::query_scalar!(
        "insert into process (role, hostname, pid, binary_version, memory_mb) values ($1, $2, $3, $4, $5) returning id",
        role.as_str(),
        hostname,
        pid as i32,
        env!("CARGO_PKG_VERSION"),
        memory_mb()
    );
    Ok(id.fetch_one(db).await?)
}

/// Records a heartbeat of a process, and when each of its internal loops last ran.
#[boxed]
pub async fn heartbeat(db: &mut PgConnection, id: i32, progress: &Value) -> StoreResult<()> {
    sqlx::query!(
        "update process set heartbeat_at = now(), progress = $2::text::json, memory_mb = $3 where id = $1",
        id,
        progress.to_string(),
        memory_mb()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes the row of a process that stops normally.
#[boxed]
pub async fn forget_process(db: &mut PgConnection, id: i32) -> StoreResult<()> {
    sqlx::query!("delete from process where id = $1", id).execute(db).await?;
    Ok(())
}

/// Returns at most 200 processes, sorted by last heartbeat, newest first.
#[boxed]
pub async fn list_processes(db: &mut PgConnection) -> StoreResult<Vec<ProcessRow>> {
    let rows = sqlx::query_as!(
        ProcessRow,
        r#"select id, role, hostname, pid, binary_version, memory_mb, started_at, heartbeat_at,
          extract(epoch from now() - heartbeat_at)::float8 as "silent_secs!", progress
        from process order by heartbeat_at desc limit 200"#
    );
    Ok(rows.fetch_all(db).await?)
}

/// Deletes processes whose last heartbeat is more than a day old.
#[boxed]
pub async fn forget_silent(db: &mut PgConnection) -> StoreResult<()> {
    sqlx::query!("delete from process where heartbeat_at < now() - interval '1 day'").execute(db).await?;
    Ok(())
}

/// Returns the resident memory of this process in MB, or 0 if the operating system does not report it.
pub(crate) fn memory_mb() -> i32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<i32>().ok());
    kilobytes.map_or(0, |kilobytes| kilobytes / 1_024)
}
