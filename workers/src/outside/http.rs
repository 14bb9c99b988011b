//! HTTP requests to users' servers. Each request runs on its own thread, because the HTTP client blocks.

use crate::boxed;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orch_core::network::{NOT_REACHED, Reach, shown_url, step_after_status};
use orch_sdk::task::{Connection, TaskResult, fatal};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;
use ureq::Agent;
use ureq::config::Config;
use ureq::http::{Request, Response, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Stack size of a request thread. The default would waste memory.
const STACK_BYTES: usize = 512 * 1024;
/// Maximum number of redirects that a request without a connection follows.
const MOST_REDIRECTS: u32 = 5;

#[derive(Debug, Clone)]
pub struct Ask {
    pub method: String,
    pub address: Address,
    pub body: Option<Vec<u8>>,
    pub timeout: Duration,
    /// Maximum size of the response body in bytes. A longer body is an error.
    pub most_bytes: u64,
}

/// URL of a request, and its headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    pub url: String,
    pub headers: BTreeMap<String, String>,
    /// True if the URL or the headers contain secrets of a connection. The request then follows no redirect.
    pub is_trusted: bool,
}

#[derive(Debug, Clone)]
pub struct HttpReply {
    pub status: u16,
    /// Headers by lower-case name. If a name occurs several times, the last value is kept.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// Reason why a request received no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    #[error("the request cannot be made: {0}")]
    BadRequest(String),
    #[error("it does not answer: {0}")]
    Silent(String),
    #[error("its answer has more than {0} bytes")]
    TooLong(u64),
}

impl NoAnswer {
    /// Returns an error message with the URL of the request, without secrets, and a hint.
    pub fn message(&self, url: &str) -> String {
        let url = shown_url(url);
        match self {
            NoAnswer::BadRequest(why) => {
                format!("the request to `{url}` is invalid: {why}\nhint: correct its address, method or headers")
            }
            NoAnswer::Silent(why) if why.contains(NOT_REACHED) => format!("`{url}` is not requested: {NOT_REACHED}"),
            NoAnswer::Silent(why) => format!(
                "`{url}` does not respond: {why}\nhint: check the address, and that its server runs and can be reached from here"
            ),
            NoAnswer::TooLong(bytes) => {
                format!("the response of `{url}` has more than {bytes} bytes\nhint: request less data")
            }
        }
    }
}

/// Returns an error message for an unsuccessful response. It contains the URL without secrets, the status, the response
/// text if there is any, and a hint.
pub fn refusal(url: &str, status: u16, text: &str) -> String {
    let text = text.trim();
    let text = if text.is_empty() { String::new() } else { format!(": {text}") };
    format!("`{}` responded with status {status}{text}\nhint: {}", shown_url(url), step_after_status(status))
}

/// An HTTP client. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Http {
    agent: Agent,
}

impl Default for Http {
    fn default() -> Self {
        Http { agent: config().into() }
    }
}

fn config() -> Config {
    Agent::config_builder().http_status_as_error(false).proxy(None).allow_non_standard_methods(true).build()
}

/// Resolves each host name once and keeps only permitted addresses, so that the checked address is also the one that is
/// used (prevents DNS rebinding).
#[derive(Debug)]
struct Reaching(Reach);

impl Resolver for Reaching {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut allowed = self.empty();
        for address in &DefaultResolver::default().resolve(uri, config, timeout)? {
            if self.0.allows(address.ip()) {
                allowed.push(*address);
            }
        }
        if allowed.is_empty() { Err(ureq::Error::Other(NOT_REACHED.into())) } else { Ok(allowed) }
    }
}

impl Http {
    /// Creates a client that connects only to addresses that `reach` permits.
    pub fn reaching(reach: Reach) -> Http {
        Http { agent: Agent::with_parts(config(), DefaultConnector::default(), Reaching(reach)) }
    }

    /// Sends one request. If the future is dropped, the thread continues until the request's timeout.
    #[boxed]
    pub async fn ask(&self, ask: Ask) -> Result<HttpReply, NoAnswer> {
        let (agent, (say, said)) = (self.agent.clone(), oneshot::channel());
        std::thread::Builder::new()
            .name("orch-http".into())
            .stack_size(STACK_BYTES)
            .spawn(move || drop(say.send(block(&agent, &ask))))
            .map_err(|error| NoAnswer::Silent(error.to_string()))?;
        said.await.unwrap_or_else(|_| Err(NoAnswer::Silent("its thread ended".into())))
    }
}

fn block(agent: &Agent, ask: &Ask) -> Result<HttpReply, NoAnswer> {
    let mut request = Request::builder().method(ask.method.as_str()).uri(&ask.address.url);
    for (name, value) in &ask.address.headers {
        request = request.header(name, value);
    }
    let bad = |error: ureq::http::Error| NoAnswer::BadRequest(error.to_string());
    let redirects = if ask.address.is_trusted { 0 } else { MOST_REDIRECTS };
    let answer = match &ask.body {
        Some(body) => {
            let request = agent.configure_request(request.body(body.clone()).map_err(bad)?);
            agent.run(request.timeout_global(Some(ask.timeout)).max_redirects(redirects).build())
        }
        None => {
            let request = agent.configure_request(request.body(()).map_err(bad)?);
            agent.run(request.timeout_global(Some(ask.timeout)).max_redirects(redirects).build())
        }
    };
    read_reply(answer, ask.most_bytes)
}

fn read_reply(answer: Result<Response<ureq::Body>, ureq::Error>, most_bytes: u64) -> Result<HttpReply, NoAnswer> {
    let silent = |error: ureq::Error| match error {
        ureq::Error::BodyExceedsLimit(_) => NoAnswer::TooLong(most_bytes),
        ureq::Error::BadUri(problem) => NoAnswer::BadRequest(problem),
        ureq::Error::Http(problem) => NoAnswer::BadRequest(problem.to_string()),
        other => NoAnswer::Silent(other.to_string()),
    };
    let (head, mut body) = answer.map_err(silent)?.into_parts();
    let text = |value: &ureq::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_string(), text(value))).collect();
    let body = body.with_config().limit(most_bytes).read_to_vec().map_err(silent)?;
    Ok(HttpReply { status: head.status.as_u16(), headers, body })
}

/// Builds the address of a path below a connection, like Airflow: the host may contain a protocol, otherwise `schema`
/// is the protocol; login and password are sent as basic authentication, and the strings in `extra` as headers.
///
/// # Errors
/// Returns a fatal error if the connection has no host.
pub fn below(connection: &Connection, path: &str) -> TaskResult<Address> {
    let id = &connection.id;
    let host = connection.host.as_deref().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| fatal(format!("connection `{id}` has no host")))?;
    let mut base = if host.contains("://") {
        host.to_string()
    } else {
        let scheme = match connection.schema.as_deref().filter(|schema| !schema.is_empty()) {
            Some(schema) => schema,
            None if connection.conn_type == "https" => "https",
            None => "http",
        };
        format!("{scheme}://{host}")
    };
    if let Some(port) = connection.port {
        base = format!("{}:{port}", base.trim_end_matches('/'));
    }
    let url = match path {
        "" => base,
        path => format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/')),
    };
    let mut headers: BTreeMap<String, String> =
        connection.extra.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.into()))).collect();
    if let Some(login) = &connection.login {
        let account = format!("{login}:{}", connection.password.as_deref().unwrap_or_default());
        headers.insert("Authorization".into(), format!("Basic {}", STANDARD.encode(account)));
    }
    Ok(Address { url, headers, is_trusted: true })
}

/// Builds the address of a complete URL, without secrets.
///
/// # Errors
/// Returns a fatal error if the URL does not start with `http://` or `https://`.
pub fn anywhere(url: &str) -> TaskResult<Address> {
    if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(fatal(format!(
            "`{}` begins with neither http:// nor https://: name a connection, or write the whole address",
            shown_url(url)
        )));
    }
    Ok(Address { url: url.into(), ..Address::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(uri: &str, path: &str) -> String {
        below(&Connection::from_uri("c", uri).expect("a URI"), path).expect("a host").url
    }

    #[test]
    fn a_path_is_below_its_connection() {
        assert_eq!(url("http://api.test:8080", "/v1/x?y=1"), "http://api.test:8080/v1/x?y=1");
        assert_eq!(url("http://api.test/https", "v1"), "https://api.test/v1");
        assert_eq!(url("http://https%3A%2F%2Fapi.test", "v1"), "https://api.test/v1");
        assert_eq!(url("https://api.test", ""), "https://api.test");
        assert!(below(&Connection { id: "c".into(), ..Connection::default() }, "/").is_err());
        assert!(anywhere("/v1").is_err() && anywhere("https://api.test/").is_ok());
    }

    #[test]
    fn a_message_contains_the_url_the_reason_and_the_next_step() {
        let url = "http://me:hush@api.test/v1?key=hush";
        let hint = "hint: check the address: the server has nothing at this path";
        assert_eq!(refusal(url, 404, " \r\n "), format!("`http://api.test/v1` responded with status 404\n{hint}"));
        let gone = format!("`http://api.test/v1` responded with status 404: gone\n{hint}");
        assert_eq!(refusal(url, 404, "gone\n"), gone);
        for (error, start) in [
            (NoAnswer::BadRequest("x".into()), "the request to `http://api.test/v1` is invalid: x\nhint: "),
            (NoAnswer::Silent("refused".into()), "`http://api.test/v1` does not respond: refused\nhint: "),
            (NoAnswer::TooLong(5), "the response of `http://api.test/v1` has more than 5 bytes\nhint: "),
        ] {
            assert!(error.message(url).starts_with(start), "{}", error.message(url));
        }
        let private = NoAnswer::Silent(format!("other: {NOT_REACHED}")).message(url);
        assert!(private.starts_with("`http://api.test/v1` is not requested: its address is not public"), "{private}");
        assert!(private.contains("ORCH_TEST_NETWORKS"), "{private}");
    }

    #[test]
    fn an_account_is_sent_as_basic_authentication() {
        let connection = Connection::from_uri("c", "http://me:open@api.test?X-Team=data").expect("a URI");
        let address = below(&connection, "/").expect("a host");
        assert_eq!(address.headers["Authorization"], "Basic bWU6b3Blbg==");
        assert_eq!(address.headers["X-Team"], "data");
        assert!(address.is_trusted);
    }
}
