//! The queues that a worker takes from, by their ids: the driver claims tries of them, the watcher conditions.

use orch_spec::Isolation;
use orch_store::StoreResult;
use orch_store::version::{lane, queue_ids};
use sqlx::PgConnection;

/// Ids of the queues a worker takes from.
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
