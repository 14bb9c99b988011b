//! The base path of this server, such as `/orch`, if a proxy serves other applications on the same host.
//!
//! The rest of this crate does not use it. It is removed from requests and added to the URLs in responses: links,
//! forms, assets, redirects and cookie paths. In a page, `="/` always comes from a template, because quotation marks in
//! data are escaped.

use crate::body::read_body;
use crate::refusal::Refusal;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use orch_core::network::BasePath;
use tower::ServiceExt as _;

/// Serves a router below a base path. Requests without the path are accepted too, because some proxies remove it.
pub(crate) fn below(base: &BasePath, inner: Router) -> Router {
    if base.is_root() {
        return inner;
    }
    let base = base.clone();
    Router::new().fallback(move |mut request: Request| {
        if let Some(uri) = without(request.uri(), &base) {
            *request.uri_mut() = uri;
        }
        let inner = inner.clone();
        async move { inner.oneshot(request).await.unwrap_or_else(|never| match never {}) }
    })
}

fn without(uri: &Uri, base: &BasePath) -> Option<Uri> {
    let rest = uri.path_and_query()?.as_str().strip_prefix(base.as_str())?;
    let rest = match rest.as_bytes().first() {
        None => "/".to_string(),
        Some(b'/') => rest.to_string(),
        Some(b'?') => format!("/{rest}"),
        // A longer name such as `/orchid` is a different path.
        Some(_) => return None,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(rest.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

/// Marks a response that is passed on from a server of the bundle. Its body is streamed and does not come from a
/// template, so its links are not changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IsPassedOn;

/// Maximum size of a page whose URLs are changed.
const MAX_PAGE_BYTES: usize = 64 << 20;

/// Adds the base path to the URLs in a response.
pub(crate) async fn put_before(State(base): State<BasePath>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if base.is_root() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    put_before_headers(&mut parts.headers, &base);
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("text/html") || parts.extensions.get::<IsPassedOn>().is_some() {
        return Response::from_parts(parts, body);
    }
    // Pages are not streamed, so the body is already complete.
    match read_body(body, MAX_PAGE_BYTES).await {
        Ok(page) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(put_before_links(&String::from_utf8_lossy(&page), base.as_str())))
        }
        Err(error) => Refusal::Broken(format!("the addresses of a page cannot be changed: {error}")).into_response(),
    }
}

fn put_before_headers(headers: &mut HeaderMap, base: &BasePath) {
    let value = |text: String| HeaderValue::from_str(&text).ok();
    let place = headers.get(header::LOCATION).and_then(|place| place.to_str().ok());
    if let Some(place) = place.filter(|place| place.starts_with('/')).and_then(|place| value(format!("{base}{place}")))
    {
        headers.insert(header::LOCATION, place);
    }
    let cookies: Vec<_> = headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        let below = cookie.to_str().ok().and_then(|text| value(text.replace("; Path=/;", &format!("; Path={base};"))));
        headers.append(header::SET_COOKIE, below.unwrap_or(cookie));
    }
}

/// Returns whether an attribute contains a URL if its value starts with a slash.
fn is_address(attribute: &str) -> bool {
    match attribute {
        "href" | "src" | "action" | "formaction" => true,
        // The value is a keyboard shortcut.
        "data-key" => false,
        other => other.starts_with("data-"),
    }
}

fn put_before_links(page: &str, base: &str) -> String {
    let mut out = String::with_capacity(page.len() + page.len() / 16);
    let mut rest = page;
    while let Some(at) = rest.find("=\"/") {
        let (before, after) = rest.split_at(at + 2);
        out.push_str(before);
        let name = before[..at].rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).map_or(0, |place| place + 1);
        if is_address(&before[name..at]) {
            out.push_str(base);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::response::Html;
    use axum::routing::get;

    #[test]
    fn the_path_is_taken_off_where_it_is_whole() {
        let base: BasePath = "/orch".parse().expect("a path");
        let rest = |text: &'static str| without(&Uri::from_static(text), &base).map(|uri| uri.to_string());
        for (path, inner) in
            [("/orch", "/"), ("/orch/", "/"), ("/orch?a=1", "/?a=1"), ("/orch/dags?q=%20", "/dags?q=%20")]
        {
            assert_eq!(rest(path).as_deref(), Some(inner));
        }
        for other in ["/", "/orchid", "/dags/orch"] {
            assert_eq!(rest(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn a_page_that_is_too_large_is_an_error() {
        let base: BasePath = "/orch".parse().expect("a path");
        for (bytes, status) in
            [(MAX_PAGE_BYTES, StatusCode::OK), (MAX_PAGE_BYTES + 1, StatusCode::INTERNAL_SERVER_ERROR)]
        {
            let page = move || async move { Html("x".repeat(bytes)) };
            let app = Router::new().route("/", get(page)).layer(from_fn_with_state(base.clone(), put_before));
            let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
            assert_eq!(response.status(), status, "{bytes} bytes");
        }
    }

    #[test]
    fn addresses_of_a_page_are_put_below_and_nothing_else() {
        let page = "<a href=\"/dags\"><form action=\"/x\"><i data-live=\"/e\" data-key=\"/\" title=\"/t\"><input value=\"/v\">\
            <a href=\"https://x/\"><a href=\"#a\">href=&#34;/no";
        let below = "<a href=\"/o/dags\"><form action=\"/o/x\"><i data-live=\"/o/e\" data-key=\"/\" title=\"/t\"><input \
            value=\"/v\"><a href=\"https://x/\"><a href=\"#a\">href=&#34;/no";
        assert_eq!(put_before_links(page, "/o"), below);
    }
}
