//! Identifies a session of the database server, and ends it. A client that lost its connection cannot know whether the
//! server still executes its statements, so it ends the old session before it uses a new one.

use crate::{StoreError, StoreResult, boxed};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// Timeout for the end of a terminated session. By then it has rolled back or committed, unless it waits for a stuck
/// disk.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy)]
pub struct ServerSession {
    pid: i32,
    /// Start time of the session. It is compared too, because process ids are reused.
    began: DateTime<Utc>,
}

impl ServerSession {
    #[boxed]
    pub async fn of(db: &mut PgConnection) -> StoreResult<ServerSession> {
        let session = sqlx::query_as!(
            ServerSession,
            r#"select pid as "pid!", backend_start as "began!" from pg_stat_activity where pid = pg_backend_pid()"#
        );
        Ok(session.fetch_one(db).await?)
    }

    /// Ends the session. Once this returns, each of its statements has either been executed or never will be.
    #[boxed]
    pub async fn end(self, db: &mut PgConnection) -> StoreResult<()> {
        let over = async {
            loop {
                let told = sqlx::query_scalar!(
                    "select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and backend_start = $2",
                    self.pid,
                    self.began
                );
                if told.fetch_optional(&mut *db).await?.is_none() {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let waited = tokio::time::timeout(ENDS_WITHIN, over).await;
        waited.unwrap_or_else(|_| Err(StoreError::Unreachable(sqlx::Error::PoolTimedOut)))
    }
}
