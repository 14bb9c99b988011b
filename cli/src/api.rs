//! Client of the REST API: over HTTP to a server, or through the same router in this process if a database is
//! configured instead of a server. Each call is one request. A rejected request becomes a failure with a hint. No
//! failure contains the token.

mod alerts;
mod approvals;
mod ask;
mod assets;
mod backfills;
mod clear;
mod deadlines;
mod kept;
mod lake;
mod list;
mod logs;
mod marks;
mod presets;
mod read;
mod sql;
mod streams;
mod topics;
mod users;
mod versions;
mod wait;

pub(crate) use approvals::{ApprovalAnswer, ApprovalRequest};
pub(crate) use ask::Obstacle;
pub(crate) use backfills::PlannedDate;
pub(crate) use clear::{ClearRequest, WouldClear};
pub(crate) use kept::{ApiObject, connection_body, connection_of};
pub(crate) use list::{FIRST_HUNDRED, ListFlags, ListQuery};
pub(crate) use logs::{LogPlace, OldLog, TaskTry};
pub(crate) use marks::{Instance, MarkRequest};
pub(crate) use sql::SqlAnswer;
pub(crate) use topics::{ReadFrom, Records, TopicsAt};

use crate::web_role;
use orch_binary::config::{Config, Secret};
use orch_binary::failure::Failure;
use orch_binary::person;
use orch_binary::session::{Server, Session};
use orch_core::network::step_after_status;
use orch_web::{InProcessApi, MAX_RESPONSE_BYTES};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(5);
/// Timeout for a complete response. Long enough for a page of 1,000 runs with their confs.
const WHOLE_ANSWER: Duration = Duration::from_mins(1);
/// Maximum length of the server's message about a rejected request.
const MOST_DETAIL_CHARS: usize = 2_000;
/// Message of the server if the role of the user is too low.
const FORBIDDEN: &str = "Forbidden";
/// Start of the message that names the user, their role and the required role.
const ROLE_TOO_LOW: &str = "user `";
/// Message of the server for an unknown token.
const UNKNOWN_TOKEN: &str = "Token was revoked";
/// Start of the message of a server that does not test connections.
const SWITCHED_OFF: &str = "Testing connections is disabled";

pub(crate) struct Api {
    door: Door,
    /// Name of the server in messages.
    base: String,
}

enum Door {
    /// Over HTTP, with the value of the `Authorization` header.
    Http(ureq::Agent, Option<String>),
    /// To a router in this process that uses a database.
    Here(Box<InProcessApi>, Server),
}

/// Response to a valid request.
enum ApiReply {
    Found(Value),
    /// Status 400, 403, 404, 409, 413 or 422, and the message.
    Refused(u16, String),
}

impl Api {
    pub(crate) fn over_http(url: &str, token: Option<&Secret>) -> Result<Api, Failure> {
        let authorization = token.map(|token| authorization(token.reveal())).transpose()?;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // Redirects are not followed, because they could send the token to another server.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("orch/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(WHOLE_ANSWER))
            .build();
        Ok(Api { door: Door::Http(config.into(), authorization), base: base(url)? })
    }

    /// Creates a client for the API in this process. It has all permissions, because a user who can open the database
    /// can do everything that a server can.
    pub(crate) fn here(config: &Config, session: Session) -> Result<Api, Failure> {
        let (db, server) = session.into_parts();
        let here =
            InProcessApi::new(web_role::here(config, &server.url)?, &person::name(), db).map_err(web_role::failure)?;
        Ok(Api { door: Door::Here(Box::new(here), server), base: "the database".into() })
    }

    /// Opens a session on the database of this process. `None` if requests go to a server.
    pub(crate) async fn session(&self) -> Result<Option<Session>, Failure> {
        match &self.door {
            Door::Http(..) => Ok(None),
            Door::Here(_, server) => Ok(Some(server.session().await?)),
        }
    }

    /// Fails if the database was started for this command. Then no scheduler and no worker runs, and waiting for them
    /// would never end.
    pub(crate) fn check_at_work(&self, hint: &str) -> Result<(), Failure> {
        if matches!(&self.door, Door::Here(_, server) if server.is_alone()) {
            let message = "no scheduler and no worker is running: the standalone of this data folder is stopped";
            return Err(Failure::new(message).hint(hint));
        }
        Ok(())
    }

    /// Returns the current state of the installation for `orch top`.
    pub(crate) async fn overview(&self) -> Result<Value, Failure> {
        let seen = self.one("api/orch/v1/overview", |found| Some(found.clone())).await?;
        seen.ok_or_else(|| Failure::new("this server is older than `orch top`").hint("install the same version there"))
    }

    async fn get(&self, path: &str, query: &Query) -> Result<ApiReply, Failure> {
        self.ask("GET", &format!("api/v2/{path}{}", query.0), None).await
    }

    /// Sends a request to the API that extends Airflow's.
    async fn get_extra(&self, path: &str) -> Result<ApiReply, Failure> {
        self.ask("GET", &format!("api/orch/v1/{path}"), None).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<ApiReply, Failure> {
        self.change("POST", path, Some(body)).await
    }

    async fn change(&self, method: &str, path: &str, body: Option<&Value>) -> Result<ApiReply, Failure> {
        self.ask(method, &format!("api/v2/{path}"), body).await
    }

    /// Sends a request to the API that extends Airflow's.
    async fn change_extra(&self, method: &str, path: &str, body: Option<&Value>) -> Result<ApiReply, Failure> {
        self.ask(method, &format!("api/orch/v1/{path}"), body).await
    }

    async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<ApiReply, Failure> {
        self.ask_within(WHOLE_ANSWER, method, path, body).await
    }

    async fn ask_within(
        &self,
        most: Duration,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<ApiReply, Failure> {
        let (status, text) = match &self.door {
            Door::Here(here, _) => here.ask(method, path, body).await.map_err(web_role::failure)?,
            Door::Http(agent, authorization) => {
                let mut request = ureq::http::Request::builder().method(method).uri(format!("{}/{path}", self.base));
                if let Some(authorization) = authorization {
                    request = request.header("authorization", authorization);
                }
                let request = request.header("content-type", "application/json");
                let request =
                    request.body(body.map(Value::to_string).unwrap_or_default()).map_err(|_| self.strange())?;
                let request = agent.configure_request(request).timeout_global(Some(most)).build();
                let mut response = agent.run(request).map_err(|error| self.unreachable(&error))?;
                let text = response.body_mut().with_config().limit(MAX_RESPONSE_BYTES as u64).read_to_string();
                (response.status().as_u16(), text.map_err(|error| self.unreachable(&error))?)
            }
        };
        self.answer(status, &text)
    }

    fn answer(&self, status: u16, text: &str) -> Result<ApiReply, Failure> {
        let body: Option<Value> = serde_json::from_str(text).ok();
        let detail = body.as_ref().and_then(|body| body.get("detail"));
        match (status, body.as_ref(), detail) {
            (200..=299, Some(Value::Object(_) | Value::Null), _) => Ok(ApiReply::Found(body.unwrap_or_default())),
            (204, ..) => Ok(ApiReply::Found(Value::Null)),
            (401, _, Some(detail)) => Err(self.not_logged_in(&words(detail))),
            // A higher role does not help: no user may test connections.
            (403, _, Some(detail)) if words(detail).starts_with(SWITCHED_OFF) => {
                Err(Failure::new(format!("`{}`: {}", self.base, words(detail)))
                    .hint("the server takes `ORCH_TEST_CONNECTION=true`"))
            }
            // The message names the required role.
            (403, _, Some(detail)) if words(detail).starts_with(ROLE_TOO_LOW) => Err(refused(&words(detail))),
            (403, _, Some(detail)) if words(detail) != FORBIDDEN => Ok(ApiReply::Refused(status, words(detail))),
            (403, _, Some(_)) => Err(Failure::new(format!("the token may not do that at `{}`", self.base))
                .hint("log in as a user with a higher role: viewers read, users start runs, ops change connections and variables")),
            (400 | 404 | 409 | 413 | 422, _, Some(detail)) => Ok(ApiReply::Refused(status, words(detail))),
            (500..=599, Some(body), Some(detail)) => Err(self.failed(status, body, &words(detail))),
            _ => Err(Failure::new(format!("`{}` answers, but not as an orch server does (HTTP {status})", self.base))
                .hint("name the address at which `orch web` or `orch standalone` listens, such as `http://host:8080`")),
        }
    }

    fn not_logged_in(&self, detail: &str) -> Failure {
        let message = match &self.door {
            // The server sends the same message in both cases, so that it does not reveal which tokens existed.
            Door::Http(_, Some(_)) if detail == UNKNOWN_TOKEN => {
                format!("`{}` does not know the token: it is mistyped, or was revoked", self.base)
            }
            Door::Http(_, Some(_)) => format!("`{}` does not accept the token: {detail}", self.base),
            _ => format!("`{}` asks for a token", self.base),
        };
        // The hint must not suggest a command line with a password or a token: every user of a machine can read command
        // lines.
        Failure::new(message).hint(format!(
            "create a token on the page `{}/account`, or with `orch users create-token` on a machine that reaches the database, \
             and put it into ORCH_API_TOKEN",
            self.base
        ))
    }

    fn failed(&self, status: u16, body: &Value, detail: &str) -> Failure {
        let failure = Failure::new(format!("`{}` responded with status {status}{}", self.base, behind_colon(detail)));
        match body.get("request_id").and_then(Value::as_str) {
            Some(id) => failure.hint(format!("the server's log says why under `{}`", sanitize_text(id))),
            None => failure.hint(step_after_status(status)),
        }
    }

    /// Returns the failure of a request that got no response. These errors contain no headers, so they cannot reveal
    /// the token.
    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let why = match error {
            ureq::Error::Timeout(_) => "it did not answer in time".to_owned(),
            ureq::Error::HostNotFound => "there is no host of that name".to_owned(),
            ureq::Error::Io(error) => error.to_string(),
            ureq::Error::BodyExceedsLimit(_) => "the answer is too large".to_owned(),
            ureq::Error::Protocol(_) => "what answers does not speak HTTP".to_owned(),
            ureq::Error::Rustls(error) => format!("no safe connection: {error}"),
            other => orch_store::error::chain(other),
        };
        Failure::new(format!("the server `{}` cannot be reached: {why}", self.base)).hint(
            "check that `orch web` or `orch standalone` runs there, and the address in `--api-url` or ORCH_API_URL",
        )
    }

    fn strange(&self) -> Failure {
        Failure::new(format!("`{}` answers what this `orch` does not understand", self.base))
            .hint("compare `orch version` with the server's `/api/v2/version`")
    }
}

/// Returns the base URL `scheme://host:port/prefix` of an API URL, without a trailing `/api/v2`. Rejects URLs with
/// credentials or a query string.
fn base(url: &str) -> Result<String, Failure> {
    let hint = "write it as `http://host:8080` or `https://host`";
    let base = url.trim().trim_end_matches('/');
    let base = base.strip_suffix("/api/v2").unwrap_or(base).trim_end_matches('/');
    let parsed: Result<ureq::http::Uri, _> = base.parse();
    // The message must not contain the URL, because it may contain a password.
    if base.contains('@') {
        return Err(Failure::new("`--api-url` contains a user or a password, which are not sent")
            .hint("write the address without them, and put a token into ORCH_API_TOKEN"));
    }
    match parsed {
        Ok(uri)
            if matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
                && uri.query().is_none() =>
        {
            Ok(base.to_owned())
        }
        _ => Err(Failure::new(format!("api_url `{}` is not the address of a server", sanitize_text(url))).hint(hint)),
    }
}

fn authorization(token: &str) -> Result<String, Failure> {
    let token = token.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::new("the token is no token: it has spaces, line ends or letters outside ASCII")
            .hint("give the `access_token` of the server's answer, without quotes"));
    }
    Ok(format!("Bearer {token}"))
}

/// Separates the message from the hint in a rejection by the server.
const HINT: &str = " hint: ";

/// Converts a rejection by the server to a failure with its message and hint.
fn refused(words: &str) -> Failure {
    match words.split_once(HINT) {
        Some((message, hint)) => Failure::new(message.trim_end_matches(';')).hint(hint),
        None => Failure::new(words),
    }
}

/// Returns `: text`, or an empty string for a blank text.
fn behind_colon(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// Returns the text of a `detail`: a text, a list of wrong fields, or an object with a message.
fn words(detail: &Value) -> String {
    let text = match detail {
        Value::String(text) => text.clone(),
        Value::Array(problems) => {
            let one = |problem: &Value| {
                let place = problem["loc"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let place: Vec<&str> = place.collect();
                format!("{}: {}", place.join("."), problem["msg"].as_str().unwrap_or_default())
            };
            problems.iter().map(one).collect::<Vec<_>>().join("; ")
        }
        other => other["message"].as_str().unwrap_or_default().to_owned(),
    };
    sanitize_text(&text)
}

/// Replaces control characters and limits the length of a text from a server, so that it is safe to print.
fn sanitize_text(text: &str) -> String {
    let plain = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    plain.take(MOST_DETAIL_CHARS).collect()
}

/// The query string of a URL: `?a=b&c=d`.
#[derive(Debug, Clone, Default)]
struct Query(String);

impl Query {
    fn with(mut self, name: &str, value: impl std::fmt::Display) -> Query {
        let sign = if self.0.is_empty() { '?' } else { '&' };
        write!(self.0, "{sign}{name}={}", encoded(&value.to_string())).expect("writing to a string cannot fail");
        self
    }

    fn with_pairs(self, pairs: &[(String, String)]) -> Query {
        pairs.iter().fold(self, |query, (name, value)| query.with(name, value))
    }

    fn has(&self, name: &str) -> bool {
        let mut names = self.0.split(['?', '&']).map(|pair| pair.split('=').next());
        names.any(|known| known == Some(name))
    }

    fn with_all<T: std::fmt::Display>(self, name: &str, values: impl IntoIterator<Item = T>) -> Query {
        values.into_iter().fold(self, |query, value| query.with(name, value))
    }
}

/// Percent-encodes a part of a path or a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_are_taken_with_and_without_the_path_of_the_api() {
        for (given, expected) in [
            ("http://host:8080", "http://host:8080"),
            (" https://host/orch/ ", "https://host/orch"),
            ("http://127.0.0.1:1/api/v2/", "http://127.0.0.1:1"),
        ] {
            assert_eq!(base(given).ok().as_deref(), Some(expected), "{given}");
        }
        for wrong in ["", "host:8080", "ftp://host", "http://", "http://host?a=b", "http://me:geheim@host"] {
            let refused = format!("{:?}", base(wrong).expect_err(wrong));
            assert!(!refused.contains("geheim"), "{refused}");
        }
    }

    #[test]
    fn a_token_that_cannot_be_sent_is_not_shown() {
        assert_eq!(authorization(" abc.def-_ \n").ok().as_deref(), Some("Bearer abc.def-_"));
        for wrong in ["", "  ", "ge heim", "ge\nheim", "geheïm"] {
            assert!(!format!("{:?}", authorization(wrong).expect_err(wrong)).contains("heim"), "{wrong}");
        }
    }

    #[test]
    fn parts_of_an_address_cannot_break_out_of_it() {
        assert_eq!(encoded("manual__2026-01-01T00:00:00+00:00"), "manual__2026-01-01T00%3A00%3A00%2B00%3A00");
        assert_eq!(Query::default().with("a", "b/c?d").with("e", 1).0, "?a=b%2Fc%3Fd&e=1");
    }

    #[test]
    fn what_is_wrong_is_told_in_words() {
        assert_eq!(words(&json!("no\u{1b}[31m")), "no [31m");
        assert_eq!(words(&json!([{ "loc": ["body", "conf"], "msg": "an object" }])), "body.conf: an object");
        assert_eq!(words(&json!({ "reason": "x", "message": "taken" })), "taken");
        assert_eq!(behind_colon(" taken\n"), ": taken");
        assert_eq!(behind_colon(&words(&json!({ "reason": "x" }))), "", "an empty message leaves no colon");
    }
}
