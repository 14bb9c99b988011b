//! Passes the streams of a binary to the process that runs them.

use crate::declare::Stream;
use crate::folder;
use crate::host::{Declared, Means, host, record_aborts};
use crate::topic::{LogEnds, kafka};
use orch_lake::Lake;
use orch_sdk::task::{BoxFuture, Connection, TaskResult};
use orch_store::stream::{StreamHost, StreamSource};
use orch_store::{StoreError, StoreResult};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// Number of threads that all streams share. They are separate threads, so that decoding does not block other tasks.
const THREADS: usize = 2;

/// Returns the argument of `Binary::streams`: the declared streams, and a function that opens the lake with its
/// connections.
///
/// # Panics
/// Panics at the start of the binary if a declaration is invalid or two streams have the same name.
pub fn source(
    streams: impl Fn() -> Vec<Stream> + Send + Sync + 'static,
    lake_connections: &'static [&'static str],
    open_lake: impl Fn(&[Connection]) -> TaskResult<Lake> + Send + Sync + 'static,
) -> StreamSource {
    let means = Means { lake_connections, open_lake: Arc::new(open_lake) };
    let run = move |asked: StreamHost| -> BoxFuture<StoreResult<()>> {
        // The streams of this bundle are switched off. The host then registers none, and streams that were declared
        // earlier stop.
        let streams = if asked.is_hidden { Vec::new() } else { streams() };
        check(&streams);
        Box::pin(on_own_threads(asked, streams, means.clone()))
    };
    StreamSource::new(run, Arc::new(|at, question| Box::pin(kafka::answer(at, question))))
}

fn check(streams: &[Stream]) {
    let mut names = HashSet::new();
    for stream in streams {
        if let Err(wrong) = stream.check() {
            panic!("{wrong}");
        }
        assert!(names.insert(stream.name()), "two streams are called `{}`", stream.name());
    }
}

/// Runs the streams of the binary and the streams of the folder.
async fn run_all_streams(asked: StreamHost, streams: Vec<Stream>, means: Means) -> StoreResult<()> {
    let (ends, look) = LogEnds::watch(asked.pool.clone(), asked.hints.clone());
    let (_unchanged, declared) = watch::channel(Arc::new(Declared::new(streams, means.clone())));
    let (report, aborted) = watch::channel(None);
    let of_binary = host(asked.clone(), declared, ends.clone(), aborted.clone());
    let of_files = async {
        match asked.folder.clone() {
            Some(folder) => folder::run_folder(asked.clone(), folder, means, (ends.clone(), aborted)).await,
            None => Ok(()),
        }
    };
    tokio::select! {
        done = async { tokio::try_join!(of_binary, of_files) } => done.map(drop),
        () = look => Ok(()),
        () = record_aborts(asked.pool.clone(), report) => Ok(()),
    }
}

async fn on_own_threads(asked: StreamHost, streams: Vec<Stream>, means: Means) -> StoreResult<()> {
    let io = |error| StoreError::from(sqlx::Error::Io(error));
    let (tell, told) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("orch-streams")
        .enable_all()
        .build()
        .map_err(io)?;
    let thread = std::thread::Builder::new().name("orch-streams".into()).spawn(move || {
        let done = runtime.block_on(run_all_streams(asked, streams, means));
        runtime.shutdown_background();
        // The receiver is gone if the process ends immediately.
        drop(tell.send(done));
    });
    thread.map_err(io)?;
    told.await.unwrap_or_else(|_| Err(io(std::io::Error::other("the streams of this process ended by a panic"))))
}
