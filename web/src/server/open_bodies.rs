//! Response bodies of an HTTP/2 connection that wait for their client.
//!
//! A client may keep the flow-control window of a stream closed. The body of its response is then not polled, and the
//! write timeout of the connection does not apply, because there is nothing to write. So the memory of such bodies is
//! limited here, in bytes and in time.

use axum::body::{Body, Bytes};
use hyper::body::{Body as _, Frame, SizeHint};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Timeout for a client that reads nothing of a response.
const STALL_TIME: Duration = Duration::from_mins(1);
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Maximum size of the complete bodies of a connection in memory. Beyond it, the bodies that have waited longest are
/// dropped.
const MAX_HELD_BYTES: u64 = 64 << 20;
/// Maximum size of a piece of a body. HTTP/2 buffers a whole piece as soon as the window allows one byte.
const MAX_PIECE_BYTES: usize = 16 << 10;

type Shared = Arc<Mutex<Content>>;

#[derive(Default)]
pub(super) struct OpenBodies(Mutex<Vec<Weak<Mutex<Content>>>>);

struct Content {
    body: Body,
    /// The part of a long frame that was not yet passed on.
    rest: Bytes,
    /// Time since when the client reads nothing. `None` while the server produces the next frame.
    waits_since: Option<Instant>,
    is_dropped: bool,
}

/// A body that is dropped if its client reads nothing of it for too long. Its stream then ends with an error.
pub(super) struct TrackedBody(Shared);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Content {
    fn held_bytes(&self) -> u64 {
        (self.rest.len() as u64).saturating_add(self.body.size_hint().lower())
    }

    fn drop_body(&mut self) {
        (self.body, self.rest) = (Body::empty(), Bytes::new());
        (self.waits_since, self.is_dropped) = (None, true);
    }
}

impl OpenBodies {
    pub(super) fn track(&self, body: Body) -> TrackedBody {
        let content = Content { body, rest: Bytes::new(), waits_since: Some(Instant::now()), is_dropped: false };
        let new = content.held_bytes();
        let mut waiting = self.open();
        let mut held = waiting.iter().map(|content| lock(content).held_bytes()).fold(new, u64::saturating_add);
        waiting.sort_by_key(|content| lock(content).waits_since);
        for content in waiting {
            let mut content = lock(&content);
            if held > MAX_HELD_BYTES && content.waits_since.is_some() {
                held = held.saturating_sub(content.held_bytes());
                content.drop_body();
            }
        }
        let content = Arc::new(Mutex::new(content));
        lock(&self.0).push(Arc::downgrade(&content));
        TrackedBody(content)
    }

    /// Drops bodies whose clients read nothing for too long.
    pub(super) async fn watch(&self) -> Infallible {
        loop {
            sleep(SWEEP_EVERY).await;
            for content in self.open() {
                let mut content = lock(&content);
                if content.waits_since.is_some_and(|since| since.elapsed() >= STALL_TIME) {
                    content.drop_body();
                }
            }
        }
    }

    fn open(&self) -> Vec<Shared> {
        let mut bodies = lock(&self.0);
        let open: Vec<Shared> = bodies.iter().filter_map(Weak::upgrade).collect();
        *bodies = open.iter().map(Arc::downgrade).collect();
        open
    }
}

impl hyper::body::Body for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut content = lock(&self.0);
        if content.is_dropped {
            let error = io::Error::new(io::ErrorKind::TimedOut, "the client did not take the response");
            return Poll::Ready(Some(Err(axum::Error::new(error))));
        }
        if content.rest.is_empty() {
            let polled = Pin::new(&mut content.body).poll_frame(cx);
            content.waits_since = polled.is_ready().then(Instant::now);
            match polled {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.len() > MAX_PIECE_BYTES => content.rest = data,
                    Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => return other,
            }
        }
        content.waits_since = Some(Instant::now());
        let piece = content.rest.len().min(MAX_PIECE_BYTES);
        // Copied, because a slice would keep the whole frame in memory.
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&content.rest.split_to(piece))))))
    }

    fn is_end_stream(&self) -> bool {
        let content = lock(&self.0);
        !content.is_dropped && content.rest.is_empty() && content.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let content = lock(&self.0);
        let (body, rest) = (content.body.size_hint(), content.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::serve_http2;
    use super::*;
    use hyper::{Request, Response};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use std::future::ready;
    use tokio::task::JoinSet;
    use tokio_util::sync::CancellationToken;

    /// A buffer of one megabyte that is counted while it exists.
    struct Megabyte(Vec<u8>, #[expect(dead_code, reason = "it is counted")] Arc<()>);

    impl AsRef<[u8]> for Megabyte {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    fn megabyte(counter: &Arc<()>) -> Bytes {
        Bytes::from_owner(Megabyte(vec![7; 1 << 20], counter.clone()))
    }

    /// Returns the number of bodies in memory after a minute, for three requests of a client that has windows of this
    /// size and reads nothing.
    async fn held_by_client(window: u32) -> usize {
        let counter = Arc::new(());
        let (client, server) = tokio::io::duplex(64 << 10);
        let (stop, of_server) = (CancellationToken::new(), counter.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let answer = move |_| ready(Ok(Response::new(Body::from(megabyte(&of_server)))));
            serve_http2(server, &stop, answer).await
        });
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let connecting = builder.initial_stream_window_size(window).handshake(TokioIo::new(client));
        let (mut sender, connection) = connecting.await.expect("they speak HTTP/2");
        tasks.spawn(connection);
        let mut responses = Vec::new();
        for _ in 0..3 {
            let request = Request::get("http://localhost/").body(Body::empty()).expect("a request");
            responses.push(sender.send_request(request).await.expect("headers need no window"));
        }
        assert_eq!(Arc::strong_count(&counter), 5, "three bodies wait for their client");
        sleep(STALL_TIME + SWEEP_EVERY).await;
        let held = Arc::strong_count(&counter) - 2;
        drop((responses, tasks));
        held
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_window_holds_no_body_for_long() {
        assert_eq!(held_by_client(0).await, 0);
        assert_eq!(held_by_client(1).await, 0, "one piece was handed over, and the rest is dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_of_a_connection_are_bounded_in_bytes() {
        let (bodies, counter) = (OpenBodies::default(), Arc::new(()));
        let open: Vec<TrackedBody> = (0..200).map(|_| bodies.track(Body::from(megabyte(&counter)))).collect();
        assert_eq!((open.len(), Arc::strong_count(&counter)), (200, 1 + 64));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut polled = open.into_iter().map(|mut body| Pin::new(&mut body).poll_frame(&mut cx));
        assert!(matches!(polled.next(), Some(Poll::Ready(Some(Err(_))))), "the oldest was dropped");
        assert!(matches!(polled.last(), Some(Poll::Ready(Some(Ok(_))))), "the newest was not");
    }
}
