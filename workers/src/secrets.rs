//! Looks up connections and variables in Airflow's order: configured backends (files, then a vault), the environment,
//! the database, and finally the defaults of the binary. The first backend that has the value wins. A backend that
//! fails is skipped, and its error is reported if no other backend has the value.
//!
//! Values are cached for a few seconds, so that a thousand mapped elements cause one request to a vault. Values that
//! were looked up are masked in all output of this process.

mod cache;
mod defaults;
mod environment;
mod file;
mod metadata;
mod output;
mod reach;
mod vault;

pub use vault::VaultConfig;

use crate::{boxed, mask};
use cache::Cache;
use orch_core::network::Reach;
use orch_sdk::secret::{is_sensitive, secrets_in};
use orch_sdk::task::{BoxFuture, Connection, DefaultConnections, Installation, TaskResult, fatal};
use orch_spec::ids::{ConnectionId, check_variable_key};
use orch_store::connect;
use orch_store::seal::Keyring;
use orch_store::task_role::{self, TaskRole};
use sqlx::PgPool;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Maximum number of database sessions if the process has no pool. Two are enough, because lookups are cached.
const SESSIONS: u32 = 2;

#[derive(Clone, Default)]
pub struct SecretsConfig {
    pub keys: Keyring,
    /// Environment variables `ORCH_CONN_…`, `ORCH_VAR_…` and their Airflow equivalents.
    pub environment: HashMap<String, String>,
    pub connections_file: Option<PathBuf>,
    pub variables_file: Option<PathBuf>,
    pub vault: Option<VaultConfig>,
    /// URL of the database that stores connections and variables, if it is not the worker's database. Used by trial
    /// runs, whose worker has a temporary database.
    pub database_url: Option<String>,
    /// Default connections of the binary or its bundle, which refer to the worker's database and this folder.
    pub defaults: DefaultConnections,
    pub data_dir: PathBuf,
    /// Database role with which default connections log in. `None` for the user in the worker's URL.
    pub task_role: Option<TaskRole>,
}

impl SecretsConfig {
    /// Returns the settings from which default connections are built, for this database.
    pub fn installation(&self, database_url: &str) -> Installation {
        let capture_role = task_role::is_private(database_url, &self.data_dir).then(|| task_role::CAPTURE.to_owned());
        let database_url = task_role::url(database_url, &self.data_dir, self.task_role.as_ref());
        Installation { data_dir: self.data_dir.clone(), database_url, capture_role }
    }
}

impl fmt::Debug for SecretsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretsConfig")
            .field("keys", &self.keys)
            .field("environment", &self.environment.keys().collect::<Vec<_>>())
            .field("connections_file", &self.connections_file)
            .field("variables_file", &self.variables_file)
            .field("vault", &self.vault)
            .finish_non_exhaustive()
    }
}

/// Result of a lookup in one backend. `None` if the backend does not have the value.
pub type BackendResult<T> = Result<Option<T>, BackendError>;

/// A source of connections and variables.
pub trait Backend: Send + Sync {
    /// Returns the name of the backend for error messages.
    fn name(&self) -> String;
    /// Returns true if users can change the contents of the backend while orch runs.
    fn is_changed_by_users(&self) -> bool {
        false
    }
    fn connection(&self, id: &str) -> BoxFuture<BackendResult<Connection>>;
    fn variable(&self, key: &str) -> BoxFuture<BackendResult<String>>;
}

/// Describes why a backend failed. Must not contain stored values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct BackendError {
    pub problem: String,
    /// True if the error is transient and a retry may succeed.
    pub passes: bool,
}

impl BackendError {
    pub(crate) fn for_good(problem: impl fmt::Display) -> Self {
        BackendError { problem: problem.to_string(), passes: false }
    }

    pub(crate) fn for_now(problem: impl fmt::Display) -> Self {
        BackendError { problem: problem.to_string(), passes: true }
    }
}

/// All backends. Clones share the cache.
#[derive(Clone)]
pub struct Secrets {
    places: Arc<[Arc<dyn Backend>]>,
    found: Arc<Cache>,
    /// Keys that encrypt secrets in task outputs.
    keys: Keyring,
    /// Addresses that connections of users may lead to. `None` permits all addresses.
    reach: Option<Arc<Reach>>,
}

impl Secrets {
    /// Creates the backends. `database_url` is the metadata database. Without a database URL, no database is queried.
    pub fn new(config: &SecretsConfig, database_url: Option<&str>) -> Result<Self, BackendError> {
        Self::of(config, database_url, None)
    }

    /// Like `new`, but queries the metadata database through the pool `cold`.
    pub fn beside(config: &SecretsConfig, database_url: &str, cold: &PgPool) -> Result<Self, BackendError> {
        Self::of(config, Some(database_url), Some(cold))
    }

    fn of(config: &SecretsConfig, database_url: Option<&str>, cold: Option<&PgPool>) -> Result<Self, BackendError> {
        let mut places: Vec<Arc<dyn Backend>> = Vec::new();
        if config.connections_file.is_some() || config.variables_file.is_some() {
            places.push(Arc::new(file::Files {
                connections: config.connections_file.clone(),
                variables: config.variables_file.clone(),
            }));
        }
        if let Some(vault) = &config.vault {
            mask::learn_for_good([&vault.token]);
            places.push(Arc::new(vault::Vault::new(vault)?));
        }
        let environment = environment::Environment::new(config.environment.clone());
        mask::learn_for_good(environment.secrets());
        places.push(Arc::new(environment));
        if let Some(url) = config.database_url.as_deref().or(database_url) {
            let pool = match cold {
                Some(cold) if config.database_url.is_none() => cold.clone(),
                _ => connect::pool(url, "orch secrets", SESSIONS).map_err(BackendError::for_good)?,
            };
            places.push(Arc::new(metadata::Metadata::new(pool, config.keys.clone())));
        }
        if let Some(url) = database_url.or(config.database_url.as_deref()) {
            let (connections, here) = (config.defaults.clone(), config.installation(url));
            places.push(Arc::new(defaults::Defaults { connections, here }));
        }
        Ok(Secrets { places: places.into(), found: Arc::default(), keys: config.keys.clone(), reach: None })
    }

    pub fn none() -> Self {
        Secrets { places: Arc::new([]), found: Arc::default(), keys: Keyring::default(), reach: None }
    }

    /// Restricts connections that users added to the addresses in `reach`. Used for code that runs on behalf of users.
    /// Clears the cache.
    #[must_use]
    pub fn within(self, reach: Reach) -> Self {
        Secrets { reach: Some(Arc::new(reach)), found: Arc::default(), ..self }
    }

    /// Returns a connection and masks its secrets in all later output. A missing connection is a fatal error.
    #[boxed]
    pub async fn connection(&self, id: &str) -> TaskResult<Connection> {
        if let Some(found) = self.found.connection(id) {
            return Ok(found);
        }
        let (found, _) = self.connection_and_place(id).await?;
        self.found.keep_connection(&found);
        Ok(found)
    }

    /// Like `connection`, but skips the cache and also returns the name of the backend that has the connection.
    #[boxed]
    pub async fn connection_and_place(&self, id: &str) -> TaskResult<(Connection, String)> {
        ConnectionId::new(id).map_err(|error| fatal(error.to_string()))?;
        let found = self.first(&format!("connection `{id}`"), |place| place.connection(id)).await?;
        let hint = format!("add it with `orch connections add {id}`, or set `ORCH_CONN_{}`", id.to_uppercase());
        let (found, place) = found.ok_or_else(|| fatal(format!("there is no connection `{id}`: {hint}")))?;
        mask::learn(found.secrets());
        if let Some(reach) = &self.reach
            && place.is_changed_by_users()
        {
            reach::check(&found, reach).await.map_err(fatal)?;
        }
        Ok((found, place.name()))
    }

    /// Returns a variable. Its value is masked in all later output if the key, or a key inside a JSON value, is
    /// sensitive.
    #[boxed]
    pub async fn variable(&self, key: &str) -> TaskResult<Option<String>> {
        if let Some(found) = self.found.variable(key) {
            return Ok(Some(found));
        }
        let found = self.variable_and_place(key).await?.map(|(found, _)| found);
        if let Some(found) = &found {
            self.found.keep_variable(key, found);
        }
        Ok(found)
    }

    /// Like `variable`, but skips the cache and also returns the name of the backend that has the value.
    #[boxed]
    pub async fn variable_and_place(&self, key: &str) -> TaskResult<Option<(String, String)>> {
        check_variable_key(key).map_err(|error| fatal(error.to_string()))?;
        let found = self.first(&format!("variable `{key}`"), |place| place.variable(key)).await?;
        if let Some((found, _)) = &found {
            mask::learn(secrets_in(is_sensitive(key), found));
        }
        Ok(found.map(|(found, place)| (found, place.name())))
    }

    /// Returns the value from the first backend that has it, and that backend. As in Airflow, backends that fail are
    /// skipped. If no other backend has the value, the error is returned, because the failed backend may have it.
    async fn first<T>(
        &self,
        what: &str,
        ask: impl Fn(&dyn Backend) -> BoxFuture<BackendResult<T>>,
    ) -> TaskResult<Option<(T, &dyn Backend)>> {
        let mut failed: Option<BackendError> = None;
        for place in &*self.places {
            match ask(&**place).await {
                Ok(Some(found)) => return Ok(Some((found, &**place))),
                Ok(None) => {}
                Err(error) => {
                    let problem = format!("{what} cannot be read from {}: {error}", place.name());
                    tracing::warn!("{problem}");
                    let passes = error.passes || failed.as_ref().is_some_and(|failed| failed.passes);
                    let problems = failed.map(|failed| failed.problem + "; ").unwrap_or_default() + &problem;
                    failed = Some(BackendError { problem: problems, passes });
                }
            }
        }
        match failed {
            None => Ok(None),
            Some(BackendError { problem, passes: true }) => Err(anyhow::Error::msg(problem)),
            Some(BackendError { problem, passes: false }) => Err(fatal(problem)),
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.places.iter().map(|place| place.name())).finish()
    }
}
