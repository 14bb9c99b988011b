//! Middleware in front of all handlers. For every request, it checks limits and the host name; for each route, its
//! access rule. Internal errors are logged here, where the route is known.

mod sender;

use crate::api::connectors;
use crate::arrival::Arrival;
use crate::auth::{Caller, Role};
use crate::behind::servers::server_at;
use crate::extract::{Peer, Query};
use crate::limit::{CHEAP, DEAR};
use crate::openapi::kinds::Param;
use crate::pages::{self, PageRequest};
use crate::refusal::{Cause, FailureReason, Refusal, with_reason};
use crate::routes::{Access, Door, Rule};
use crate::state::App;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use orch_spec::state::TriggeredBy;
use orch_store::error::chain;
use orch_wire::Problem;
use sender::Sender;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// Maximum length of a query. Longer ones could harm code that logs or parses them.
const MOST_QUERY_BYTES: usize = 8 * 1024;

/// Suffixes of routes that are expensive because they read or render much data or hash a password.
const DEAR_ROUTES: [&str; 11] = [
    "/graph",
    "/gantt",
    "/log",
    "/logs/{try_number}",
    "/openapi.json",
    "/auth/token",
    "/auth/token/cli",
    "/login",
    "/sql",
    "/sql/download",
    "/sample",
];

/// Default security headers of every response. Pages override some of them.
const HEADERS: [(header::HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Runs before routing.
pub(crate) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let said = request.extensions().get::<Peer>().copied();
    let arrival = Arrival::of(&app.config, request.headers(), request.uri(), said);
    let mut response = match admit(&app, &request, &arrival) {
        Ok(()) => {
            request.extensions_mut().insert(Peer(arrival.peer));
            request.extensions_mut().insert(arrival);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    };
    if app.config.https {
        let year = HeaderValue::from_static("max-age=31536000");
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// NUL in percent encoding.
const NUL: &str = "%00";

/// Monitoring calls these routes directly, without a proxy. They return nothing secret.
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];

fn admit(app: &App, request: &Request, arrival: &Arrival) -> Result<(), Refusal> {
    if request.uri().query().is_some_and(|query| query.len() > MOST_QUERY_BYTES) {
        return Err(Refusal::plain(StatusCode::URI_TOO_LONG, "the query is too long"));
    }
    // Postgres cannot store NUL characters, so such a path matches nothing. Handlers need not check for them.
    if request.uri().path().contains(NUL) {
        return Err(Refusal::not_found("Not Found"));
    }
    if let Some(query) = request.uri().query().filter(|query| query.contains(NUL)) {
        Query::parse(query).finish()?;
    }
    if app.config.https && arrival.is_plain && !HEALTH.contains(&request.uri().path()) {
        let text = "this server is reached by https only, by its certificate or through its proxy";
        return Err(Refusal::plain(StatusCode::FORBIDDEN, text));
    }
    // A proxy in front of this server might use the other one of the two names.
    if request.headers().get_all(header::HOST).iter().count() > 1 {
        return Err(Refusal::bad_request("the header `Host` is there twice"));
    }
    match arrival.host.as_deref() {
        None => Err(Refusal::bad_request("the header `Host` is missing")),
        Some(host) if answers_to(host, &app.config.hosts) => Ok(()),
        Some(_) => {
            let text = "this server does not answer to that host name: add it to the allowed hosts";
            Err(Refusal::plain(StatusCode::MISDIRECTED_REQUEST, text))
        }
    }
}

/// Prevents DNS rebinding: an attacker's page can send requests under a host name that resolves to this server, but not
/// under an IP address.
fn answers_to(host: &str, allowed: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_end_matches('.');
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    !host.contains('@')
        && (name.eq_ignore_ascii_case("localhost")
            || bare.parse::<IpAddr>().is_ok()
            || allowed.iter().any(|known| known.eq_ignore_ascii_case(name)))
}

#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) app: App,
    pub(crate) rule: Rule,
    /// The query parameters of the route. `None` if it accepts any.
    pub(crate) query: Option<Arc<[Param]>>,
}

/// Runs after routing: checks the access rule and logs internal errors of the route.
pub(crate) async fn gate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let response = match gate.rule.door {
        Door::Api if gate.rule.path.starts_with(connectors::PATH) => {
            connectors::in_words_of_connect(through_api(&gate, request, next).await)
        }
        Door::Api if let Some(server) = server_at(gate.rule.path) => {
            server.in_its_words(through_api(&gate, request, next).await)
        }
        Door::Api => through_api(&gate, request, next).await,
        Door::Page => through_page(&gate, request, next).await,
    };
    if let Some(Cause { request_id, error }) = response.extensions().get() {
        let Rule { method, path, .. } = &gate.rule;
        let status = response.status().as_u16();
        tracing::error!(request.id = %request_id, http.method = %method, http.route = path, http.status = status,
            error = %chain(error.as_ref()).escape_debug(), "a request failed");
    }
    response
}

/// Logs why a connection failed. Only admins receive the reason in the response.
fn log_failed_connection(rule: &Rule, response: Response, role: Role) -> Response {
    let Some(reason) = response.extensions().get::<FailureReason>().cloned() else { return response };
    let Rule { method, path, .. } = rule;
    tracing::warn!(http.method = %method, http.route = path, error = %reason.0.escape_debug(), "a connection failed");
    if role >= Role::Admin { with_reason(&reason) } else { response }
}

fn allow(caller: &Caller, needed: Role) -> Result<(), Refusal> {
    if caller.role >= needed {
        return Ok(());
    }
    Err(Refusal::RoleTooLow { user: caller.name.clone(), has: caller.role, needed })
}

/// Returns the cost of a request in points.
fn cost(rule: &Rule) -> u32 {
    let is_dear = DEAR_ROUTES.iter().any(|end| rule.path.ends_with(end));
    match rule.path {
        "/healthz" | "/readyz" | "/static/{hash}/{name}" => 0,
        "/login" if rule.method == Method::GET => CHEAP,
        _ if is_dear => DEAR,
        _ => CHEAP,
    }
}

/// Handles routes for programs: a token in a header, and errors as JSON.
async fn through_api(gate: &Gate, mut request: Request, next: Next) -> Response {
    let sender = Sender::of(gate, &request);
    let admitted = match gate.rule.access {
        Access::Open if let Some(server) = server_at(gate.rule.path) => sender.caller_of_bundle(server).await,
        Access::Open => sender.spend_of_address(cost(&gate.rule)).map(|()| None),
        // Only `Here` sets this extension. Requests from the network have none.
        Access::Login(_) if let Some(caller) = request.extensions().get() => Ok(Some(Caller::clone(caller))),
        Access::Login(role) => sender.caller().await.and_then(|caller| {
            sender.spend(&caller.name).and(allow(&caller, role))?;
            Ok(Some(caller))
        }),
    };
    let admitted = admitted.and_then(|caller| check_query(gate, request.uri().query()).map(|()| caller));
    match admitted {
        Ok(Some(caller)) => {
            let role = caller.role;
            request.extensions_mut().insert(MayDelete(gate.rule.deletes.is_none_or(|needed| role >= needed)));
            request.extensions_mut().insert(caller);
            log_failed_connection(&gate.rule, next.run(request).await, role)
        }
        Ok(None) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Rejects parameters that the route does not have, with the names of those it has. Otherwise, a mistyped filter would
/// return everything. Routes of the API check values themselves and report them in Airflow's format; for other routes,
/// values are checked here.
fn check_query(Gate { rule, query: known, .. }: &Gate, query: Option<&str>) -> Result<(), Refusal> {
    let (Some(known), Some(query)) = (known, query) else { return Ok(()) };
    let sent: BTreeSet<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let names: Vec<&str> = known.iter().map(|param| &*param.name).collect();
    let reads = if names.is_empty() { "no query parameter".to_string() } else { names.join(", ") };
    if rule.path.starts_with("/api/") {
        let unknown: BTreeSet<&str> =
            sent.iter().map(|(name, _)| &**name).filter(|name| !names.contains(name)).collect();
        let msg = format!("Extra inputs are not permitted: this route reads {reads}");
        let problem = |name: &str| Problem::new("extra_forbidden", msg.clone()).at(["query", name]);
        let problems: Vec<Problem> = unknown.into_iter().map(problem).collect();
        return if problems.is_empty() { Ok(()) } else { Err(Refusal::Invalid(problems)) };
    }
    for (name, text) in &sent {
        let Some(param) = known.iter().find(|param| param.name == *name) else {
            let text = format!("the parameter `{name}` is not read here\nhint: this address reads {reads}");
            return Err(Refusal::bad_request(text));
        };
        if let Some(right) = param.kind.unless_right(text) {
            return Err(Refusal::bad_request(format!("`{name}` cannot be `{text}`\nhint: it takes {right}")));
        }
    }
    Ok(())
}

/// True if the caller has the role that the route requires for deletions in a bulk body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MayDelete(pub(crate) bool);

/// Handles pages: a session cookie, redirects to the login page, and errors as HTML.
async fn through_page(gate: &Gate, mut request: Request, next: Next) -> Response {
    let app = &gate.app;
    let sender = Sender::of(gate, &request);
    let session = sender.session().await;
    let asked = PageRequest::of(&request, session.as_ref().ok().cloned());
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let admitted = match (gate.rule.access, session) {
        _ if changes && !is_own_page(&request) => Err(Refusal::plain(
            StatusCode::FORBIDDEN,
            "this came from a page of another site, so it was not carried out",
        )),
        (Access::Open, _) if let Err(refusal) = sender.spend_of_address(cost(&gate.rule)) => Err(refusal),
        (Access::Open, Err(Refusal::NotLoggedIn(_))) => Ok(None),
        // The login form has no CSRF token, because there is no session yet.
        (Access::Open, Ok(_)) if changes => Ok(None),
        (Access::Open, Ok(session)) => Ok(Some(session)),
        (Access::Login(role), Ok(session)) => {
            let may = sender.spend(&session.caller.name).and(allow(&session.caller, role));
            may.map(|()| Some(session))
        }
        (Access::Login(_), Err(Refusal::NotLoggedIn(_))) => return pages::to_login(&asked, changes),
        (_, Err(refusal)) => Err(refusal),
    };
    let admitted = admitted.and_then(|session| check_query(gate, request.uri().query()).map(|()| session));
    let response = match admitted {
        Ok(Some(session)) => {
            let role = session.caller.role;
            request.extensions_mut().insert(Caller { through: TriggeredBy::Ui, ..session.caller.clone() });
            request.extensions_mut().insert(session);
            log_failed_connection(&gate.rule, next.run(request).await, role)
        }
        Ok(None) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    pages::readable(app, &asked, response).await
}

/// Returns whether a form was sent from a page of this server. Browsers set these headers, and pages cannot change
/// them. Other clients send none of them; they are protected by the CSRF token.
fn is_own_page(request: &Request) -> bool {
    let host = request.extensions().get::<Arrival>().and_then(|arrival| arrival.host.as_deref());
    is_of(request.headers(), host)
}

fn is_of(headers: &HeaderMap, own: Option<&str>) -> bool {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    match (text(header::HeaderName::from_static("sec-fetch-site")), text(header::ORIGIN)) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == own
        }
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_another_site_is_told_by_what_the_browser_says() {
        for (site, origin, own) in [
            ("same-origin", "", true),
            ("none", "", true),
            ("cross-site", "http://localhost:8080", false),
            ("same-site", "", false),
            ("", "http://localhost:8080", true),
            ("", "http://localhost:8081", false),
            ("", "https://evil.example", false),
            ("", "null", false),
            ("", "", true),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("sec-fetch-site", site), ("origin", origin)] {
                if !value.is_empty() {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(is_of(&headers, Some("localhost:8080")), own, "{site} {origin}");
        }
    }

    #[test]
    fn only_known_names_and_bare_addresses_are_answered_to() {
        let allowed = vec!["orch.example.com".to_string()];
        for host in [
            "localhost",
            "localhost:8080",
            "LOCALHOST.",
            "127.0.0.1:8080",
            "[::1]:8080",
            "10.1.2.3",
            "orch.example.com",
            "ORCH.example.com:443",
        ] {
            assert!(answers_to(host, &allowed), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "orch.example.com.evil.example",
            "",
            "a@localhost",
            "127.0.0.1.nip.io",
            "x orch.example.com",
            "orch.example.com/",
        ] {
            assert!(!answers_to(host, &allowed), "{host}");
        }
    }
}
