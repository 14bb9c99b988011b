//! Where connections and variables come from, in Airflow's order: backends that were configured (files, then a vault),
//! the environment, the database; at last what the binary brings. The first that has it wins; one that fails is passed
//! over, and named if nobody has it.
//!
//! What was found is kept for a moment, so that a thousand elements of a map ask a vault once; and it is masked in
//! everything that leaves this process from then on.

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

/// Of a process that has no others. Asked seldom, thanks to the cache.
const SESSIONS: u32 = 2;

/// Where to look.
#[derive(Clone, Default)]
pub struct SecretsConfig {
    pub keys: Keyring,
    /// `ORCH_CONN_…`, `ORCH_VAR_…` and Airflow's names of the same.
    pub environment: HashMap<String, String>,
    pub connections_file: Option<PathBuf>,
    pub variables_file: Option<PathBuf>,
    pub vault: Option<VaultConfig>,
    /// Another database than the worker's, for a trial on one that is thrown away.
    pub database_url: Option<String>,
    /// What the binary or its bundle brings, made for the database of the worker and this folder.
    pub defaults: DefaultConnections,
    pub data_dir: PathBuf,
    /// The role as which default connections log in; `None` for the user of the worker's URL.
    pub task_role: Option<TaskRole>,
}

impl SecretsConfig {
    /// Returns what default connections depend on, for this database.
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

/// What one place answers. `None`: it has no such thing.
pub type BackendResult<T> = Result<Option<T>, BackendError>;

/// A place where connections and variables are kept.
pub trait Backend: Send + Sync {
    /// As in "the file `x`".
    fn name(&self) -> String;
    /// True if users add and change what is kept there while orch runs.
    fn is_changed_by_users(&self) -> bool {
        false
    }
    fn connection(&self, id: &str) -> BoxFuture<BackendResult<Connection>>;
    fn variable(&self, key: &str) -> BoxFuture<BackendResult<String>>;
}

/// Why a place did not answer. Says nothing of what is kept there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct BackendError {
    pub problem: String,
    /// It may go well the next time.
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

/// All places together. Clones share what they found.
#[derive(Clone)]
pub struct Secrets {
    places: Arc<[Arc<dyn Backend>]>,
    found: Arc<Cache>,
    /// For what tasks give.
    keys: Keyring,
    /// Addresses that connections of users may reach. `None`: all.
    reach: Option<Arc<Reach>>,
}

impl Secrets {
    /// `database_url`: where the metadata is; without it the database is not asked.
    pub fn new(config: &SecretsConfig, database_url: Option<&str>) -> Result<Self, BackendError> {
        Self::of(config, database_url, None)
    }

    /// The same in a process that has connections already: the metadata is asked over these.
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

    /// Nowhere to look.
    pub fn none() -> Self {
        Secrets { places: Arc::new([]), found: Arc::default(), keys: Keyring::default(), reach: None }
    }

    /// Rejects connections that users added and that lead elsewhere, for processes that connect on behalf of users. Empties the cache.
    #[must_use]
    pub fn within(self, reach: Reach) -> Self {
        Secrets { reach: Some(Arc::new(reach)), found: Arc::default(), ..self }
    }

    /// A connection by its id; its secrets are masked from now on. One that does not exist is a fatal error.
    #[boxed]
    pub async fn connection(&self, id: &str) -> TaskResult<Connection> {
        if let Some(found) = self.found.connection(id) {
            return Ok(found);
        }
        let (found, _) = self.connection_and_place(id).await?;
        self.found.keep_connection(&found);
        Ok(found)
    }

    /// The same, and which place has it: asked anew.
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

    /// A variable by its key; it is masked from now on if its name, or one inside it, says that it is secret.
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

    /// The same, looked for anew, with the name of the place that has it.
    #[boxed]
    pub async fn variable_and_place(&self, key: &str) -> TaskResult<Option<(String, String)>> {
        check_variable_key(key).map_err(|error| fatal(error.to_string()))?;
        let found = self.first(&format!("variable `{key}`"), |place| place.variable(key)).await?;
        if let Some((found, _)) = &found {
            mask::learn(secrets_in(is_sensitive(key), found));
        }
        Ok(found.map(|(found, place)| (found, place.name())))
    }

    /// Returns the value of the first place that has one, and that place. Skips places that fail, as in Airflow. If no other place has the value,
    /// the failure is returned, because the value may be there.
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
