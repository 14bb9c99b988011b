//! Reverse proxy for the servers of the bundle: published queries and the catalog of the lake, each under its own path.
//!
//! The caller is identified (`guard.rs`) before its body is read. A server of the bundle receives neither credentials
//! nor cookies of the caller, but a token that identifies the caller and is valid for 30 seconds at this server of the
//! bundle only. Bodies are streamed in both directions (`body.rs`). Servers of the bundle share the origin with the
//! pages of this server, so only some of their response headers are passed on, and the content security policy is
//! always set by this server.

mod body;
pub(crate) mod servers;

use crate::auth::Caller;
use crate::base_path::IsPassedOn;
use crate::body::MAX_RESPONSE_BYTES;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Extension;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use body::{MAX_FRAME_BYTES, Upload, metered};
use hyper::body::Incoming;
use hyper::client::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use orch_core::network::BasePath;
use orch_store::token::{Audience, CALLER_HEADER};
use servers::{BundleServer, CATALOG, SERVING};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

/// Path at which users reach the server of the bundle.
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// Request headers that are passed on.
const PASSED: [HeaderName; 5] = [
    header::ACCEPT,
    header::CONTENT_TYPE,
    header::IF_NONE_MATCH,
    header::USER_AGENT,
    HeaderName::from_static("x-iceberg-access-delegation"),
];
/// Response headers that are passed on, in addition to `Location`.
const RETURNED: [HeaderName; 10] = [
    header::ALLOW,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::RETRY_AFTER,
    header::VARY,
    header::WWW_AUTHENTICATE,
];
/// Content security policy of responses from a bundle. It prevents them from running scripts.
const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
/// Content security policy of the page of published queries, whose files belong to this server.
const DOCS_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);
/// The files of the page of published queries: path, content type and content. A server of the bundle that has its own
/// address serves the same files.
const DOCS: [(&str, &str, &str); 3] = [
    ("/docs", "text/html; charset=utf-8", include_str!("../../serving/src/docs.html")),
    ("/docs.js", "text/javascript; charset=utf-8", include_str!("../../serving/src/docs.js")),
    ("/docs.css", "text/css; charset=utf-8", include_str!("../../serving/src/docs.css")),
];

/// Maximum size of a body from an identified caller. The metadata of a table with many snapshots takes megabytes.
const MAX_BODY_BYTES: u64 = 64 << 20;
/// Maximum size of a body from any other caller.
const MAX_ANONYMOUS_BODY_BYTES: u64 = 64 << 10;
/// Timeout for a request of any other caller, until the head of its response arrives.
const ANONYMOUS_TIMEOUT: Duration = Duration::from_secs(10);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Returns whether a bundle serves queries. Many bundles have none.
pub(crate) async fn has_queries(app: &App) -> bool {
    SERVING.is_there(app).await
}

pub(crate) async fn to_docs() -> Redirect {
    Redirect::to("/serving/docs")
}

pub(crate) async fn serving(
    State(app): State<App>,
    caller: Option<Extension<Caller>>,
    request: Request,
) -> Result<Response, Refusal> {
    SERVING.pass_on(&app, caller, request).await
}

pub(crate) async fn catalog(
    State(app): State<App>,
    caller: Option<Extension<Caller>>,
    request: Request,
) -> Result<Response, Refusal> {
    CATALOG.pass_on(&app, caller, request).await
}

impl BundleServer {
    fn socket(&self, app: &App) -> Option<PathBuf> {
        app.config.sockets.as_ref().map(|folder| folder.join(self.socket))
    }

    async fn is_there(&self, app: &App) -> bool {
        match self.socket(app) {
            Some(socket) => tokio::fs::try_exists(socket).await.unwrap_or(false),
            None => false,
        }
    }

    fn absent(&self) -> Refusal {
        Refusal::plain(StatusCode::SERVICE_UNAVAILABLE, self.absent)
    }

    async fn pass_on(
        &self,
        app: &App,
        caller: Option<Extension<Caller>>,
        request: Request,
    ) -> Result<Response, Refusal> {
        let socket = self.socket(app).ok_or_else(|| self.absent())?;
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let path = path.strip_prefix(self.prefix).unwrap_or("/");
        if let Some(page) = self.docs(head.uri.path()) {
            return if self.is_there(app).await { Ok(page) } else { Err(self.absent()) };
        }
        let upload = Upload::new(caller.as_ref().map_or(MAX_ANONYMOUS_BODY_BYTES, |_| MAX_BODY_BYTES));
        let length = body.size_hint().exact();
        if length.is_some_and(|length| length > upload.max_bytes) {
            return Err(too_large(&upload));
        }
        let mut passed = Request::builder().method(&head.method).uri(path).header(header::HOST, "orch");
        passed = passed.header(PREFIX, format!("{}{}", app.config.base_path, self.prefix));
        for name in PASSED {
            if let Some(value) = head.headers.get(&name) {
                passed = passed.header(name, value);
            }
        }
        if let Some(length) = length.filter(|length| *length > 0) {
            passed = passed.header(header::CONTENT_LENGTH, length);
        }
        if let Some(Extension(caller)) = &caller {
            passed = passed.header(CALLER_HEADER, app.auth.sign(&app.hot, self.audience, caller).await?);
        }
        let body = if body.is_end_stream() { Body::empty() } else { metered(body, upload.meter(), ()) };
        let passed = passed.body(body).map_err(|_| Refusal::not_found("Not Found"))?;
        let exchanged = exchange(&socket, passed);
        let exchanged = if caller.is_some() {
            exchanged.await
        } else {
            tokio::time::timeout(ANONYMOUS_TIMEOUT, exchanged).await.map_err(|_| {
                Refusal::plain(StatusCode::REQUEST_TIMEOUT, "without a token a request takes at most 10 seconds")
            })?
        };
        let (response, connection) = exchanged.map_err(|error| match upload.failure() {
            Some(body::Failure::TooLarge) => too_large(&upload),
            Some(body::Failure::Idle) => Refusal::plain(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
            Some(body::Failure::Busy) => Refusal::Later {
                status: StatusCode::SERVICE_UNAVAILABLE,
                text: "too many bodies are on their way: try again".into(),
            },
            Some(body::Failure::Broken) | None => {
                tracing::debug!(
                    error = format!("{error:#}"),
                    socket = self.socket,
                    "a server of the bundle did not answer"
                );
                self.absent()
            }
        })?;
        // A server that responds before it has read the body does not need the rest.
        upload.end();
        self.filtered(&app.config.base_path, response, connection)
    }

    /// Returns a file of the page of published queries. This server contains these files, so that no script of a bundle
    /// runs in its origin.
    fn docs(&self, path: &str) -> Option<Response> {
        let path = path.strip_prefix(self.prefix).filter(|_| self.audience == Audience::Serving)?;
        let (_, kind, text) = DOCS.into_iter().find(|(known, ..)| *known == path)?;
        let headers =
            [(header::CONTENT_TYPE, HeaderValue::from_static(kind)), (header::CONTENT_SECURITY_POLICY, DOCS_POLICY)];
        Some((headers, text).into_response())
    }

    fn filtered(
        &self,
        base: &BasePath,
        response: hyper::Response<Incoming>,
        connection: JoinSet<()>,
    ) -> Result<Response, Refusal> {
        let (head, body) = response.into_parts();
        let is_too_large = body.size_hint().exact().is_some_and(|length| length > MAX_RESPONSE_BYTES as u64);
        if is_too_large || head.status.is_informational() {
            return Err(Refusal::plain(StatusCode::BAD_GATEWAY, "the response of the bundle cannot be passed on"));
        }
        let mut response =
            Response::new(metered(Body::new(body), Upload::new(MAX_RESPONSE_BYTES as u64).meter(), connection));
        *response.status_mut() = head.status;
        response.extensions_mut().insert(IsPassedOn);
        let headers = response.headers_mut();
        for name in RETURNED {
            head.headers.get_all(&name).iter().for_each(|value| _ = headers.append(&name, value.clone()));
        }
        if let Some(location) = self.own_location(base, &head.headers) {
            headers.insert(header::LOCATION, location);
        }
        headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
        Ok(response)
    }

    /// Returns the redirect target without the base path, if it belongs to this server of the bundle.
    fn own_location(&self, base: &BasePath, headers: &HeaderMap) -> Option<HeaderValue> {
        let path = headers.get(header::LOCATION)?.to_str().ok()?.strip_prefix(base.as_str())?;
        let below = path.strip_prefix(self.prefix)?;
        let is_own = below.starts_with('/') && !below.contains("..") && !below.contains(['\\', '%']);
        HeaderValue::from_str(path).ok().filter(|_| is_own)
    }
}

fn too_large(upload: &Upload) -> Refusal {
    let text = if upload.max_bytes == MAX_BODY_BYTES {
        "the body is larger than 64 MB"
    } else {
        "without a token a body has at most 64 kB"
    };
    Refusal::plain(StatusCode::PAYLOAD_TOO_LARGE, text)
}

/// Sends the request over a new connection, which is closed when the returned task is dropped.
async fn exchange(socket: &Path, request: Request) -> Result<(hyper::Response<Incoming>, JoinSet<()>), BoxError> {
    let stream = TokioIo::new(UnixStream::connect(socket).await?);
    let (mut sender, connection) = Builder::new().max_buf_size(MAX_FRAME_BYTES).handshake(stream).await?;
    let mut task = JoinSet::new();
    task.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a server of the bundle broke");
        }
    });
    let response = sender.send_request(request).await?;
    Ok((response, task))
}
