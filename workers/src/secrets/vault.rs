//! Backend for `HashiCorp` Vault and compatible servers: a KV store of version 2, read with a token.
//!
//! The URL of a value is `{url}/v1/{mount}/data/{path}/{name}`. As in Airflow's `VaultBackend`, a connection is
//! `{"conn_uri": …}` or an object with its parts, and a variable is `{"value": …}`.

use super::{Backend, BackendError, BackendResult};
use orch_core::network::step_after_status;
use orch_sdk::task::{BoxFuture, Connection};
use serde_json::{Map, Value};
use std::fmt;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Timeout for a request. A task function waits for it.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_BYTES: u64 = 1 << 20;

#[derive(Clone)]
pub struct VaultConfig {
    /// Base URL of the server, such as `https://vault.example.com:8200`.
    pub url: String,
    pub token: String,
    pub mount: String,
    /// Path of connections below the mount. If empty, connections are not looked up in the vault.
    pub connections_path: String,
    pub variables_path: String,
    /// File with PEM certificates that are trusted instead of the usual certificate authorities.
    pub ca_file: Option<PathBuf>,
}

impl fmt::Debug for VaultConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultConfig").field("url", &self.url).field("mount", &self.mount).finish_non_exhaustive()
    }
}

#[derive(Clone)]
pub(super) struct Vault {
    config: VaultConfig,
    agent: Agent,
}

impl Vault {
    pub(super) fn new(config: &VaultConfig) -> Result<Self, BackendError> {
        let wrong = |problem: &str| BackendError::for_good(format!("the vault at `{}` {problem}", config.url));
        let address = config.url.strip_prefix("https://").or_else(|| config.url.strip_prefix("http://"));
        let address = address.ok_or_else(|| wrong("has an address that begins with neither https:// nor http://"))?;
        if address.contains('@') {
            return Err(BackendError::for_good("the address of the vault has an account in it: give a token instead"));
        }
        if !config.token.bytes().all(|byte| byte.is_ascii_graphic()) || config.token.is_empty() {
            return Err(wrong("needs a token of one word"));
        }
        let is_here = ["localhost", "127.0.0.1", "[::1]"]
            .iter()
            .any(|host| address.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/'])));
        if config.url.starts_with("http://") && !is_here {
            tracing::warn!(vault.url = config.url, "the vault is asked without TLS: others on the way can read along");
        }
        let mut tls = TlsConfig::builder();
        if let Some(path) = &config.ca_file {
            let text = std::fs::read(path)
                .map_err(|error| BackendError::for_good(format!("`{}` cannot be read: {error}", path.display())))?;
            let certificates: Vec<Certificate<'static>> = parse_pem(&text)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            if certificates.is_empty() {
                return Err(BackendError::for_good(format!("`{}` has no certificate in PEM", path.display())));
            }
            tls = tls.root_certs(RootCerts::Specific(certificates.into()));
        }
        let agent = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            // Follow no redirects, so that no other server receives the token.
            .max_redirects(0)
            .proxy(None)
            .tls_config(tls.build())
            .build();
        let config = VaultConfig { url: config.url.trim_end_matches('/').into(), ..config.clone() };
        Ok(Vault { config, agent: agent.into() })
    }

    async fn read(&self, path: &str, name: &str) -> BackendResult<Map<String, Value>> {
        if path.is_empty() {
            return Ok(None);
        }
        let segments = [&self.config.mount, "data", path, name].join("/");
        if segments.split('/').any(|segment| segment == "." || segment == "..") {
            return Ok(None); // no name may lead out of its folder
        }
        let url = format!("{}/v1/{}", self.config.url, encoded(&segments));
        let vault = self.clone();
        let asking = tokio::task::spawn_blocking(move || vault.get(&url));
        asking.await.map_err(BackendError::for_now)?
    }

    fn get(&self, url: &str) -> BackendResult<Map<String, Value>> {
        let asked = self.agent.get(url).header("X-Vault-Token", &self.config.token).call();
        let mut response = asked.map_err(|error| BackendError::for_now(format!("it does not respond: {error}")))?;
        match response.status().as_u16() {
            200 => {}
            404 => return Ok(None),
            403 => return Err(BackendError::for_good("it refuses the token, or lets it not read there")),
            status => {
                let problem = format!("it responded with status {status}: {}", step_after_status(status));
                let may_pass = matches!(status, 429 | 500..);
                return Err(if may_pass { BackendError::for_now(problem) } else { BackendError::for_good(problem) });
            }
        }
        let body = response.body_mut().with_config().limit(MOST_BYTES).read_to_string();
        let body = body.map_err(|error| BackendError::for_now(format!("its answer breaks off: {error}")))?;
        match serde_json::from_str::<Value>(&body) {
            Ok(mut answer) => match answer["data"]["data"].take() {
                Value::Object(fields) => Ok(Some(fields)),
                _ => Err(BackendError::for_good("its answer is not that of a KV store of version 2")),
            },
            Err(_) => Err(BackendError::for_good("its answer is no JSON")),
        }
    }
}

impl Backend for Vault {
    fn name(&self) -> String {
        format!("the vault at `{}`", self.config.url)
    }

    fn connection(&self, id: &str) -> BoxFuture<BackendResult<Connection>> {
        let (vault, id) = (self.clone(), id.to_string());
        Box::pin(async move {
            let Some(mut fields) = vault.read(&vault.config.connections_path, &id).await? else { return Ok(None) };
            if let Some(uri) = fields.remove("conn_uri") {
                fields = Map::from_iter([("uri".to_string(), uri)]);
            }
            Connection::from_object(&id, &fields).map(Some).map_err(BackendError::for_good)
        })
    }

    fn variable(&self, key: &str) -> BoxFuture<BackendResult<String>> {
        let (vault, key) = (self.clone(), key.to_string());
        Box::pin(async move {
            let fields = vault.read(&vault.config.variables_path, &key).await?;
            let value = fields.and_then(|mut fields| fields.remove("value"));
            Ok(value.map(|value| value.as_str().map_or_else(|| value.to_string(), String::from)))
        })
    }
}

/// Percent-encodes a path for a URL. Keeps slashes, because keys may contain them.
fn encoded(path: &str) -> String {
    path.bytes().fold(String::new(), |mut url, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            url.push(char::from(byte));
        } else {
            write!(url, "%{byte:02X}").expect("text takes everything");
        }
        url
    })
}
