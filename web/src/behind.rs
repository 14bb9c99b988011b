//! The published queries of the bundle beside this server, under `/serving`. Their server asks for keys itself; people who are logged in
//! need none, since this server says who they are.

use crate::auth::is_jwt;
use crate::refusal::Refusal;
use crate::state::App;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use std::path::Path;
use tokio::net::UnixStream;

const PREFIX: &str = "/serving";
/// As the server of the bundle reads it.
const ROLE: HeaderName = HeaderName::from_static("x-orch-role");
/// Under which address people find that server.
const UNDER: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// Of a request, and nothing else of it: no cookie leaves this server.
const PASSED: [HeaderName; 4] =
    [header::ACCEPT, header::AUTHORIZATION, header::IF_NONE_MATCH, HeaderName::from_static("x-api-key")];
/// More than any answer has.
const MOST_BYTES: usize = 256 << 20;

/// Has a bundle begun to serve queries beside this server? Many bundles have none.
pub(crate) async fn is_there(app: &App) -> bool {
    match &app.config.serving {
        Some(socket) => tokio::fs::try_exists(socket).await.unwrap_or(false),
        None => false,
    }
}

pub(crate) async fn begin() -> Redirect {
    Redirect::to("/serving/docs")
}

pub(crate) async fn pass_on(State(app): State<App>, headers: HeaderMap, uri: Uri) -> Result<Response, Refusal> {
    let absent = || {
        Refusal::plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "no bundle serves queries beside this server, or it is starting",
        )
    };
    let Some(socket) = &app.config.serving else { return Err(absent()) };
    let path = uri.path_and_query().map_or("/", |path| path.as_str().strip_prefix(PREFIX).unwrap_or("/"));
    let here = format!("{}{PREFIX}", app.config.base_path);
    let mut passed = Request::builder().uri(path).header(header::HOST, "orch").header(UNDER, here);
    for name in PASSED {
        if let Some(value) = headers.get(&name) {
            passed = passed.header(name, value);
        }
    }
    if let Some(role) = role(&app, &headers).await? {
        passed = passed.header(ROLE, role);
    }
    let passed = passed.body(Body::empty()).map_err(|_| Refusal::not_found("Not Found"))?;
    exchange(socket, passed).await.map_err(|error| {
        tracing::debug!(error = format!("{error:#}"), "the server of published queries did not answer");
        absent()
    })
}

/// Of a caller who is logged in here. Keys are left to the server of the bundle.
async fn role(app: &App, headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
    let caller = if is_jwt(headers) {
        app.auth.caller(&app.hot, headers).await?
    } else {
        match app.auth.session(&app.hot, headers, app.config.cookie()).await {
            Ok(session) => session.caller,
            Err(Refusal::NotLoggedIn(_)) => return Ok(None),
            Err(refusal) => return Err(refusal),
        }
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
