//! The servers of a bundle that this server passes requests on to.

use crate::refusal::RefusalText;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use orch_store::token::Audience;
use serde_json::json;

#[derive(Debug)]
pub(crate) struct BundleServer {
    pub(super) prefix: &'static str,
    pub(crate) audience: Audience,
    /// File name in the socket folder.
    pub(super) socket: &'static str,
    /// Error message if the server does not respond.
    pub(super) absent: &'static str,
}

pub(super) static SERVING: BundleServer = BundleServer {
    prefix: "/serving",
    audience: Audience::Serving,
    socket: "serving.sock",
    absent: "no bundle serves queries beside this server, or it is starting",
};
pub(super) static CATALOG: BundleServer = BundleServer {
    prefix: "/catalog",
    audience: Audience::Catalog,
    socket: "catalog.sock",
    absent: "no bundle serves the catalog of a lake beside this server, or it is starting",
};

/// Returns the server of the bundle for a path in the list of routes.
pub(crate) fn server_at(path: &str) -> Option<&'static BundleServer> {
    [&SERVING, &CATALOG].into_iter().find(|server| path.strip_prefix(server.prefix) == Some("/{*path}"))
}

impl BundleServer {
    /// Converts an error of this server to the format that the clients expect. Clients of the catalog raise the
    /// exception that the response names.
    pub(crate) fn in_its_words(&self, response: Response) -> Response {
        let Some(RefusalText(message)) = response.extensions().get().cloned() else { return response };
        let exception = match response.status() {
            _ if self.audience != Audience::Catalog => return response,
            StatusCode::UNAUTHORIZED => "NotAuthorizedException",
            StatusCode::FORBIDDEN => "ForbiddenException",
            StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailableException",
            _ => "RESTException",
        };
        let (mut head, _) = response.into_parts();
        head.headers.remove(header::CONTENT_LENGTH);
        let body = json!({ "error": { "message": &*message, "type": exception, "code": head.status.as_u16() } });
        Response::from_parts(head, Body::from(body.to_string()))
    }
}
