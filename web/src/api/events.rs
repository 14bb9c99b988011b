//! `GET /api/orch/v1/events?dag_id=…&run_id=…`: runs and task instances that come into another state, as server-sent events
//! for programs. `event: run` and `event: task`, with the names of the REST API in their data; `event: check` for what a
//! contract found wrong, `event: stale` for an asset that is older than promised. A state that lasts less than a
//! look of half a second may be left out; whoever reads too slowly hears `event: missed` and asks the lists.

use crate::auth::Caller;
use crate::extract::{Query, query_params};
use crate::live::{Counted, Event, FeedEvent, Watched};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures::stream::unfold;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};

/// A token that was revoked hears nothing after this long.
const CHECK_EVERY: Duration = Duration::from_millis(900);
const ALIVE_EVERY: Duration = Duration::from_secs(15);

query_params! {
    pub(crate) struct EventsParams {
        /// Only of these DAGs
        dag_id: Vec<String>,
        /// Only of these runs
        run_id: Vec<String>,
    }
}

struct Listener {
    app: App,
    headers: HeaderMap,
    dag_ids: Vec<String>,
    run_ids: Vec<String>,
    events: Receiver<Event>,
    _counted: Counted,
    greeted: bool,
    spoke: Instant,
    checked: Instant,
}

pub(crate) async fn follow(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let EventsParams { dag_id: dag_ids, run_id: run_ids } = query.whole()?;
    let (events, counted) = app.live.follow(&app, &caller.name, Watched::Feed)?;
    let now = Instant::now();
    let listener = Listener {
        app,
        headers,
        dag_ids,
        run_ids,
        events,
        _counted: counted,
        greeted: false,
        spoke: now,
        checked: now,
    };
    let events = unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        listener.spoke = Instant::now();
        Some((Ok::<_, Infallible>(event), listener))
    });
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response())
}

impl Listener {
    async fn next(&mut self) -> Option<Bytes> {
        if !self.greeted {
            self.greeted = true;
            return Some(Bytes::from_static(b"retry: 2000\n\n"));
        }
        loop {
            let now = Instant::now();
            if now >= self.checked + CHECK_EVERY {
                self.checked = now;
                self.app.auth.caller(&self.app.hot, &self.headers).await.ok()?;
            }
            if now >= self.spoke + ALIVE_EVERY {
                return Some(Bytes::from_static(b": still here\n\n"));
            }
            tokio::select! {
                event = self.events.recv() => match event {
                    Ok(Event::Told(told)) => {
                        let wanted = told.iter().filter(|told| self.wants(told));
                        let events: Vec<u8> = wanted.flat_map(|told| told.event.iter().copied()).collect();
                        if !events.is_empty() {
                            return Some(events.into());
                        }
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return Some(Bytes::from_static(b"event: missed\ndata: {}\n\n")),
                    Err(RecvError::Closed) => return None,
                },
                () = sleep_until(self.checked + CHECK_EVERY) => {}
                () = self.app.stopping.cancelled() => return None,
            }
        }
    }

    fn wants(&self, told: &FeedEvent) -> bool {
        let among = |wanted: &[String], id: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == id);
        among(&self.dag_ids, &told.dag_id) && among(&self.run_ids, &told.run_id)
    }
}
