//! From the configuration to what each part of a server process is told.

use crate::config::Config;
use crate::failure::Failure;
use crate::secrets;
use orch_core::network::Reach;
use orch_core::task::Bundle;
use orch_scheduler::SchedulerConfig;
use orch_store::partition::Retention;
use orch_store::registry::{NewBundle, Registered, prepare, register_bundle, take_over};
use orch_store::{StoreError, connect, guard};
use orch_web::{Admin, Password, Tls, WebConfig, ensure_admin};
use orch_workers::{BodyOf, FolderConfig, MessengerConfig, Offers, WorkerConfig};
use sqlx::PgConnection;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The database that was named, and a first connection to it. Every process asks once whether it may work there.
pub(crate) async fn connect_checked(config: &Config, name: &str) -> Result<(String, PgConnection), Failure> {
    let Some(url) = &config.database_url else {
        return Err(Failure::new("no database is named")
            .hint("name one with `--database-url` or `ORCH_DATABASE_URL`; `orch standalone` brings its own"));
    };
    let mut db = connect_patiently(config, url.reveal(), name).await?;
    guard::check(&mut db).await?;
    Ok((url.reveal().to_owned(), db))
}

/// Between two tries to reach a database that is not there yet.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A first connection. Server and processes may be started side by side: one that is not there yet is waited for.
pub(crate) async fn connect_patiently(config: &Config, url: &str, name: &str) -> Result<PgConnection, StoreError> {
    let (began, most) = (Instant::now(), config.database_wait);
    let mut waits = false;
    loop {
        match connect::one(url, name).await {
            Err(error @ StoreError::Unreachable(_)) if began.elapsed() < most => {
                if !std::mem::replace(&mut waits, true) {
                    let cause = error.source_text();
                    tracing::warn!(%error, cause, "waiting up to {} s for the database", most.as_secs());
                }
                tokio::time::sleep(LOOK_AGAIN.min(most.saturating_sub(began.elapsed()))).await;
            }
            Ok(db) => {
                if waits {
                    tracing::info!("the database is there after {:.1} s", began.elapsed().as_secs_f64());
                }
                return Ok(db);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Registers the DAGs of this binary: from then on everybody knows them.
pub(crate) async fn register(
    db: &mut PgConnection,
    bundle: &Bundle,
    paused_at_creation: bool,
) -> Result<Offers, Failure> {
    let new = new_bundle(bundle);
    let registered = register_bundle(db, &new, paused_at_creation).await?;
    offers(db, bundle, &new, &registered).await
}

/// The same for a binary whose DAGs count whatever others offer.
pub(crate) async fn register_over(
    db: &mut PgConnection,
    bundle: &Bundle,
    paused_at_creation: bool,
) -> Result<Offers, Failure> {
    let new = new_bundle(bundle);
    let registered = take_over(db, &new, paused_at_creation).await?;
    offers(db, bundle, &new, &registered).await
}

fn new_bundle(bundle: &Bundle) -> NewBundle {
    NewBundle { name: bundle.name.clone(), dags: bundle.dags().map(|dag| dag.spec.clone()).collect() }
}

async fn offers(
    db: &mut PgConnection,
    bundle: &Bundle,
    new: &NewBundle,
    registered: &[Registered],
) -> Result<Offers, Failure> {
    let mut offers = Offers::new(&bundle.name);
    offers.know(&bundle.conditions());
    for version in prepare(db, new, registered).await? {
        let bodies = bundle.dag(&version.dag_id).map(|dag| &dag.bodies);
        offers.add(Arc::new(version), bodies.expect("only DAGs of the bundle were registered"));
    }
    Ok(offers)
}

/// The folder of DAG files that a worker watches.
pub(crate) fn folder(config: &Config, url: &str, path: PathBuf, body_of: BodyOf) -> FolderConfig {
    FolderConfig { database_url: url.into(), path, body_of, paused_at_creation: config.paused_at_creation }
}

pub(crate) fn worker(config: &Config, url: &str) -> Result<WorkerConfig, Failure> {
    let name = if config.worker_name.is_empty() { hostname() } else { config.worker_name.clone() };
    Ok(WorkerConfig {
        name,
        queues: config.queues.clone(),
        slots: config.slots,
        process_slots: config.process_slots,
        process_memory_mb: config.process_memory_mb,
        lease: config.lease,
        grace: config.grace,
        secrets: secrets::sources(config)?,
        ..WorkerConfig::new(url)
    })
}

pub(crate) fn scheduler(config: &Config, url: &str) -> Result<SchedulerConfig, Failure> {
    let (runs, logs, audit) = (config.run_retention, config.log_retention, config.audit_retention);
    let retention = Retention { runs, logs, audit };
    let archive = secrets::archive(config, Some(url))?;
    Ok(SchedulerConfig { retention, archive, ..SchedulerConfig::new(url) })
}

pub(crate) fn messenger(config: &Config, url: &str) -> Result<MessengerConfig, Failure> {
    Ok(MessengerConfig {
        database_url: url.into(),
        secrets: secrets::sources(config)?,
        public_url: config.public_url.clone(),
        programs: config.alert_programs.clone(),
        reach: reach(config),
    })
}

/// What tests of connections and alerts may reach.
pub(crate) fn reach(config: &Config) -> Reach {
    Reach::also(config.test_networks.clone())
}

pub(crate) fn web(config: &Config, url: &str) -> Result<WebConfig, Failure> {
    let hosts = config.hosts.clone();
    let tls = match (&config.ssl_cert, &config.ssl_key) {
        (Some(certificate), Some(key)) => Some(Tls::load(certificate, key)?),
        _ => None,
    };
    let sources = secrets::sources(config)?;
    let settings = config.shown().into_iter().map(|(field, value)| (field.key.to_owned(), value)).collect();
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
        keys: secrets::keyring(config)?,
        installation: sources.installation(url),
        default_connections: sources.defaults,
        test_connection: config.test_connection,
        reach: reach(config),
        lake: secrets::lake(config, url)?,
        archive: secrets::archive(config, Some(url))?,
        ..WebConfig::new(url)
    })
}

/// People reach the server by https: it has a certificate, or its proxy has one.
fn is_https(config: &Config) -> bool {
    config.ssl_cert.is_some() || (!config.trusted_proxies.is_empty() && !config.insecure_http)
}

/// Makes sure that somebody can log in. `Some`: a password that is told once.
pub(crate) async fn admin(db: &mut PgConnection, config: &Config) -> Result<Option<Password>, Failure> {
    let wished = config.admin_password.as_ref().map(|password| Password::new(password.reveal()));
    match ensure_admin(db, wished.as_ref()).await? {
        Admin::Generated(password) => Ok(Some(password)),
        Admin::Kept | Admin::Changed => Ok(None),
    }
}

/// Takes the port before anything else is done: that it is taken is the commonest mistake.
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

/// A name that cannot be found is told when it is listened at.
fn is_loopback(host: &str, port: u16) -> bool {
    (host, port).to_socket_addrs().map_or(true, |mut addresses| addresses.all(|address| address.ip().is_loopback()))
}

/// Where people reach a server that listens at `address`.
pub(crate) fn address_for_people(config: &Config, address: SocketAddr) -> String {
    let scheme = if config.ssl_cert.is_some() { "https" } else { "http" };
    let place = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => format!("127.0.0.1:{}", v4.port()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => format!("[::1]:{}", v6.port()),
        other => other.to_string(),
    };
    format!("{scheme}://{place}{}", config.base_path)
}

pub(crate) fn hostname() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |name| name.to_string_lossy().into_owned())
}
