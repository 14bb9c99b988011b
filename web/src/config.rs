//! What a web server is told when it starts.

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

/// For lists and pages, whose statements are planned for what they query.
const PAGE_CONNECTIONS: u32 = 5;
/// For statements that are sent over and over and must be quick: triggers and single rows.
const HOT_CONNECTIONS: u32 = 3;

#[derive(Clone)]
pub struct WebConfig {
    pub database_url: String,
    /// Maximum number of connections for triggers and single rows.
    pub hot_connections: u32,
    /// Maximum number of connections for lists and pages.
    pub page_connections: u32,
    /// Names people reach this server by. Loopback names and addresses in figures need not be listed: no other name can
    /// be made to lead there by somebody else's DNS.
    pub hosts: Vec<String>,
    /// Shown to people.
    pub hostname: String,
    /// How long a token lasts that a program asked for.
    pub token_lifetime: Duration,
    /// And one that a command asked for.
    pub cli_token_lifetime: Duration,
    /// And how long a browser stays logged in.
    pub session_lifetime: Duration,
    /// People reach this server by https, through its own certificate or a proxy's: cookies are sent no other way.
    pub https: bool,
    /// Its own certificate, if it has one.
    pub tls: Option<Tls>,
    /// Below which all its addresses are.
    pub base_path: BasePath,
    /// Proxies in front of it: what they say of a client and of how it asked is believed, and nobody else's word.
    pub trusted_proxies: Vec<Network>,
    /// Points a second that a user may spend; a request costs one, an expensive one ten. 0: no limit.
    pub rate_limit: u32,
    /// Connections at the same time from one address that is no trusted proxy. 0: an eighth of all that there may be.
    pub connections_per_address: usize,
    /// How long open requests may take once the server stops.
    pub grace: Duration,
    pub clock: Clock,
    /// Those that seal and open the secrets of connections and variables.
    pub keys: Keyring,
    /// Connections that the binary or its bundle brings, and what they are made for.
    pub default_connections: DefaultConnections,
    pub installation: Installation,
    /// Whether operators may have connections and alerts tried from here.
    pub test_connection: bool,
    /// Which addresses a trial may reach.
    pub reach: Reach,
    /// The way to the lake, if this binary or its bundle has one.
    pub lake: LakeDoor,
    /// The way to clusters such as Kafka, if there is one.
    pub clusters: ClusterDoor,
    /// Where servers of the bundle beside this server listen for it: a folder of sockets.
    pub sockets: Option<PathBuf>,
    /// How the bundle is that runs beside this server, if one should.
    pub bundle: Option<Receiver<BundleState>>,
    /// Where old logs are.
    pub archive: ArchiveDoor,
    /// People can log in and the first DAGs are registered: not ready before. Set by whoever sees to that.
    pub is_set_up: Arc<AtomicBool>,
    /// Whether this process has read its folder of DAG files: not ready before. `None` if another process reads them.
    pub dag_files_read: Option<Arc<AtomicBool>>,
    /// What this installation was told, by name; secrets are masked. Admins may read it.
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
    /// The name of the session's cookie. A browser takes one with `__Host-` only over https, for this host alone and for
    /// all of it; where others live beside this server the cookie is kept to its path instead.
    pub(crate) fn cookie(&self) -> &'static str {
        match (self.https, self.base_path.is_root()) {
            (true, true) => "__Host-orch",
            (true, false) => "__Secure-orch",
            (false, _) => "orch",
        }
    }
}

/// The URL of the database may hold a password.
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
