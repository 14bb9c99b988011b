//! Streams in this process, run as a worker runs them.

pub(crate) mod changes;
mod debezium;
pub(crate) mod kafka;
pub(crate) mod quiet;

use crate::place::lake;
use anyhow::{Context as _, Result, ensure};
use orch_lake::Lake;
use orch_sdk::task::Connection;
use orch_store::hint::Hints;
use orch_store::stream::{StreamHost, StreamRow, get_stream};
use orch_streams::{Stream, source};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const LOOK_EVERY: Duration = Duration::from_millis(10);

struct World {
    url: String,
    pool: PgPool,
    warehouse: PathBuf,
    connections: Vec<Connection>,
}

impl World {
    async fn new(url: String, warehouse: PathBuf, connections: Vec<Connection>) -> Result<World> {
        let pool = PgPoolOptions::new().max_connections(8).connect(&url).await?;
        Ok(World { url, pool, warehouse, connections })
    }

    fn start(&self, streams: Vec<Stream>) -> RunningStreams {
        let (url, warehouse, connections) = (self.url.clone(), self.warehouse.clone(), self.connections.clone());
        let open = move |_: &[Connection]| lake_of(&url, &warehouse);
        let source = source(move || streams.clone(), &[], open);
        let stop = CancellationToken::new();
        // Streams run in a separate runtime, and the connections that it opened break when it ends. So streams get a separate pool.
        let pool =
            PgPoolOptions::new().max_connections(8).connect_lazy(&self.url).expect("the address was used before");
        let host = StreamHost {
            bundle: "bench".into(),
            is_hidden: false,
            name: "bench".into(),
            pool,
            hints: Hints::new(),
            find: Arc::new(move |id| {
                let found = connections.iter().find(|one| one.id == id).cloned();
                let found = found.with_context(|| format!("there is no connection `{id}`"));
                Box::pin(async move { found })
            }),
            mask: str::to_owned,
            lease: Duration::from_secs(15),
            paused_at_creation: false,
            folder: None,
            stop: stop.clone(),
        };
        let mut running = JoinSet::new();
        running.spawn(async move { source.run_streams(host).await });
        RunningStreams { running, stop }
    }

    /// Waits until the stream has read `records` records since its creation.
    async fn until(&self, name: &str, records: u64) -> Result<StreamRow> {
        loop {
            let row = get_stream(&mut *self.pool.acquire().await?, name).await?;
            match row {
                Some(row) if row.records >= records as i64 => return Ok(row),
                Some(StreamRow { error: Some(error), .. }) => anyhow::bail!("stream `{name}`: {error}"),
                _ => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Returns the records per second from the time at which the stream is claimed to its last commit, when it has read
    /// `all`.
    async fn rate(&self, stream: &Stream, all: u64, records: u64) -> Result<f64> {
        let (name, running) = (stream.name(), self.start(vec![stream.clone()]));
        let row = self.until(name, all).await?;
        running.end().await;
        ensure!(row.quarantined == 0, "{} records of `{name}` are in quarantine", row.quarantined);
        let (from, to) = row.started_at.zip(row.last_commit_at).context("it has run")?;
        Ok(records as f64 / (to - from).as_seconds_f64())
    }
}

fn lake_of(url: &str, warehouse: &Path) -> Result<Lake> {
    let (url, warehouse) = (url.to_owned(), warehouse.to_owned());
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(lake(&url, &warehouse)))
}

struct RunningStreams {
    running: JoinSet<orch_store::StoreResult<()>>,
    stop: CancellationToken,
}

impl RunningStreams {
    async fn end(mut self) {
        self.stop.cancel();
        while self.running.join_next().await.is_some() {}
    }
}
