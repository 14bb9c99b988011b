//! HTML pages that work without JavaScript. Links navigate, forms are posted and answered with a redirect, and filters
//! are in the query.
//!
//! Each page is one module: its path and query, a view struct with finished values, and a template of the same name.

pub(crate) mod account;
pub(crate) mod alerts;
pub(crate) mod approvals;
pub(crate) mod assets;
pub(crate) mod audit;
pub(crate) mod backfills;
pub(crate) mod bulk;
pub(crate) mod connections;
pub(crate) mod dag;
pub(crate) mod dags;
pub(crate) mod dashboards;
pub(crate) mod delete;
pub(crate) mod error;
mod filters;
pub(crate) mod home;
pub(crate) mod kept;
pub(crate) mod keys;
pub(crate) mod lake;
pub(crate) mod login;
mod menu;
pub(crate) mod monitoring;
pub(crate) mod palette;
mod pools;
pub(crate) mod quality;
pub(crate) mod reference;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod shell;
pub(crate) mod sql;
pub(crate) mod streams;
pub(crate) mod task;
pub(crate) mod theme;
pub(crate) mod topics;
mod turned;
pub(crate) mod users;
pub(crate) mod variables;
pub(crate) mod workers;
pub(crate) mod zone;

pub(crate) use shell::{PageRequest, Shell};

use crate::refusal::{Refusal, RefusalText};
use crate::state::App;
use askama::Template;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Content security policy: a page may load from and send to this server only.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Renders a page with its content security policy.
pub(crate) fn html<T: Template>(status: StatusCode, page: &T) -> Result<Response, Refusal> {
    let text = page.render().map_err(|error| Refusal::Broken(format!("a page cannot be drawn: {error}")))?;
    let mut response = (status, text).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}

/// Returns a text file as a download. `name` must be a safe file name, because it is not escaped.
pub(crate) fn attachment(name: &str, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (headers, text).into_response()
}

/// Redirects after a form (303 See Other), so that a reload of the page does not send the form again.
pub(crate) fn see_other(path: &str) -> Response {
    let place = local(path).and_then(|path| HeaderValue::from_str(path).ok());
    (StatusCode::SEE_OTHER, [(header::LOCATION, place.unwrap_or(HeaderValue::from_static("/")))]).into_response()
}

/// Returns the path if it is a path of this server that no browser can interpret as another host.
pub(crate) fn local(path: &str) -> Option<&str> {
    let visible = path.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b'\\');
    (visible && path.starts_with('/') && !path.starts_with("//")).then_some(path)
}

/// Encodes a text as one path segment or query value.
pub(crate) fn encoded(text: &str) -> String {
    // `+` means a space in a query, but is literal in a path; `%20` is correct in both.
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Redirects to the login page, and from there back to the requested page unless the request changes something.
pub(crate) fn to_login(asked: &PageRequest, changes: bool) -> Response {
    if changes || asked.path == "/" {
        return see_other("/login");
    }
    see_other(&format!("/login?next={}", encoded(&asked.path)))
}

pub(crate) fn wants_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/html"))
}

/// Converts an error response to a page with an explanation and the next step.
pub(crate) async fn readable(app: &App, asked: &PageRequest, response: Response) -> Response {
    let Some(RefusalText(words)) = response.extensions().get().cloned() else { return response };
    let (mut parts, _) = response.into_parts();
    let shell = Shell::new(app, asked).await;
    match error::page(app, shell, &parts, &words).await {
        Ok(page) => {
            let (drawn, body) = page.into_parts();
            for name in [header::CONTENT_TYPE, header::CONTENT_SECURITY_POLICY] {
                if let Some(value) = drawn.headers.get(&name) {
                    parts.headers.insert(name, value.clone());
                }
            }
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, body)
        }
        Err(refusal) => refusal.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_server_are_gone_to() {
        for path in ["/", "/dags?q=a%20b&x=/y", "/dags/a/runs/manual__2026-11-20T06:00:00+00:00"] {
            assert_eq!(local(path), Some(path));
        }
        for path in [
            "",
            "dags",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "https:evil.example",
            "javascript:alert(1)",
            "/\tevil",
            "/a\nb",
            "\t//evil.example",
            " /dags",
            "/é",
        ] {
            assert_eq!(local(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_encoded_stays_one_part() {
        assert_eq!(encoded("a/b c?&+%ü"), "a%2Fb%20c%3F%26%2B%25%C3%BC");
    }
}
