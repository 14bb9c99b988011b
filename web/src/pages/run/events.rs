//! `GET …/events`: tells a page that something it shows has changed, as server-sent events. The page then asks for itself
//! again, so what is shown live is drawn by the same template as the rest.
//!
//! A stream ends with its run, with the session it was opened with, and with the server.

use super::find;
use crate::auth::Role;
use crate::extract::{Query, RunPath};
use crate::refusal::Refusal;
use crate::state::App;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use futures::stream::unfold;
use orch_store::StoreResult;
use orch_store::log::{Place, end};
use orch_store::overview::how_far;
use std::convert::Infallible;
use std::time::Duration;
use uuid::Uuid;

/// Quick enough for eyes; a look is two rows by their keys.
const LOOK_EVERY: Duration = Duration::from_millis(700);
/// Times go on though nothing happens, and a try that begins changes no ledger: every so many looks.
const AT_LEAST_EVERY: u32 = 2;
/// The browser waits so long before it comes back.
const RETRY: &str = "retry: 2000\n\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    rev: i32,
    log: Option<Place>,
}

struct Follower {
    app: App,
    headers: HeaderMap,
    run: Uuid,
    attempt: Option<Uuid>,
    seen: Option<Seen>,
    quiet: u32,
    is_over: bool,
}

pub(crate) async fn follow(
    State(app): State<App>,
    path: RunPath,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let attempt = match query.text("attempt") {
        None => None,
        Some(text) => Some(Uuid::parse_str(text).map_err(|_| Refusal::bad_request("`attempt` is a uuid"))?),
    };
    let run = {
        let mut db = app.hot().await?;
        find(&mut db, &path).await?.id
    };
    let follower = Follower { app, headers, run, attempt, seen: None, quiet: 0, is_over: false };
    let events = unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(event)), follower))
    });
    let mut response = Response::new(Body::from_stream(events));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

impl Follower {
    /// The next event; none when the stream is to end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if self.is_over {
                return None;
            }
            let first = self.seen.is_none();
            if !first {
                tokio::select! {
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = self.app.stopping.cancelled() => return None,
                }
            }
            // Whoever logged out sees nothing more.
            if !self.app.may_still(&self.headers, Role::Viewer).await {
                return None;
            }
            match self.look().await {
                Ok(None) => return None,
                Ok(Some((_, true))) => {
                    self.is_over = true;
                    return Some("event: over\ndata: \n\n".into());
                }
                Ok(Some((seen, false))) => {
                    let changed = self.seen.replace(seen) != Some(seen);
                    self.quiet += 1;
                    if first {
                        return Some(RETRY.into());
                    }
                    if changed || (self.quiet >= AT_LEAST_EVERY && self.attempt.is_none()) {
                        self.quiet = 0;
                        return Some(format!("event: changed\ndata: {}\n\n", seen.rev));
                    }
                    if self.quiet >= AT_LEAST_EVERY * 10 {
                        self.quiet = 0;
                        // A comment: connections that nobody hears of are cut on the way.
                        return Some(": still here\n\n".into());
                    }
                }
                // The browser comes back by itself.
                Err(error) => {
                    tracing::debug!(%error, "a page could not be kept up to date");
                    return None;
                }
            }
        }
    }

    async fn look(&self) -> StoreResult<Option<(Seen, bool)>> {
        let mut db = self.app.hot().await?;
        let Some((rev, is_over)) = how_far(&mut db, self.run).await? else { return Ok(None) };
        let log = match self.attempt {
            Some(attempt) => end(&mut db, self.run, attempt).await?,
            None => None,
        };
        Ok(Some((Seen { rev, log }, is_over)))
    }
}
