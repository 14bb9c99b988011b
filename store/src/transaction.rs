//! Detection of long-running transactions, which prevent VACUUM from removing dead rows.

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

/// The oldest open transaction of this database, and the session that opened it.
#[derive(Debug, Clone, PartialEq)]
pub struct OldestTransaction {
    /// Process id of the Postgres backend that serves the session.
    pub pid: i32,
    pub user: String,
    /// Application name of the client. Empty if the client did not set one.
    pub application_name: String,
    /// Network address of the client. `None` if the client is connected through a Unix domain socket.
    pub client_address: Option<String>,
    /// State of the session in `pg_stat_activity`, such as `idle in transaction`.
    pub state: String,
    pub started_at: DateTime<Utc>,
    pub age_secs: f64,
}

impl OldestTransaction {
    /// Formats the session for messages: `psql (pid 4711)`. Uses the user name if the application name is empty.
    pub fn session(&self) -> String {
        let name = if self.application_name.is_empty() { &self.user } else { &self.application_name };
        format!("{name} (pid {})", self.pid)
    }
}

/// Returns the oldest open transaction of any client except the session `db` itself, or `None` if no transaction is
/// open.
///
/// VACUUM cannot remove row versions that became dead after the oldest transaction started, so frequently updated
/// tables grow. Transactions of autovacuum are ignored, because they do not keep dead rows. Postgres shows transactions
/// of other roles only to members of `pg_read_all_stats`.
#[boxed]
pub async fn oldest_transaction(db: &mut PgConnection) -> StoreResult<Option<OldestTransaction>> {
    let oldest = sqlx::query_as!(
        OldestTransaction,
        r#"select pid as "pid!", coalesce(usename::text, '') as "user!", coalesce(application_name, '') as "application_name!",
          host(client_addr) as client_address, coalesce(state, '') as "state!", xact_start as "started_at!",
          greatest(extract(epoch from clock_timestamp() - xact_start), 0)::float8 as "age_secs!"
        from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
          and backend_type = 'client backend' and xact_start is not null
        order by xact_start limit 1"#
    );
    Ok(oldest.fetch_optional(db).await?)
}
