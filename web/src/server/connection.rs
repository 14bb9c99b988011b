//! A single connection: TLS if the server has a certificate, HTTP/1.1 or HTTP/2 as the client prefers, with timeouts
//! for peers that have not sent a request yet.

use super::open_bodies::{OpenBodies, TrackedBody};
use super::patient::Patient;
use super::places::ConnectionPermit;
use crate::extract::Peer;
use crate::tls::Tls;
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use orch_http::read_to_the_end;
use orch_store::narrow;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// Timeout for request headers, after which the client is assumed to withhold them deliberately. Also the maximum idle
/// time between requests.
const HEADER_TIME: Duration = Duration::from_secs(20);
const HEADER_BYTES: usize = 16 * 1024;
/// Timeout for the TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Timeout for a peer that reads nothing of a response.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// Maximum number of concurrent requests on an HTTP/2 connection.
const MOST_STREAMS: u32 = 128;
/// Maximum number of bytes of a response that HTTP/2 buffers for a peer with an open window that does not read.
const MAX_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Interval of HTTP/2 pings to a silent peer. Without a response within `HEADER_TIME`, the connection is closed.
const ASK_EVERY: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(super) struct Door {
    router: Router,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
}

impl Door {
    pub(super) fn new(router: Router, tls: Option<&Tls>, stop: CancellationToken) -> Door {
        Door { router, tls: tls.map(Tls::acceptor), stop }
    }

    /// Serves a connection until it ends, which releases its permit.
    pub(super) async fn answer(self, stream: TcpStream, peer: SocketAddr, place: ConnectionPermit) {
        // Responses are written as a whole, so waiting for more data would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone before it began");
            return;
        }
        let stream = Patient::new(stream, WRITE_TIME);
        let Some(tls) = self.tls.clone() else {
            self.http1(stream, peer).await;
            return drop(place);
        };
        match tokio::time::timeout(HANDSHAKE_TIME, tls.accept(stream)).await {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => self.http2(stream, peer).await,
            Ok(Ok(stream)) => self.http1(stream, peer).await,
            Ok(Err(error)) => tracing::debug!(%error, client.ip = %peer.ip(), "no TLS could be agreed on"),
            Err(_) => tracing::debug!(client.ip = %peer.ip(), "a TLS greeting took too long"),
        }
        drop(place);
    }

    async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S, peer: SocketAddr) {
        let stop = self.stop.clone();
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEADER_BYTES);
        let service = service_fn(move |request| self.clone().call(request, peer));
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        tell(ended, peer);
    }

    async fn http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S, peer: SocketAddr) {
        let stop = self.stop.clone();
        let ended = serve_http2(stream, &stop, move |request| self.clone().call(request, peer)).await;
        tell(ended, peer);
    }

    async fn call(self, request: Request<Incoming>, peer: SocketAddr) -> Result<Response<Body>, Infallible> {
        let mut request = read_to_the_end(request.map(Body::new));
        request.extensions_mut().insert(Peer(peer.ip().to_canonical()));
        let mut router = self.router;
        Ok(router.call(request).await.unwrap_or_else(|never| match never {}))
    }
}

pub(super) async fn serve_http2<S, F>(
    stream: S,
    stop: &CancellationToken,
    answer: impl Fn(Request<Incoming>) -> F,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
{
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_header_list_size(narrow::int(HEADER_BYTES).unsigned_abs())
        .max_concurrent_streams(MOST_STREAMS)
        .max_send_buf_size(MAX_SEND_BUFFER_BYTES)
        .keep_alive_interval(ASK_EVERY)
        .keep_alive_timeout(HEADER_TIME);
    let bodies = Arc::new(OpenBodies::default());
    let tracked = bodies.clone();
    let service = service_fn(move |request| {
        let (answered, bodies) = (answer(request), tracked.clone());
        async move { Ok::<Response<TrackedBody>, Infallible>(answered.await?.map(|body| bodies.track(body))) }
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => ended,
        never = bodies.watch() => match never {},
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

fn tell(ended: hyper::Result<()>, peer: SocketAddr) {
    if let Err(error) = ended {
        tracing::debug!(%error, client.ip = %peer.ip(), "a connection ended early");
    }
}
