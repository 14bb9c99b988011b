//! Servers of the bundle beside this server, each under a path of its own: published queries, and the catalog of the lake. They ask for
//! keys themselves; people who are logged in need none to read, since this server says who they are.

use crate::auth::is_jwt;
use crate::refusal::Refusal;
use crate::state::App;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// As a server of the bundle reads it.
const ROLE: HeaderName = HeaderName::from_static("x-orch-role");
/// Under which address people find that server.
const UNDER: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// Of a request, and nothing else of it: no cookie leaves this server.
const PASSED: [HeaderName; 7] = [
    header::ACCEPT,
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::IF_NONE_MATCH,
    header::USER_AGENT,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-iceberg-access-delegation"),
];
/// More than any question has.
const MOST_BYTES_SENT: usize = 64 << 20;
/// More than any answer has.
const MOST_BYTES: usize = 256 << 20;

/// A server of the bundle.
struct Behind {
    prefix: &'static str,
    /// In the folder of sockets.
    socket: &'static str,
    /// What is said while it does not answer.
    absent: &'static str,
}

const SERVING: Behind = Behind {
    prefix: "/serving",
    socket: "serving.sock",
    absent: "no bundle serves queries beside this server, or it is starting",
};
const CATALOG: Behind = Behind {
    prefix: "/catalog",
    socket: "catalog.sock",
    absent: "no bundle serves the catalog of a lake beside this server, or it is starting",
};

/// Has a bundle begun to serve queries beside this server? Many bundles have none.
pub(crate) async fn has_queries(app: &App) -> bool {
    match SERVING.socket(app) {
        Some(socket) => tokio::fs::try_exists(socket).await.unwrap_or(false),
        None => false,
    }
}

pub(crate) async fn to_docs() -> Redirect {
    Redirect::to("/serving/docs")
}

pub(crate) async fn serving(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    SERVING.pass_on(&app, request).await
}

pub(crate) async fn catalog(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    CATALOG.pass_on(&app, request).await
}

impl Behind {
    fn socket(&self, app: &App) -> Option<PathBuf> {
        app.config.sockets.as_ref().map(|folder| folder.join(self.socket))
    }

    async fn pass_on(&self, app: &App, request: Request) -> Result<Response, Refusal> {
        let absent = || Refusal::plain(StatusCode::SERVICE_UNAVAILABLE, self.absent);
        let socket = self.socket(app).ok_or_else(absent)?;
        let (asked, body) = request.into_parts();
        let path = asked.uri.path_and_query().map_or("/", |path| path.as_str());
        let path = path.strip_prefix(self.prefix).unwrap_or("/");
        let here = format!("{}{}", app.config.base_path, self.prefix);
        let mut passed = Request::builder().method(&asked.method).uri(path).header(header::HOST, "orch");
        passed = passed.header(UNDER, here);
        for name in PASSED {
            if let Some(value) = asked.headers.get(&name) {
                passed = passed.header(name, value);
            }
        }
        if let Some(role) = role(app, &asked.method, &asked.headers).await? {
            passed = passed.header(ROLE, role);
        }
        let too_large = |_| Refusal::plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 64 MB");
        let body = to_bytes(body, MOST_BYTES_SENT).await.map_err(too_large)?;
        let passed = passed.body(Body::from(body)).map_err(|_| Refusal::not_found("Not Found"))?;
        exchange(&socket, passed).await.map_err(|error| {
            tracing::debug!(
                error = format!("{error:#}"),
                socket = self.socket,
                "a server of the bundle did not answer"
            );
            absent()
        })
    }
}

/// Of a caller who is logged in here. Keys are left to the server of the bundle; a cookie, which browsers send along with what any
/// page asks for, is enough to read and no more.
async fn role(app: &App, method: &Method, headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
    let caller = if is_jwt(headers) {
        app.auth.caller(&app.hot, headers).await?
    } else if [Method::GET, Method::HEAD].contains(method) {
        match app.auth.session(&app.hot, headers, app.config.cookie()).await {
            Ok(session) => session.caller,
            Err(Refusal::NotLoggedIn(_)) => return Ok(None),
            Err(refusal) => return Err(refusal),
        }
    } else {
        return Ok(None);
    };
    Ok(Some(HeaderValue::from_static(caller.role.as_str())))
}

async fn exchange(socket: &Path, request: Request) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TokioIo::new(UnixStream::connect(socket).await?);
    let (mut sender, connection) = handshake(stream).await?;
    let answer = async move {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = to_bytes(Body::new(body), MOST_BYTES).await?;
        Ok(Response::from_parts(parts, Body::from(body)).into_response())
    };
    // The connection ends with its sender.
    let (answer, ended) = tokio::join!(answer, connection);
    answer.or_else(|error: Box<dyn std::error::Error + Send + Sync>| ended.map_err(Into::into).and(Err(error)))
}
