//! Condition on the result of a query in a user's Postgres. All conditions of a connection share one small pool.

use crate::outside::postgres::{Pools, ask};
use orch_sdk::task::{BoxFuture, Condition, ConditionResult, Eyes, fatal};
use orch_sdk::wait::{SqlWait, is_truthy, read};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Sql {
    pools: Pools,
}

impl Default for Sql {
    fn default() -> Sql {
        Sql { pools: Pools::new(Some(STATEMENT_TIMEOUT), CONNECT_TIMEOUT) }
    }
}

impl Condition for Sql {
    fn kind(&self) -> &'static str {
        SqlWait::KIND
    }

    fn check(&self, config: &Value) -> Result<(), String> {
        read::<SqlWait>(config).map(drop)
    }

    fn poke(&self, config: Value, eyes: Arc<dyn Eyes>) -> BoxFuture<ConditionResult> {
        let pools = self.pools.clone();
        Box::pin(async move {
            let wait: SqlWait = read(&config).map_err(fatal)?;
            let pool = pools.of(eyes.connection(&wait.connection).await?)?;
            let mut db = pool.acquire().await?;
            let found = ask(&mut db, &wait.statement, &wait.params, 1).await?;
            let (Some(column), Some(row)) = (found.columns.first(), found.rows.into_iter().next()) else {
                return Ok(None);
            };
            Ok(is_truthy(&row[column]).then_some(row))
        })
    }
}
