//! What a Postgres of a user says. One small pool for each connection, however many wait.

use crate::outside::postgres::{ask, options};
use orch_sdk::task::{BoxFuture, Condition, Connection, Eyes, Look, TaskResult, fatal};
use orch_sdk::wait::{SqlWait, is_truthy, read};
use serde_json::Value;
use sqlx::postgres::{PgPool, PgPoolOptions};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Sessions at a user's server, for all who wait for it here.
const MOST_SESSIONS: u32 = 2;
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_mins(2);
/// Connections whose pools are kept.
const MOST_POOLS: usize = 64;

#[derive(Default)]
pub(super) struct Sql {
    pools: Arc<Mutex<HashMap<String, (Connection, PgPool)>>>,
}

impl Sql {
    /// The pool of a connection as it is now: somebody may have changed it.
    fn pool(&self, connection: Connection) -> TaskResult<PgPool> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, pool)) = pools.get(&connection.id)
            && *known == connection
        {
            return Ok(pool.clone());
        }
        let options = options(&connection, Some(STATEMENT_TIMEOUT))?;
        let pool = PgPoolOptions::new()
            .max_connections(MOST_SESSIONS)
            .acquire_timeout(CONNECT_TIMEOUT)
            .idle_timeout(IDLE)
            .connect_lazy_with(options);
        if pools.len() >= MOST_POOLS {
            pools.clear();
        }
        pools.insert(connection.id.clone(), (connection, pool.clone()));
        Ok(pool)
    }
}

impl Condition for Sql {
    fn kind(&self) -> &'static str {
        SqlWait::KIND
    }

    fn check(&self, config: &Value) -> Result<(), String> {
        read::<SqlWait>(config).map(drop)
    }

    fn look(&self, config: Value, eyes: Arc<dyn Eyes>) -> BoxFuture<Look> {
        let all = Sql { pools: self.pools.clone() };
        Box::pin(async move {
            let wait: SqlWait = read(&config).map_err(fatal)?;
            let pool = all.pool(eyes.connection(&wait.connection).await?)?;
            let mut db = pool.acquire().await?;
            let found = ask(&mut db, &wait.statement, &wait.params, 1).await?;
            let (Some(column), Some(row)) = (found.columns.first(), found.rows.into_iter().next()) else {
                return Ok(None);
            };
            Ok(is_truthy(&row[column]).then_some(row))
        })
    }
}
