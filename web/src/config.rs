//! What a web server is told when it starts.

use crate::clock::Clock;
use std::fmt;
use std::time::Duration;

#[derive(Clone)]
pub struct WebConfig {
    pub database_url: String,
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
    /// How long open requests may take once the server stops.
    pub grace: Duration,
    pub clock: Clock,
    /// What this installation was told, by name; secrets are masked. Admins may read it.
    pub settings: Vec<(String, String)>,
}

impl WebConfig {
    pub fn new(database_url: impl Into<String>) -> Self {
        WebConfig {
            database_url: database_url.into(),
            hosts: Vec::new(),
            hostname: "localhost".into(),
            token_lifetime: Duration::from_hours(24), // Airflow's default
            cli_token_lifetime: Duration::from_hours(1),
            session_lifetime: Duration::from_hours(7 * 24),
            https: false,
            grace: Duration::from_secs(5),
            clock: Clock::system(),
            settings: Vec::new(),
        }
    }
}

impl WebConfig {
    /// The name of the session's cookie. A browser takes one with the prefix only over https and for this host alone.
    pub(crate) fn cookie(&self) -> &'static str {
        if self.https { "__Host-orch" } else { "orch" }
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
            .field("grace", &self.grace)
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
        assert_eq!(WebConfig { https: true, ..config }.cookie(), "__Host-orch");
    }
}
