//! Connections: accepted up to a limit, with time limits for what has not proved itself yet, and ended in two steps.

use crate::extract::Peer;
use crate::routes::router;
use crate::state::App;
use crate::{WebConfig, WebResult};
use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use orch_store::hint::Hints;
use orch_store::process::{Role, forget_process, heartbeat, register_process};
use serde_json::json;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// More wait in the kernel's queue. Fewer where the process may not open so many files: the rest of it needs some too.
const MOST_CONNECTIONS: usize = 4_096;
const FEWEST_CONNECTIONS: usize = 64;
/// A header that takes longer is held back on purpose. Also how long a connection may idle between requests.
const HEADER_TIME: Duration = Duration::from_secs(20);
const HEADER_BYTES: usize = 16 * 1024;
/// When the process has no file left for another connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// Rarely: nothing is decided by it, and an idle system shall be idle.
const HEARTBEAT: Duration = Duration::from_mins(1);

/// Answers requests on `listener` until `stop`, then lets those that are open end within the grace period.
pub async fn serve(config: WebConfig, hints: Hints, listener: TcpListener, stop: CancellationToken) -> WebResult<()> {
    let grace = config.grace;
    let app = App::new(config, hints)?;
    let router = router(app.clone());
    let mut background = JoinSet::new();
    background.spawn(show_life(app.clone(), stop.clone()));
    let (mut connections, most) = (JoinSet::new(), most_connections());
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= most {
            tokio::select! {
                _ = connections.join_next() => continue,
                () = stop.cancelled() => break,
            }
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => drop(connections.spawn(connection(stream, peer, router.clone(), stop.clone()))),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    app.stopping.cancel();
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, ended).await.is_err() {
        tracing::warn!(open = connections.len(), "connections did not end in time and were cut");
        connections.shutdown().await;
    }
    while background.join_next().await.is_some() {}
    app.close().await;
    Ok(())
}

fn most_connections() -> usize {
    // The usual 1,024 files are for programs of one user; whoever starts us allows more than that where it is to be had.
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, hard)| {
        let wanted = hard.min(2 * MOST_CONNECTIONS as u64).max(soft);
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).map_or(soft, |()| wanted)
    });
    usize::try_from(files / 2).unwrap_or(MOST_CONNECTIONS).clamp(FEWEST_CONNECTIONS, MOST_CONNECTIONS)
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    // Answers are written whole: waiting for more to send would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it began");
        return;
    }
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer.ip().to_canonical()));
        let mut router = router.clone();
        async move { Ok::<_, Infallible>(router.call(request).await.unwrap_or_else(|never| match never {})) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEADER_BYTES);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, client.ip = %peer.ip(), "a connection ended early");
    }
}

/// Tells the other processes that this server lives.
async fn show_life(app: App, stop: CancellationToken) {
    app.warm_up().await;
    let mut registered = None;
    loop {
        match beat(&app, registered).await {
            Ok(id) => registered = Some(id),
            Err(error) => tracing::debug!(%error, "this web server could not show that it lives"),
        }
        tokio::select! {
            () = tokio::time::sleep(HEARTBEAT) => {}
            () = stop.cancelled() => break,
        }
    }
    if let Some(id) = registered
        && let Ok(mut db) = app.hot().await
        && let Err(error) = forget_process(&mut db, id).await
    {
        tracing::debug!(%error, "this web server could not say that it ends");
    }
}

async fn beat(app: &App, registered: Option<i32>) -> orch_store::StoreResult<i32> {
    let mut db = app.hot().await?;
    if let Some(id) = registered {
        heartbeat(&mut db, id, &json!({})).await?;
        return Ok(id);
    }
    register_process(&mut db, Role::Web, &app.config.hostname, std::process::id()).await
}
