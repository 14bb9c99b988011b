//! `GET /changes?dag=…`: tells a list of runs or DAGs that some run began, went on or ended, as server-sent events. The
//! page then asks for itself again. However many people look, the database is asked once for each DAG and look.

use crate::extract::{Query, no_such_dag};
use crate::refusal::Refusal;
use crate::state::App;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::unfold;
use orch_core::ids::DagId;
use orch_store::StoreResult;
use orch_store::dag::resolve;
use orch_store::timing::{Pace, pace};
use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::Mutex;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A look is remembered a little shorter than that.
const REMEMBERED: TimeDelta = TimeDelta::milliseconds(900);
/// DAGs that are looked at; beyond, the oldest looks are forgotten.
const MOST_REMEMBERED: usize = 1_000;
/// Looks without news until something is sent: connections that nobody hears of are cut on the way.
const QUIET: u32 = 20;
/// The session is asked for once in so many looks.
const ASK_SESSION_EVERY: u32 = 5;
/// The browser waits so long before it comes back.
const RETRY: &str = "retry: 2000\n\n";

/// The last looks, by DAG; by nothing: at all of them.
#[derive(Debug, Default)]
pub(crate) struct Paces(Mutex<HashMap<Option<String>, (DateTime<Utc>, Pace)>>);

impl Paces {
    async fn look(&self, app: &App, dag_id: Option<&str>) -> StoreResult<Pace> {
        let mut known = self.0.lock().await;
        let now = Utc::now();
        let key = dag_id.map(String::from);
        if let Some((at, pace)) = known.get(&key)
            && now - *at < REMEMBERED
        {
            return Ok(*pace);
        }
        let found = pace(&mut *app.hot().await?, dag_id).await?;
        if known.len() >= MOST_REMEMBERED {
            known.retain(|_, (at, _)| now - *at < REMEMBERED);
        }
        known.insert(key, (now, found));
        Ok(found)
    }
}

struct Follower {
    app: App,
    headers: HeaderMap,
    dag_id: Option<String>,
    seen: Option<Pace>,
    looks: u32,
    quiet: u32,
}

pub(crate) async fn follow(State(app): State<App>, query: Query, headers: HeaderMap) -> Result<Response, Refusal> {
    let dag_id = match query.text("dag") {
        None => None,
        Some(text) => {
            let dag_id = DagId::new(text).map_err(|bad| Refusal::bad_request(bad.to_string()))?;
            let mut db = app.hot().await?;
            Some(resolve(&mut db, &dag_id).await?.ok_or_else(|| no_such_dag(&dag_id))?)
        }
    };
    let follower = Follower { app, headers, dag_id, seen: None, looks: 0, quiet: 0 };
    let events = unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(event)), follower))
    });
    let mut response = Response::new(Body::from_stream(events));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

impl Follower {
    /// The next event; none when the stream is to end: with the session, with the server, or with the database.
    async fn next(&mut self) -> Option<String> {
        loop {
            let first = self.seen.is_none();
            if !first {
                tokio::select! {
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = self.app.stopping.cancelled() => return None,
                }
            }
            if self.looks.is_multiple_of(ASK_SESSION_EVERY) {
                // Whoever logged out sees nothing more.
                self.app.auth.session(&self.app.hot, &self.headers, self.app.config.cookie()).await.ok()?;
            }
            self.looks = self.looks.wrapping_add(1);
            let found = self.app.paces.look(&self.app, self.dag_id.as_deref()).await;
            let found =
                found.inspect_err(|error| tracing::debug!(%error, "a list could not be kept up to date")).ok()?;
            let changed = self.seen.replace(found) != Some(found);
            if first {
                return Some(RETRY.into());
            }
            self.quiet += 1;
            if changed {
                self.quiet = 0;
                return Some("event: changed\ndata: \n\n".into());
            }
            if self.quiet >= QUIET {
                self.quiet = 0;
                return Some(": still here\n\n".into());
            }
        }
    }
}
