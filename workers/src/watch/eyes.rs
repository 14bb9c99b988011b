//! Services that the worker provides to pokes.

use crate::clock;
use crate::secrets::Secrets;
use chrono::{DateTime, Utc};
use orch_sdk::task::{
    Awaited, BoxFuture, Condition, ConditionResult, Conditions, Connection, Eyes, RunSeen, TaskResult, fatal,
};
use orch_sdk::wait::RunWait;
use orch_store::version::Versions;
use orch_store::watch::runs;
use sqlx::PgPool;
use std::sync::Arc;

/// Conditions that this worker can poll, and the secrets that they use.
#[derive(Clone)]
pub(crate) struct Outlook {
    pub(crate) conditions: Arc<Conditions>,
    pub(crate) secrets: Secrets,
}

#[derive(Clone)]
pub(super) struct WorkerEyes {
    outlook: Outlook,
    pool: PgPool,
    versions: Versions,
}

impl WorkerEyes {
    pub(super) fn new(outlook: &Outlook, pool: &PgPool) -> WorkerEyes {
        WorkerEyes { outlook: outlook.clone(), pool: pool.clone(), versions: Versions::default() }
    }

    pub(super) fn condition(&self, kind: &str) -> Option<&Arc<dyn Condition>> {
        self.outlook.conditions.get(kind)
    }
}

impl Eyes for WorkerEyes {
    fn now(&self) -> DateTime<Utc> {
        clock::now()
    }

    fn connection(&self, id: &str) -> BoxFuture<TaskResult<Connection>> {
        let (secrets, id) = (self.outlook.secrets.clone(), id.to_string());
        Box::pin(async move { secrets.connection(&id).await })
    }

    fn variable(&self, key: &str) -> BoxFuture<TaskResult<Option<String>>> {
        let (secrets, key) = (self.outlook.secrets.clone(), key.to_string());
        Box::pin(async move { secrets.variable(&key).await })
    }

    fn runs(&self, asked: Vec<RunWait>) -> BoxFuture<TaskResult<Vec<Option<RunSeen>>>> {
        let (pool, mut versions) = (self.pool.clone(), self.versions.clone());
        Box::pin(async move {
            let mut db = pool.acquire().await?;
            Ok(runs(&mut db, &mut versions, &asked).await?)
        })
    }

    fn poke_awaited(&self, at: Awaited) -> BoxFuture<ConditionResult> {
        match self.condition(&at.kind) {
            Some(condition) => condition.poke(at.config, Arc::new(self.clone())),
            None => {
                let problem = format!("no condition of kind `{}` is known here", at.kind);
                Box::pin(async move { Err(fatal(problem)) })
            }
        }
    }
}
