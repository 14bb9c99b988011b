//! Builds the configuration of the web server and of the API in this process.

use orch_binary::config::Config;
use orch_binary::failure::Failure;
use orch_binary::parts::Parts;
use orch_binary::roles::{hostname, reach};
use orch_binary::secrets;
use orch_binary::session::did_in;
use orch_store::audit::Deed;
use orch_web::{ADMIN, Admin, Password, Tls, WebConfig, WebError, ensure_admin};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use std::net::{SocketAddr, ToSocketAddrs as _};
use tokio::net::TcpListener;

pub(crate) fn add(parts: &mut Parts, config: WebConfig, listener: TcpListener) {
    let (hints, stop) = (parts.hints(), parts.stop_token());
    parts.add(async move { orch_web::serve(config, hints, listener, stop).await.map_err(failure) });
}

pub(crate) fn failure(error: WebError) -> Failure {
    match error {
        WebError::Store(error) => error.into(),
        other => Failure::from_error(&other),
    }
}

pub(crate) fn web(config: &Config, url: &str) -> Result<WebConfig, Failure> {
    let hosts = config.hosts.clone();
    let tls = match (&config.ssl_cert, &config.ssl_key) {
        (Some(certificate), Some(key)) => Some(Tls::load(certificate, key).map_err(failure)?),
        _ => None,
    };
    let settings = config.masked_settings().into_iter().map(|(field, value)| (field.key.to_owned(), value)).collect();
    Ok(WebConfig {
        hosts,
        hostname: hostname(),
        settings,
        https: is_https(config),
        tls,
        base_path: config.base_path.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        rate_limit: config.rate_limit,
        connections_per_address: config.connections_per_address,
        ..here(config, url)?
    })
}

/// Returns the configuration of the API in this process, without a network.
pub(crate) fn here(config: &Config, url: &str) -> Result<WebConfig, Failure> {
    let sources = secrets::sources(config)?;
    Ok(WebConfig {
        rate_limit: 0,
        keys: secrets::keyring(config)?,
        installation: sources.installation(url),
        default_connections: sources.defaults,
        test_connection: config.test_connection,
        reach: reach(config),
        archive: secrets::archive(config, Some(url))?,
        lake: secrets::lake(config, url)?,
        clusters: secrets::clusters(config, url)?,
        ..WebConfig::new(url)
    })
}

/// Returns true if users connect by HTTPS: the server has a certificate, or it is assumed that its proxy has one.
fn is_https(config: &Config) -> bool {
    config.ssl_cert.is_some() || (!config.trusted_proxies.is_empty() && !config.insecure_http)
}

/// Creates the user `admin` if it does not exist. Returns its generated password, which is printed once.
pub(crate) async fn admin(db: &mut PgConnection, config: &Config) -> Result<Option<Password>, Failure> {
    let configured = config.admin_password.as_ref().map(|password| Password::new(password.reveal()));
    let mut tx = db.begin().await?;
    let admin = ensure_admin(&mut tx, configured.as_ref()).await.map_err(failure)?;
    match admin {
        Admin::Kept => {}
        Admin::OtherPassword => tracing::warn!(
            "`admin_password` is ignored, because the user `{ADMIN}` exists and has another password; \
            `orch users reset-password -u {ADMIN}` sets a new one"
        ),
        Admin::Created | Admin::Generated(_) => {
            let extra = Some(json!({ "user": ADMIN, "through": "start" }));
            did_in(&mut tx, &Deed { event: "create_user", extra, ..Deed::default() }).await?;
        }
    }
    tx.commit().await?;
    Ok(if let Admin::Generated(password) = admin { Some(password) } else { None })
}

/// Binds the port before other work starts, because a port in use is the most common mistake.
pub(crate) fn listen(config: &Config) -> Result<std::net::TcpListener, Failure> {
    let (host, port) = (config.host.as_str(), config.port);
    if !is_https(config) && !config.insecure_http && !is_loopback(host, port) {
        return Err(Failure::new(format!("plain http at `{host}` would send passwords where others can read them"))
            .hint("name a certificate with `--ssl-cert` and `--ssl-key`, or your proxy with `--trusted-proxies`; `--insecure-http` serves it all the same"));
    }
    let listener = std::net::TcpListener::bind((host, port)).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|error| {
        let failure = Failure::new(format!("cannot listen at {host}:{port}: {error}"));
        match error.kind() {
            std::io::ErrorKind::AddrInUse => failure.hint("choose another `--port`, or `--port 0` for a free one"),
            std::io::ErrorKind::PermissionDenied => failure.hint("choose a `--port` above 1023"),
            _ => failure.hint("`--host` takes an address of this machine, or `0.0.0.0` for all of them"),
        }
    })
}

/// Returns true if all addresses of the host are loopback addresses. Also returns true for an unknown host, because
/// binding it fails with a better message.
fn is_loopback(host: &str, port: u16) -> bool {
    (host, port).to_socket_addrs().map_or(true, |mut addresses| addresses.all(|address| address.ip().is_loopback()))
}

/// Returns the URL under which users on this machine reach a server that listens at `address`.
pub(crate) fn address_for_people(config: &Config, address: SocketAddr) -> String {
    let scheme = if config.ssl_cert.is_some() { "https" } else { "http" };
    let place = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => format!("127.0.0.1:{}", v4.port()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => format!("[::1]:{}", v6.port()),
        other => other.to_string(),
    };
    format!("{scheme}://{place}{}", config.base_path)
}
