//! Configuration of a web server.

use crate::bundle_state::BundleState;
use crate::clock::Clock;
use crate::tls::Tls;
use orch_core::network::{BasePath, Network, Reach};
use orch_sdk::task::{DefaultConnections, Installation};
use orch_store::archive::ArchiveDoor;
use orch_store::cluster::ClusterDoor;
use orch_store::lake_view::LakeDoor;
use orch_store::seal::Keyring;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::watch::Receiver;

/// For lists and pages, whose statements are planned for each query.
const PAGE_CONNECTIONS: u32 = 5;
/// For frequent statements that must be fast: triggers and single rows.
const HOT_CONNECTIONS: u32 = 3;

#[derive(Clone)]
pub struct WebConfig {
    pub database_url: String,
    /// Maximum number of connections for triggers and single rows.
    pub hot_connections: u32,
    /// Maximum number of connections for lists and pages.
    pub page_connections: u32,
    /// Host names of this server. Loopback names and IP addresses need not be listed. All other names are rejected,
    /// which prevents DNS rebinding.
    pub hosts: Vec<String>,
    /// Shown to users.
    pub hostname: String,
    /// Lifetime of a token for a program.
    pub token_lifetime: Duration,
    /// Lifetime of a token for a command line.
    pub cli_token_lifetime: Duration,
    /// Lifetime of a browser session.
    pub session_lifetime: Duration,
    /// True if users reach this server over HTTPS, with its own certificate or that of a proxy. Cookies are then sent
    /// over HTTPS only.
    pub https: bool,
    pub tls: Option<Tls>,
    /// The path below which all URLs of this server are.
    pub base_path: BasePath,
    /// Trusted reverse proxies. Forwarding headers of other clients are ignored.
    pub trusted_proxies: Vec<Network>,
    /// Rate limit per user in points per second. A request costs one point, an expensive one ten. 0 means no limit.
    pub rate_limit: u32,
    /// Maximum number of concurrent connections from one address, except trusted proxies. 0 means an eighth of the
    /// maximum number of connections.
    pub connections_per_address: usize,
    /// Timeout for open requests when the server stops.
    pub grace: Duration,
    pub clock: Clock,
    /// Keys that encrypt and decrypt the secrets of connections and variables.
    pub keys: Keyring,
    /// Connections that are built into the binary or its bundle, and the installation for which they are created.
    pub default_connections: DefaultConnections,
    pub installation: Installation,
    /// True if operators may test connections and alerts.
    pub test_connection: bool,
    /// Addresses that a connection test may reach.
    pub reach: Reach,
    pub lake: LakeDoor,
    pub clusters: ClusterDoor,
    /// Folder with the sockets of the bundle's servers.
    pub sockets: Option<PathBuf>,
    /// State of the bundle, if this installation runs one.
    pub bundle: Option<Receiver<BundleState>>,
    pub archive: ArchiveDoor,
    /// True once users can log in and the first DAGs are registered. The server is not ready before that.
    pub is_set_up: Arc<AtomicBool>,
    /// True once this process has read its folder of DAG files. The server is not ready before that. `None` if another
    /// process reads them.
    pub dag_files_read: Option<Arc<AtomicBool>>,
    /// The settings of this installation by name, with masked secrets. Only admins may read them.
    pub settings: Vec<(String, String)>,
}

impl WebConfig {
    pub fn new(database_url: impl Into<String>) -> Self {
        WebConfig {
            database_url: database_url.into(),
            hot_connections: HOT_CONNECTIONS,
            page_connections: PAGE_CONNECTIONS,
            hosts: Vec::new(),
            hostname: "localhost".into(),
            token_lifetime: Duration::from_hours(24), // Airflow's default
            cli_token_lifetime: Duration::from_hours(1),
            session_lifetime: Duration::from_hours(7 * 24),
            https: false,
            tls: None,
            base_path: BasePath::default(),
            trusted_proxies: Vec::new(),
            rate_limit: 1_000,
            connections_per_address: 0,
            grace: Duration::from_secs(5),
            clock: Clock::system(),
            keys: Keyring::default(),
            default_connections: DefaultConnections::default(),
            installation: Installation { data_dir: PathBuf::new(), database_url: String::new(), capture_role: None },
            test_connection: false,
            reach: Reach::default(),
            lake: LakeDoor::none(),
            clusters: ClusterDoor::default(),
            sockets: None,
            bundle: None,
            archive: ArchiveDoor::default(),
            is_set_up: Arc::new(AtomicBool::new(true)),
            dag_files_read: None,
            settings: Vec::new(),
        }
    }
}

impl WebConfig {
    /// Returns the name of the session cookie. Browsers accept the prefix `__Host-` only over HTTPS, for this host and
    /// the path `/`. Below a base path, other applications share the host, so the cookie is limited to that path.
    pub(crate) fn cookie(&self) -> &'static str {
        match (self.https, self.base_path.is_root()) {
            (true, true) => "__Host-orch",
            (true, false) => "__Secure-orch",
            (false, _) => "orch",
        }
    }
}

/// Omits the database URL, which may contain a password.
impl fmt::Debug for WebConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebConfig")
            .field("hosts", &self.hosts)
            .field("hostname", &self.hostname)
            .field("token_lifetime", &self.token_lifetime)
            .field("cli_token_lifetime", &self.cli_token_lifetime)
            .field("session_lifetime", &self.session_lifetime)
            .field("https", &self.https)
            .field("tls", &self.tls)
            .field("base_path", &self.base_path)
            .field("trusted_proxies", &self.trusted_proxies)
            .field("rate_limit", &self.rate_limit)
            .field("connections_per_address", &self.connections_per_address)
            .field("grace", &self.grace)
            .field("keys", &self.keys)
            .field("test_connection", &self.test_connection)
            .field("reach", &self.reach)
            .field("lake", &self.lake)
            .field("clusters", &self.clusters)
            .field("archive", &self.archive)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_https_the_cookie_is_bound_to_its_host() {
        let config = WebConfig::new("postgres://");
        assert_eq!(config.cookie(), "orch");
        let config = WebConfig { https: true, ..config };
        assert_eq!(config.cookie(), "__Host-orch");
        let base_path = "/orch".parse().expect("a path");
        assert_eq!(WebConfig { base_path, ..config }.cookie(), "__Secure-orch");
    }
}
