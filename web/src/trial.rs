//! Tries whether a connection leads anywhere: Postgres by logging in, HTTP by a request, everything else that has a host and
//! a port by opening a TCP connection. Says what came of it without any secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use orch_core::secret::Masker;
use orch_core::task::Connection;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use std::time::Duration;
use tokio::net::TcpStream;

/// All of a trial.
const WHOLE: Duration = Duration::from_secs(5);
/// Of what the other side says.
const MOST_CHARS: usize = 300;

/// Airflow's words.
const DONE: &str = "Connection successfully tested";

/// How it went, in words: well, or why not.
pub async fn try_connection(connection: &Connection) -> Result<String, String> {
    let tried = async {
        match connection.conn_type.as_str() {
            "postgres" => postgres(connection).await,
            "http" | "https" => http(connection).await,
            _ => tcp(connection).await,
        }
    };
    let ended = tokio::time::timeout(WHOLE, tried).await;
    let ended = ended.unwrap_or_else(|_| Err(format!("it did not answer within {} s", WHOLE.as_secs())));
    let masker = Masker::of(connection.secrets());
    let safe = |text: String| masker.mask(&text).chars().take(MOST_CHARS).collect::<String>();
    ended.map(safe).map_err(safe)
}

async fn postgres(connection: &Connection) -> Result<String, String> {
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(connection.host.as_deref().unwrap_or("localhost"))
        .port(connection.port.unwrap_or(5432))
        .application_name("orch connection test");
    if let Some(login) = &connection.login {
        options = options.username(login);
    }
    if let Some(password) = &connection.password {
        options = options.password(password);
    }
    if let Some(database) = &connection.schema {
        options = options.database(database);
    }
    if let Some(mode) = connection.extra_field("sslmode").and_then(|mode| mode.as_str()) {
        let mode: PgSslMode = mode.parse().map_err(|_| "`sslmode` is none that Postgres knows".to_string())?;
        options = options.ssl_mode(mode);
    }
    let mut db = PgConnection::connect_with(&options).await.map_err(|error| crate::refusal::chain(&error))?;
    db.ping().await.map_err(|error| crate::refusal::chain(&error))?;
    // It said what was asked; that it is not closed politely harms nobody.
    drop(db);
    Ok(DONE.into())
}

/// As Airflow's `HttpHook` makes the address: `schema` is the protocol.
async fn http(connection: &Connection) -> Result<String, String> {
    let host = connection.host.as_deref().filter(|host| !host.is_empty()).ok_or("it has no host")?;
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
    let asked = tokio::task::spawn_blocking(move || {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // Elsewhere the secret is nobody's business.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(WHOLE))
            .build();
        let mut request = ureq::Agent::from(config).get(&url);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        request.call().map(|answer| answer.status().as_u16())
    });
    match asked.await {
        Ok(Ok(status @ 100..=399)) => Ok(format!("{DONE}: HTTP {status}")),
        Ok(Ok(status)) => Err(format!("it answers HTTP {status}")),
        Ok(Err(error)) => Err(crate::refusal::chain(&error)),
        Err(_) => Err("the trial broke off".into()),
    }
}

async fn tcp(connection: &Connection) -> Result<String, String> {
    let host = connection.host.as_deref().filter(|host| !host.is_empty());
    let host =
        host.ok_or_else(|| format!("connections of type `{}` without a host are not tried", connection.conn_type))?;
    // What has a protocol in front is an address; its name is what can be reached.
    let host = host.rsplit_once("://").map_or(host, |(_, rest)| rest);
    let host = host.rsplit_once('@').map_or(host, |(_, rest)| rest);
    let port = connection.port.or_else(|| usual_port(&connection.conn_type));
    let port = port.ok_or("it has no port, and its type has no usual one")?;
    TcpStream::connect((host, port)).await.map_err(|error| format!("{host}:{port}: {error}"))?;
    Ok(format!("{DONE}: {host}:{port} takes connections; nobody logged in"))
}

fn usual_port(conn_type: &str) -> Option<u16> {
    Some(match conn_type {
        "mysql" => 3306,
        "mssql" => 1433,
        "oracle" => 1521,
        "redis" => 6379,
        "mongo" => 27017,
        "kafka" => 9092,
        "ssh" | "sftp" => 22,
        "ftp" => 21,
        "smtp" => 25,
        _ => return None,
    })
}
