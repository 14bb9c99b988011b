//! Connection tests: a login for Postgres, a request for HTTP, and a TCP connection for every other type with a host
//! and a port. Results contain no secrets, and nothing that the other side sends except a status.
//!
//! A name is resolved once, and the test connects to the address that was checked to be reachable.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use orch_core::network::{NOT_REACHED, Reach, shown_url, step_after_status};
use orch_sdk::secret::Masker;
use orch_sdk::task::Connection;
use orch_store::connect::Database;
use orch_store::error::{chain, has_unknown_issuer};
use sqlx::Connection as _;
use sqlx::postgres::{PgConnection, PgSslMode};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Timeout for a whole test.
const WHOLE: Duration = Duration::from_secs(5);
/// Maximum length of a message from the other side.
const MOST_CHARS: usize = 300;
/// Maximum length of a message about fields that do not allow a test. It is long enough for the longest id twice.
const MAX_UNUSABLE_CHARS: usize = 1_000;

/// Airflow's message.
const DONE: &str = "Connection successfully tested";

/// `verify-full` forbids sending the password to a server whose name was not verified.
const NOT_VERIFIED: &str = "`sslmode=verify-full` is not tested: the test cannot verify the name of the server\n\
    hint: run a task that uses the connection";

const KAFKA_PORT: u16 = 9092;

/// The same message for a closed, filtered or nonexistent port, so that tests cannot be used as a port scanner.
const UNREACHABLE: &str = "cannot be reached within 5 s";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TestError {
    /// The fields of the connection do not allow a test. No server was contacted.
    #[error("{0}")]
    Unusable(String),
    /// The reason is shown to admins and logged. Other users could use it to scan ports.
    #[error("{0}")]
    Failed(String),
}

impl From<String> for TestError {
    fn from(reason: String) -> TestError {
        TestError::Failed(reason)
    }
}

impl TestError {
    /// Logs the reason and returns the message for the user.
    pub(crate) fn message_for(self, id: &str, is_admin: bool) -> String {
        match self {
            TestError::Unusable(text) => text,
            TestError::Failed(reason) => {
                tracing::warn!(connection = id, error = %reason.escape_debug(), "the test of a connection failed");
                if is_admin {
                    return reason;
                }
                format!("the connection `{id}` failed; an administrator and the log of the server have the reason")
            }
        }
    }
}

fn unusable(text: impl Into<String>) -> TestError {
    TestError::Unusable(text.into())
}

fn no_host(connection: &Connection) -> TestError {
    unusable(format!("it has no host\nhint: set the host {}", how_to_set(connection, "--conn-host HOST")))
}

fn no_port(connection: &Connection) -> TestError {
    unusable(format!(
        "it has no port, and there is no default port for its type `{}`\n\
         hint: correct the type (`postgres`, `http`, `kafka`, …) or set the port {}",
        connection.conn_type,
        how_to_set(connection, "--conn-port PORT")
    ))
}

/// Returns how to set a part of a connection. There is no command that changes a connection.
fn how_to_set(connection: &Connection, flag: &str) -> String {
    let id = &connection.id;
    format!(
        "on the page of the connection, or with `orch connections delete {id}` and then `orch connections add {id} … {flag}`"
    )
}

/// Tests a connection and returns a message for the user. The test only connects to addresses that `reach` allows.
pub async fn try_connection(connection: &Connection, reach: &Reach) -> Result<String, TestError> {
    let tried = async {
        match connection.conn_type.as_str() {
            "postgres" => postgres(connection, reach).await,
            "http" | "https" => http(connection, reach).await,
            "iceberg" => iceberg(connection, reach).await,
            _ => tcp(connection, reach).await,
        }
    };
    let ended = tokio::time::timeout(WHOLE, tried).await;
    let ended = ended.unwrap_or_else(|_| Err(format!("it {UNREACHABLE}").into()));
    let masker = Masker::of(connection.secrets());
    let safe = |text: &str, most: usize| masker.mask(text).chars().take(most).collect::<String>();
    ended.map(|text| safe(&text, MOST_CHARS)).map_err(|error| match error {
        TestError::Unusable(text) => TestError::Unusable(safe(&text, MAX_UNUSABLE_CHARS)),
        TestError::Failed(reason) => TestError::Failed(safe(&reason, MOST_CHARS)),
    })
}

/// Checks that every broker in the connection has only addresses that `reach` allows.
pub(crate) async fn reachable(connection: &Connection, reach: &Reach) -> Result<(), String> {
    let said = ["bootstrap.servers", "metadata.broker.list"].map(|name| connection.extra_field(name));
    let said = said.into_iter().flatten().filter_map(|said| said.as_str());
    let host = connection.host.iter().map(|host| format!("{host}:{}", connection.port.unwrap_or(KAFKA_PORT)));
    // Collected first: the closures of the iterator are not general enough to be held over an await.
    let brokers: Vec<String> = host.chain(said.flat_map(|said| said.split(',')).map(String::from)).collect();
    brokers_reachable(brokers, reach).await
}

/// Checks that each broker, as `host:port`, has only addresses that `reach` allows. All of them must be allowed,
/// because the client of the cluster resolves the name again.
pub(crate) async fn brokers_reachable(brokers: impl IntoIterator<Item = String>, reach: &Reach) -> Result<(), String> {
    for broker in brokers {
        let broker = broker.rsplit_once("://").map_or(broker.as_str(), |(_, rest)| rest).trim();
        let (host, port) = broker.rsplit_once(':').unwrap_or((broker, ""));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().unwrap_or(KAFKA_PORT);
        let found = lookup_host((host, port)).await.map_err(|_| format!("{host}:{port} {UNREACHABLE}"))?;
        if !found.map(|address| reach.allows(address.ip())).reduce(|one, other| one && other).unwrap_or(false) {
            return Err(format!("{host}:{port}: {NOT_REACHED}"));
        }
    }
    Ok(())
}

/// Returns the addresses of a host that may be reached, at least one.
async fn resolved(host: &str, port: u16, reach: &Reach) -> Result<Vec<SocketAddr>, String> {
    let found = lookup_host((host, port)).await.map_err(|_| format!("{host}:{port} {UNREACHABLE}"))?;
    let allowed: Vec<_> = found.filter(|address| reach.allows(address.ip())).collect();
    if allowed.is_empty() { Err(format!("{host}:{port}: {NOT_REACHED}")) } else { Ok(allowed) }
}

async fn postgres(connection: &Connection, reach: &Reach) -> Result<String, TestError> {
    let mut to = Database::of(connection).map_err(|error| unusable(error.to_string()))?;
    let place = format!("{}:{}", to.host, to.port);
    // A test must not reveal whether a file exists on the server.
    to.ssl_root_cert = None;
    if !to.host.starts_with('/') {
        let address = resolved(&to.host, to.port, reach).await?[0].ip().to_string();
        // The test connects to the address that was checked, and sqlx verifies the name that it connects to.
        if matches!(to.ssl_mode, PgSslMode::VerifyFull) && to.host != address {
            return Err(unusable(NOT_VERIFIED));
        }
        to.host = address;
    } else if !reach.allows(IpAddr::V4(Ipv4Addr::LOCALHOST)) {
        // A Unix socket is a connection to this host.
        return Err(format!("{}: {NOT_REACHED}", to.host).into());
    }
    let options = to.options().application_name("orch connection test");
    let connected = PgConnection::connect_with(&options).await;
    let mut db = connected.map_err(|error| match error {
        // A rejected certificate is an error of this kind too.
        sqlx::Error::Io(_) if !has_unknown_issuer(&error) => format!("{place} {UNREACHABLE}"),
        error => chain(&error),
    })?;
    db.ping().await.map_err(|error| chain(&error))?;
    // The test is complete, so the connection need not be closed gracefully.
    drop(db);
    Ok(DONE.into())
}

/// Builds the URL like Airflow's `HttpHook`: `schema` is the protocol.
async fn http(connection: &Connection, reach: &Reach) -> Result<String, TestError> {
    let host = connection.host.as_deref().filter(|host| !host.is_empty()).ok_or_else(|| no_host(connection))?;
    let mut url = if host.contains("://") {
        host.to_string()
    } else {
        let protocol = connection.schema.as_deref().filter(|schema| !schema.is_empty());
        format!("{}://{host}", protocol.unwrap_or(&connection.conn_type))
    };
    if let Some(port) = connection.port {
        url = format!("{}:{port}", url.trim_end_matches('/'));
    }
    let authorization = connection.login.as_ref().map(|login| {
        let password = connection.password.as_deref().unwrap_or_default();
        format!("Basic {}", BASE64.encode(format!("{login}:{password}")))
    });
    let shown = shown_url(&url);
    match status(url, authorization, reach).await? {
        good @ 100..=399 => Ok(format!("{DONE}: HTTP {good}")),
        other => Err(refused(&shown, other).into()),
    }
}

/// Requests the catalog's configuration for clients. Does not log in with the credentials of an account.
async fn iceberg(connection: &Connection, reach: &Reach) -> Result<String, TestError> {
    let base = connection.http_address().ok_or_else(|| no_host(connection))?;
    let token = connection.extra_field("token").and_then(|token| token.as_str());
    let has_account = token.is_none() && connection.password.is_some();
    let url = format!("{base}/v1/config");
    let shown = shown_url(&url);
    match status(url, token.map(|token| format!("Bearer {token}")), reach).await? {
        good @ 200..=299 => Ok(format!("{DONE}: HTTP {good}")),
        // The catalog responds, but requires the name of a warehouse or a token.
        asked @ (400 | 401) if asked == 400 || has_account => Ok(format!("{DONE}: it answers; no login was tried")),
        other => Err(refused(&shown, other).into()),
    }
}

fn refused(shown: &str, status: u16) -> String {
    format!("`{shown}` responded with status {status}\nhint: {}", step_after_status(status))
}

/// Returns the status of the response to a request, without following redirects.
async fn status(url: String, authorization: Option<String>, reach: &Reach) -> Result<u16, String> {
    let shown = shown_url(&url);
    let reaching = Reaching(reach.clone());
    let asked = tokio::task::spawn_blocking(move || {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A redirect could send the secret to another server.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(WHOLE))
            .build();
        let mut request = ureq::Agent::with_parts(config, DefaultConnector::default(), reaching).get(&url);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        request.call().map(|answer| answer.status().as_u16())
    });
    match asked.await {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(
            ureq::Error::Io(_) | ureq::Error::HostNotFound | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed,
        )) => Err(format!("`{shown}` {UNREACHABLE}")),
        Ok(Err(error)) => {
            let why = chain(&error);
            // Omits the error kind of the client.
            let why = if why.contains(NOT_REACHED) { NOT_REACHED } else { why.as_str() };
            Err(format!("`{shown}`: {why}"))
        }
        Err(_) => Err(format!("the request to `{shown}` ended without a result; test the connection again")),
    }
}

/// Resolves a name once and returns only addresses that may be reached.
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

async fn tcp(connection: &Connection, reach: &Reach) -> Result<String, TestError> {
    let host = connection.host.as_deref().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| {
        unusable(format!("connections of type `{}` without a host are not tested", connection.conn_type))
    })?;
    // A host with a protocol is a URL, of which only the host name is used.
    let host = host.rsplit_once("://").map_or(host, |(_, rest)| rest);
    let host = host.rsplit_once('@').map_or(host, |(_, rest)| rest);
    let port = connection.port.or_else(|| usual_port(&connection.conn_type));
    let port = port.ok_or_else(|| no_port(connection))?;
    let addresses = resolved(host, port, reach).await?;
    TcpStream::connect(&*addresses).await.map_err(|_| format!("{host}:{port} {UNREACHABLE}"))?;
    Ok(format!("{DONE}: {host}:{port} takes connections; no login was tried"))
}

fn usual_port(conn_type: &str) -> Option<u16> {
    Some(match conn_type {
        "mysql" => 3306,
        "mssql" => 1433,
        "oracle" => 1521,
        "redis" => 6379,
        "mongo" => 27017,
        "kafka" => KAFKA_PORT,
        "ssh" | "sftp" => 22,
        "ftp" => 21,
        "smtp" => 25,
        _ => return None,
    })
}
