//! The web server as a process: accepts connections up to a limit, shows that it lives, and ends in two steps.

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

/// When the process has no file left for another connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// Rarely: nothing is decided by it, and an idle system shall be idle.
const HEARTBEAT: Duration = Duration::from_mins(1);

/// Answers requests on `listener` until `stop`, then lets those that are open end within the grace period.
///
/// Boxed, since rustc makes the code of every `pub async fn` in each build of its crate: here all pages, for tests that call
/// none of them.
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
                // Whoever has all its places is hung up on: others want to be heard.
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
