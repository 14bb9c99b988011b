//! Access of a process to the streams of its binary and to the clusters that they read. The code that runs streams
//! depends on tables and brokers; the engine does not.

use crate::cluster::AskCluster;
use crate::{StoreResult, boxed, hint::Hints, lake_view::FindConnection};
use orch_sdk::task::BoxFuture;
use sqlx::PgPool;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The environment that a process provides to its streams.
#[derive(Clone)]
pub struct StreamHost {
    /// Name under which the binary is registered.
    pub bundle: String,
    /// True if the streams of the binary are disabled. Streams of files run anyway.
    pub is_hidden: bool,
    /// Name of the worker, for display.
    pub name: String,
    pub pool: PgPool,
    pub hints: Hints,
    pub find: Arc<FindConnection>,
    /// Masks secrets in stored text.
    pub mask: fn(&str) -> String,
    /// A process without a heartbeat for this long loses its streams.
    pub lease: Duration,
    pub paused_at_creation: bool,
    /// Folder of the files with streams, if there is one.
    pub folder: Option<PathBuf>,
    pub stop: CancellationToken,
}

type Run = dyn Fn(StreamHost) -> BoxFuture<StoreResult<()>> + Send + Sync;

/// The streams of a binary. Most binaries have none.
#[derive(Clone, Default)]
pub struct StreamSource {
    run: Option<Arc<Run>>,
    ask: Option<Arc<AskCluster>>,
}

impl StreamSource {
    /// Creates a source. `run` registers the streams and runs them until the host stops; `ask` answers queries about
    /// topics of clusters.
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

    /// Returns the object that answers queries about topics of clusters.
    pub fn clusters(&self) -> Option<Arc<AskCluster>> {
        self.ask.clone()
    }
}

impl fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_there() { "StreamSource" } else { "no StreamSource" })
    }
}
