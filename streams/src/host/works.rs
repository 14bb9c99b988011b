//! Tasks that a process runs under leases, for whole streams or for groups of partitions. Each is stopped when its
//! lease is lost.

use orch_sdk::task::TaskResult;
use std::collections::HashMap;
use std::fmt::Debug;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(super) struct Works<L> {
    running: JoinSet<()>,
    held: HashMap<Id, LeasedWork<L>>,
}

struct LeasedWork<L> {
    lease: L,
    /// Version of the stream's declaration that the task was started with.
    version: String,
    /// Stops the task on drop.
    _stop: DropGuard,
}

impl<L> Default for Works<L> {
    fn default() -> Self {
        Works { running: JoinSet::new(), held: HashMap::new() }
    }
}

impl<L: Clone + PartialEq + Debug> Works<L> {
    pub(super) fn leases(&self) -> Vec<L> {
        self.held.values().map(|held| held.lease.clone()).collect()
    }

    /// Stops the tasks for whose lease and stream version `holds` returns false.
    pub(super) fn keep(&mut self, holds: impl Fn(&L, &str) -> bool) {
        self.held.retain(|_, held| {
            let holds = holds(&held.lease, &held.version);
            if !holds {
                tracing::info!(lease = ?held.lease, "this process no longer runs it: the lease is lost, or it is declared otherwise by now");
            }
            holds
        });
    }

    pub(super) async fn end(&mut self) {
        self.running.shutdown().await;
    }

    /// Runs `work` until its lease is lost. Calls `failed` if `work` returns an error or panics.
    pub(super) fn start<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        lease: L,
        version: String,
        work: impl Future<Output = TaskResult<()>> + Send + 'static,
        failed: impl FnOnce(anyhow::Error) -> F + Send + 'static,
    ) {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let guarded = async move {
            // Run it as a separate task, so that a panic in a transformation is reported like any other failure.
            let mut inner = JoinSet::new();
            inner.spawn(work);
            let ended = tokio::select! {
                ended = inner.join_next() => ended,
                () = stopped.cancelled() => None,
            };
            inner.shutdown().await;
            match ended {
                Some(Ok(Err(error))) => failed(error).await,
                Some(Err(panic)) => failed(anyhow::anyhow!("it panicked: {panic}")).await,
                Some(Ok(Ok(()))) | None => {}
            }
        };
        let id = self.running.spawn(guarded).id();
        self.held.insert(id, LeasedWork { lease, version, _stop: stop.drop_guard() });
    }

    pub(super) async fn ended(&mut self) {
        match self.running.join_next_with_id().await {
            Some(ended) => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                self.held.remove(&id);
            }
            None => std::future::pending().await,
        }
    }
}
