//! The streams of a binary, as it hands them to whatever runs it.

use crate::declare::Stream;
use crate::host::{Declared, OpenLake, host};
use orch_lake::Lake;
use orch_sdk::task::{Connection, TaskResult};
use orch_store::stream::{StreamHost, StreamSource};
use orch_store::{StoreError, StoreResult};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Streams share these threads among themselves: decoding holds up no task of the process.
const THREADS: usize = 2;

/// For `Binary::streams`: what the binary declares, and how the lake is opened from which connections.
///
/// # Panics
/// When the binary starts: a stream is declared wrongly, or two have one name.
pub fn source(
    streams: impl Fn() -> Vec<Stream> + Send + Sync + 'static,
    lake_connections: &'static [&'static str],
    open_lake: impl Fn(&[Connection]) -> TaskResult<Lake> + Send + Sync + 'static,
) -> StreamSource {
    let open_lake: Arc<OpenLake> = Arc::new(open_lake);
    StreamSource::new(move |asked| {
        let declared = declared(streams(), lake_connections, open_lake.clone());
        Box::pin(on_own_threads(asked, Arc::new(declared)))
    })
}

fn declared(streams: Vec<Stream>, lake_connections: &'static [&'static str], open_lake: Arc<OpenLake>) -> Declared {
    let mut declared = Declared { streams: HashMap::new(), registered: Vec::new(), lake_connections, open_lake };
    for stream in streams {
        if let Err(wrong) = stream.check() {
            panic!("{wrong}");
        }
        declared.registered.push(stream.registered());
        let name = stream.name.clone();
        let twice = declared.streams.insert(name.clone(), Arc::new(stream));
        assert!(twice.is_none(), "two streams are called `{name}`");
    }
    declared
}

async fn on_own_threads(asked: StreamHost, declared: Arc<Declared>) -> StoreResult<()> {
    let io = |error| StoreError::from(sqlx::Error::Io(error));
    let (tell, told) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("orch-streams")
        .enable_all()
        .build()
        .map_err(io)?;
    let thread = std::thread::Builder::new().name("orch-streams".into()).spawn(move || {
        let done = runtime.block_on(host(asked, declared));
        runtime.shutdown_background();
        // Nothing waits any more when the process ends at once.
        drop(tell.send(done));
    });
    thread.map_err(io)?;
    told.await.unwrap_or_else(|_| Err(io(std::io::Error::other("the streams of this process ended by a panic"))))
}
