//! The way of a process to the streams of its binary. What runs them knows tables and brokers, which the engine does not.

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
pub struct StreamSource(Option<Arc<Run>>);

impl StreamSource {
    /// `run` registers the streams and runs them until the host stops.
    pub fn new(run: impl Fn(StreamHost) -> BoxFuture<StoreResult<()>> + Send + Sync + 'static) -> Self {
        StreamSource(Some(Arc::new(run)))
    }

    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    #[boxed]
    pub async fn run(&self, host: StreamHost) -> StoreResult<()> {
        match &self.0 {
            Some(run) => run(host).await,
            None => Ok(()),
        }
    }
}

impl fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_there() { "StreamSource" } else { "no StreamSource" })
    }
}
