//! The way of a process to the streams of its binary, and to the clusters that they read. What runs them knows tables and brokers, which
//! the engine does not.

use crate::cluster::AskCluster;
use crate::{StoreResult, boxed, hint::Hints, lake_view::FindConnection};
use orch_sdk::task::BoxFuture;
use sqlx::PgPool;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What a process gives to the streams that it runs.
#[derive(Clone)]
pub struct StreamHost {
    /// The name that the binary is registered under.
    pub bundle: String,
    /// Whether the streams of the binary are switched off. Streams of files run anyway.
    pub is_hidden: bool,
    /// For people: the name of the worker.
    pub name: String,
    pub pool: PgPool,
    pub hints: Hints,
    pub find: Arc<FindConnection>,
    /// Takes secrets out of what is written down.
    pub mask: fn(&str) -> String,
    /// A process that is silent for so long has lost its streams.
    pub lease: Duration,
    pub paused_at_creation: bool,
    /// Where files with streams are, if anywhere.
    pub folder: Option<PathBuf>,
    pub stop: CancellationToken,
}

type Run = dyn Fn(StreamHost) -> BoxFuture<StoreResult<()>> + Send + Sync;

/// The streams of a binary. Most have none.
#[derive(Clone, Default)]
pub struct StreamSource {
    run: Option<Arc<Run>>,
    ask: Option<Arc<AskCluster>>,
}

impl StreamSource {
    /// `run` registers the streams and runs them until the host stops; `ask` answers questions about topics of clusters.
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

    /// What answers questions about topics of clusters.
    pub fn clusters(&self) -> Option<Arc<AskCluster>> {
        self.ask.clone()
    }
}

impl fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_there() { "StreamSource" } else { "no StreamSource" })
    }
}
