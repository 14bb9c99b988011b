//! The web server process: accepts connections up to a limit, sends heartbeats, and shuts down in two steps.

mod connection;
mod open_bodies;
mod patient;
mod places;

use crate::routes::router;
use crate::state::App;
use crate::{WebConfig, WebResult};
use connection::Door;
use futures::future::BoxFuture;
use orch_store::hint::Hints;
use orch_store::process::{Role, forget_process, heartbeat, register_process};
pub(crate) use places::network_of;
use places::{Places, most_connections};
use serde_json::json;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Retry delay if the process has no free file descriptor for another connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// Heartbeat interval. It is long, because no decision depends on it.
const HEARTBEAT: Duration = Duration::from_mins(1);

/// Handles requests on `listener` until `stop`, then lets open requests finish within the grace period.
///
/// Boxed, because rustc generates the code of a `pub async fn` in every dependent crate. Here that would be all pages,
/// even for tests that use none of them.
pub fn serve(
    config: WebConfig,
    hints: Hints,
    listener: TcpListener,
    stop: CancellationToken,
) -> BoxFuture<'static, WebResult<()>> {
    Box::pin(answer(config, hints, listener, stop))
}

async fn answer(config: WebConfig, hints: Hints, listener: TcpListener, stop: CancellationToken) -> WebResult<()> {
    let grace = config.grace;
    let app = App::new(config, hints)?;
    let door = Door::new(router(&app), app.config.tls.as_ref(), stop.clone());
    let mut background = JoinSet::new();
    background.spawn(show_life(app.clone(), stop.clone()));
    if let Some(tls) = &app.config.tls {
        background.spawn(tls.clone().watch(stop.clone()));
    }
    let (mut connections, most) = (JoinSet::new(), most_connections());
    let places = Places::new(&app.config, most);
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
            Ok((stream, peer)) => {
                // If the address has reached its limit, the connection is closed, so that other addresses can connect.
                if let Some(place) = places.take(peer.ip().to_canonical()) {
                    connections.spawn(door.clone().answer(stream, peer, place));
                }
            }
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

/// Sends heartbeats, so that other processes see that this server is alive.
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
