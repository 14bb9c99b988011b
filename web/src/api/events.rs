//! `GET /api/orch/v1/events?dag_id=…&run_id=…`: state changes of runs and task instances as server-sent events, for
//! programs. The data of `event: run` and `event: task` has the field names of the REST API; `event: check` reports a
//! violated contract, and `event: stale` an asset that is older than promised. A state that lasts less than the poll
//! interval of half a second may be missing.
//!
//! Each event has an id. A client that reconnects with `Last-Event-ID` receives the changes since that event. If the
//! server does not have all of them, or a client reads too slowly, it sends `event: missed`, and the client reads the
//! current states from the lists.

use crate::auth::Caller;
use crate::extract::{Query, query_params};
use crate::live::{Counted, Event, FeedBatch, FeedEvent, FeedPosition, Watched};
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

/// Interval of credential checks: a revoked token receives no events after this time.
const CHECK_EVERY: Duration = Duration::from_millis(900);
const ALIVE_EVERY: Duration = Duration::from_secs(15);
const MISSED: &[u8] = b"event: missed\ndata: {}\n\n";

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
    /// The first events, sent after the greeting.
    first: Option<Bytes>,
    /// Position of the last change that was sent. `None` until the feed starts.
    position: Option<FeedPosition>,
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
    let last = headers.get("last-event-id").map(|id| id.to_str().ok().and_then(FeedPosition::parse));
    let mut listener = Listener {
        app,
        headers,
        dag_ids,
        run_ids,
        events,
        _counted: counted,
        greeted: false,
        first: None,
        position: None,
        spoke: now,
        checked: now,
    };
    match last {
        Some(last) => listener.resume(last),
        None => listener.start(),
    }
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
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let now = Instant::now();
            if now >= self.checked + CHECK_EVERY {
                self.checked = now;
                self.app.auth.caller(&self.app.hot, &self.headers).await.ok()?;
            }
            if now >= self.spoke + ALIVE_EVERY {
                // The id is repeated for clients that follow a DAG or run without changes.
                let id = self.position.map(|position| format!("id: {position}\n")).unwrap_or_default();
                return Some(format!(": still here\n{id}\n").into());
            }
            tokio::select! {
                event = self.events.recv() => match event {
                    Ok(Event::Told(batch)) => {
                        if let Some(events) = self.read(&batch) {
                            return Some(events);
                        }
                    }
                    // After a lag, the next batch does not follow the position, so `read` reports missed changes.
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
                () = sleep_until(self.checked + CHECK_EVERY) => {}
                () = self.app.stopping.cancelled() => return None,
            }
        }
    }

    fn start(&mut self) {
        self.position = self.app.live.feed_position();
        self.first = self.position.map(|position| with_id(position, &[]));
    }

    /// Prepares the changes since `last`, or reports that some are missing.
    fn resume(&mut self, last: Option<FeedPosition>) {
        if let Some((position, batches)) = last.and_then(|last| self.app.live.feed_after(last)) {
            let events: Vec<Bytes> = batches.iter().flat_map(|batch| self.wanted(batch)).collect();
            (self.first, self.position) = (Some(with_id(position, &events)), Some(position));
            return;
        }
        self.position = self.app.live.feed_position();
        let missed = Bytes::from_static(MISSED);
        self.first = Some(match self.position {
            Some(position) => with_id(position, &[missed]),
            None => missed,
        });
    }

    /// Returns the wanted events of a batch, after `missed` if the batch does not follow the position. `None` if there
    /// is nothing to send.
    fn read(&mut self, batch: &FeedBatch) -> Option<Bytes> {
        let mut events = match self.position {
            // The batch was already sent when the listener started.
            Some(position) if position.includes(batch.position) => return None,
            Some(position) if !batch.position.follows(position) => vec![Bytes::from_static(MISSED)],
            _ => Vec::new(),
        };
        let is_first = self.position.replace(batch.position).is_none();
        events.extend(self.wanted(batch));
        (is_first || !events.is_empty()).then(|| with_id(batch.position, &events))
    }

    fn wanted(&self, batch: &FeedBatch) -> Vec<Bytes> {
        batch.events.iter().filter(|event| self.wants(event)).map(|event| event.event.clone()).collect()
    }

    fn wants(&self, told: &FeedEvent) -> bool {
        let among = |wanted: &[String], id: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == id);
        among(&self.dag_ids, &told.dag_id) && among(&self.run_ids, &told.run_id)
    }
}

/// Joins events. The last one has the position as its id, so a client that has read only some of them receives all of
/// them again. Without events, only the id is sent, which clients remember.
fn with_id(position: FeedPosition, events: &[Bytes]) -> Bytes {
    let id = format!("id: {position}\n");
    let Some((last, before)) = events.split_last() else { return format!("{id}\n").into() };
    let mut text: Vec<u8> = Vec::new();
    for event in before {
        text.extend_from_slice(event);
    }
    text.extend_from_slice(id.as_bytes());
    text.extend_from_slice(last);
    text.into()
}
