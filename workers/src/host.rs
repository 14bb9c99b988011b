//! What a body may ask of the worker that runs it.

use crate::logs::{AttemptLog, Line};
use crate::patience::patiently;
use crate::secrets::Secrets;
use orch_core::plan::Plan;
use orch_core::task::{BoxFuture, Connection, Host, LogLevel, TaskResult, fatal};
use orch_store::output;
use orch_store::step::Lease;
use serde_json::{Map, Value};
use sqlx::PgPool;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::sync::CancellationToken;

/// One body's host.
pub(crate) struct WorkerHost {
    pub(crate) lease: Lease,
    pub(crate) plan: Arc<Plan>,
    pub(crate) log: Arc<AttemptLog>,
    pub(crate) cancel: CancellationToken,
    pub(crate) pool: PgPool,
    pub(crate) secrets: Secrets,
    pub(crate) rows: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

impl Host for WorkerHost {
    fn log(&self, level: LogLevel, message: &str, fields: Map<String, Value>) {
        self.log.say(&Line::said(level, message, fields));
    }

    fn progress(&self, rows: u64, bytes: u64) {
        self.rows.store(rows, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn cancelled_future(&self) -> BoxFuture<()> {
        let cancel = self.cancel.clone();
        Box::pin(async move { cancel.cancelled().await })
    }

    fn connection(&self, id: &str) -> BoxFuture<TaskResult<Connection>> {
        let (secrets, id) = (self.secrets.clone(), id.to_string());
        Box::pin(async move { secrets.connection(&id).await })
    }

    fn variable(&self, key: &str) -> BoxFuture<TaskResult<Option<String>>> {
        let (secrets, key) = (self.secrets.clone(), key.to_string());
        Box::pin(async move { secrets.variable(&key).await })
    }

    fn push(&self, key: &str, value: Value) -> BoxFuture<TaskResult<()>> {
        let (pool, lease, key) = (self.pool.clone(), self.lease, key.to_string());
        let secrets = self.secrets.clone();
        Box::pin(async move {
            if key.is_empty() || key.len() > 512 || key.contains('\0') {
                return Err(fatal(format!("the key {key:?} cannot be used: 1 to 512 bytes without NUL")));
            }
            let (kept, _) = secrets.kept(lease.run, &value)?;
            let put = || async {
                let mut db = pool.acquire().await?;
                output::put(&mut db, lease, &key, &kept).await
            };
            if patiently(put).await? {
                return Ok(());
            }
            Err(fatal("this try is not the current one any more"))
        })
    }

    fn pull(&self, task_id: &str, key: &str, map_index: Option<u32>) -> BoxFuture<TaskResult<Option<Value>>> {
        let (pool, run, key, task_id) = (self.pool.clone(), self.lease.run, key.to_string(), task_id.to_string());
        let task = self.plan.index_of(&task_id);
        let secrets = self.secrets.clone();
        Box::pin(async move {
            let task = task.ok_or_else(|| fatal(format!("this dag has no task `{task_id}`")))?;
            let index = map_index.map_or(-1, |i| i as i32);
            let get = || async {
                let mut db = pool.acquire().await?;
                output::get(&mut db, run, task, index, &key).await
            };
            let found = patiently(get).await?;
            Ok(found.map(|value| secrets.given(run, value)).transpose()?)
        })
    }
}
