//! Interface between a worker process and the code that runs streams. It keeps the engine independent of that code,
//! which depends on table formats and message brokers.

use crate::cluster::AskCluster;
use crate::{StoreResult, boxed, hint::Hints, lake_view::FindConnection};
use orch_sdk::task::BoxFuture;
use sqlx::PgPool;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The environment that a process provides to the streams that it runs.
#[derive(Clone)]
pub struct StreamHost {
    /// Name under which the process's binary is registered.
    pub bundle: String,
    /// True if the streams in the binary are disabled. Streams that are defined in files still run.
    pub is_hidden: bool,
    /// Name of the worker, for display to users.
    pub name: String,
    pub pool: PgPool,
    pub hints: Hints,
    pub find: Arc<FindConnection>,
    /// Masks secrets in text before the text is stored.
    pub mask: fn(&str) -> String,
    /// Lease duration. A process that sends no heartbeat for this long loses its streams.
    pub lease: Duration,
    pub paused_at_creation: bool,
    /// Folder with files that define streams, or `None` if there is none.
    pub folder: Option<PathBuf>,
    pub stop: CancellationToken,
}

type Run = dyn Fn(StreamHost) -> BoxFuture<StoreResult<()>> + Send + Sync;

/// The streams of a binary, as functions that run and query them. Most binaries have none.
#[derive(Clone, Default)]
pub struct StreamSource {
    run: Option<Arc<Run>>,
    ask: Option<Arc<AskCluster>>,
}

impl StreamSource {
    /// Creates a source of streams. `run` registers the streams and runs them until the process stops. `ask` answers
    /// queries about topics in Kafka clusters.
    pub fn new(
        run: impl Fn(StreamHost) -> BoxFuture<StoreResult<()>> + Send + Sync + 'static,
        ask: Arc<AskCluster>,
    ) -> Self {
        StreamSource { run: Some(Arc::new(run)), ask: Some(ask) }
    }

    pub fn is_there(&self) -> bool {
        self.run.is_some()
    }

    #[boxed]
    pub async fn run_streams(&self, host: StreamHost) -> StoreResult<()> {
        match &self.run {
            Some(run) => run(host).await,
            None => Ok(()),
        }
    }

    /// Returns the handler for queries about topics in Kafka clusters.
    pub fn clusters(&self) -> Option<Arc<AskCluster>> {
        self.ask.clone()
    }
}

impl fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_there() { "StreamSource" } else { "no StreamSource" })
    }
}
