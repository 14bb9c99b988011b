//! Queues that a worker serves: the main loop claims attempts from them, and the watcher polls conditions in them.

use orch_spec::Isolation;
use orch_store::StoreResult;
use orch_store::version::{lane, queue_ids};
use sqlx::PgConnection;

#[derive(Debug, Clone, Default)]
pub(crate) struct QueueIds {
    pub(crate) in_process: Vec<i32>,
    pub(crate) process: Vec<i32>,
}

impl QueueIds {
    pub(crate) async fn of(db: &mut PgConnection, names: &[String]) -> StoreResult<QueueIds> {
        let of = |isolation| names.iter().map(|name| lane(name, isolation)).collect();
        let in_process = queue_ids(db, of(Isolation::InProcess)).await?.into_values().collect();
        let process = queue_ids(db, of(Isolation::Process)).await?.into_values().collect();
        Ok(QueueIds { in_process, process })
    }

    pub(crate) fn all(&self) -> Vec<i32> {
        [&self.in_process[..], &self.process].concat()
    }
}
