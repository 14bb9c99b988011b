//! Converts the configuration to the keys that decrypt secrets and to the sources of connections and variables.

use crate::beside::{self, Beside};
use crate::config::{Config, KEPT, Secret, beginning_with};
use crate::failure::Failure;
use crate::found::Standalone;
use crate::query_process;
use crate::roles::reach;
use orch_sdk::task::{Connection, DefaultConnections};
use orch_store::archive::ArchiveDoor;
use orch_store::cluster::ClusterDoor;
use orch_store::lake_view::{FindConnection, LakeDoor};
use orch_store::seal::{Keyring, SecretError};
use orch_store::task_role::TaskRole;
use orch_workers::{Secrets, SecretsConfig, VaultConfig, mask};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the key file in the data folder of a standalone.
const KEY_FILE: &str = "secret.key";

/// Returns the configured keys, otherwise those of the standalone. An empty keyring is not a failure, because secrets
/// are optional.
pub fn keyring(config: &Config) -> Result<Keyring, Failure> {
    let (text, from) = match (&config.secret_key, &config.secret_key_file) {
        (Some(_), Some(_)) => {
            return Err(Failure::new("keys for secrets are given twice")
                .hint("leave `ORCH_SECRET_KEY` or `ORCH_SECRET_KEY_FILE` out"));
        }
        (Some(keys), None) => (keys.reveal().to_owned(), "`ORCH_SECRET_KEY`".to_owned()),
        (None, Some(path)) => (read(path)?, format!("`{}`", path.display())),
        // The key in the data folder belongs to the private database and does not decrypt secrets of another one.
        (None, None) if config.database_url.is_some() => return Ok(Keyring::default()),
        (None, None) => match key_of_folder(config)? {
            Some(found) => found,
            None => return Ok(Keyring::default()),
        },
    };
    mask::learn_for_good(text.split([',', '\n']).map(str::trim));
    Keyring::parse(&text).map_err(|error| {
        let text = error.to_string();
        let (message, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
        Failure::new(format!("{message}: it is from {from}")).hint(hint)
    })
}

/// Returns a description of where the keys are that decrypt the secrets of the database, for users who back them up.
pub fn where_keys_are(config: &Config) -> String {
    let folder = key_file(config);
    match (&config.secret_key, &config.secret_key_file) {
        (Some(_), _) => "the key in `ORCH_SECRET_KEY`, which opens its secrets".into(),
        (None, Some(file)) => format!("the key in `{}`, which opens its secrets", file.display()),
        (None, None) if config.database_url.is_none() && folder.exists() => {
            format!("the key in `{}`, which opens its secrets", folder.display())
        }
        (None, None) => "the key that opens its secrets, from where your orch processes have it".into(),
    }
}

fn key_of_folder(config: &Config) -> Result<Option<(String, String)>, Failure> {
    let path = key_file(config);
    if !path.exists() {
        return Ok(None);
    }
    Ok(Some((read(&path)?, format!("`{}`", path.display()))))
}

fn key_file(config: &Config) -> PathBuf {
    config.data_dir.join(KEY_FILE)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(Failure::io(format!("cannot read `{}`", path.display())))
}

/// Generates a key in the data folder, unless one is configured or exists. A standalone calls this at its start.
pub fn with_key(config: &Config) -> Result<Config, Failure> {
    if config.secret_key.is_some() || config.secret_key_file.is_some() {
        return Ok(config.clone());
    }
    let path = key_file(config);
    let mut options = std::fs::OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => file
            .write_all(format!("{}\n", Keyring::generate()).as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(Failure::io(format!("cannot write `{}`", path.display())))?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Failure::io(format!("cannot write `{}`", path.display()))(error)),
    }
    Ok(Config { secret_key_file: Some(path), ..config.clone() })
}

/// Returns the sources in which a worker looks up connections and variables.
pub fn sources(config: &Config) -> Result<SecretsConfig, Failure> {
    let vault = match (&config.vault_url, &config.vault_token) {
        (Some(url), Some(token)) => Some(VaultConfig {
            url: url.clone(),
            token: token.reveal().to_owned(),
            mount: config.vault_mount.clone(),
            connections_path: config.vault_connections_path.clone(),
            variables_path: config.vault_variables_path.clone(),
            ca_file: config.vault_ca_file.clone(),
        }),
        _ => None,
    };
    let sources = SecretsConfig {
        keys: keyring(config)?,
        environment: beginning_with(&KEPT),
        connections_file: config.connections_file.clone(),
        variables_file: config.variables_file.clone(),
        vault,
        database_url: None,
        defaults: default_connections(config),
        data_dir: config.data_dir.clone(),
        task_role: task_role(config),
    };
    // Report invalid settings now instead of in the first task that needs a secret.
    Secrets::new(&sources, None).map_err(|error| Failure::from_error(&error))?;
    Ok(sources)
}

pub(crate) fn task_role(config: &Config) -> Option<TaskRole> {
    let password = config.task_password.as_ref().map(|password| password.reveal().to_owned());
    config.task_role.clone().map(|name| TaskRole { name, password })
}

/// Returns the default connections of this binary, followed by those of its bundle.
fn default_connections(config: &Config) -> DefaultConnections {
    let own = config.connections.clone();
    match Beside::of(config) {
        Some(beside) => own.and(beside::default_connections(beside)),
        None => own,
    }
}

/// Like `sources`, with the database of the running standalone if no database is configured.
pub fn sources_of_server(config: &Config) -> Result<SecretsConfig, Failure> {
    let standalone = || Standalone::read(&config.data_dir).filter(Standalone::is_alive).map(|left| left.url);
    let database_url = config.database_url.as_ref().map(|url| url.reveal().to_owned()).or_else(standalone);
    Ok(SecretsConfig { database_url, ..sources(config)? })
}

/// Returns access to the lake of this binary or of its bundle, with the connections that a server may use.
pub fn lake(config: &Config, database_url: &str) -> Result<LakeDoor, Failure> {
    Ok(query_process::door(config, server_finder(config, database_url)?))
}

/// Returns access to clusters such as Kafka, with the connections that streams and tasks find.
pub fn clusters(config: &Config, database_url: &str) -> Result<ClusterDoor, Failure> {
    Ok(query_process::cluster_door(config, finder(config, database_url)?))
}

pub fn lake_by(config: &Config, secrets: Secrets) -> LakeDoor {
    query_process::door(config, finding(secrets))
}

/// Returns access to the configured archive, with the connections that a server may use.
pub fn archive(config: &Config, database_url: Option<&str>) -> Result<ArchiveDoor, Failure> {
    let Some(named) = &config.archive else { return Ok(ArchiveDoor::default()) };
    let secrets = Secrets::new(&sources(config)?, database_url).map_err(|error| Failure::from_error(&error))?;
    ArchiveDoor::to(named, &config.archives, finding(secrets.within(reach(config))))
        .map_err(|error| Failure::from_error(&error))
}

/// Returns a function that looks up connections as tasks do.
pub fn finder(config: &Config, database_url: &str) -> Result<Arc<FindConnection>, Failure> {
    let secrets = Secrets::new(&sources(config)?, Some(database_url)).map_err(|error| Failure::from_error(&error))?;
    Ok(finding(secrets))
}

/// Returns a function that looks up connections for a server. The server connects on behalf of users, so connections
/// that a user added must lead to addresses that users may reach.
pub fn server_finder(config: &Config, database_url: &str) -> Result<Arc<FindConnection>, Failure> {
    let secrets = Secrets::new(&sources(config)?, Some(database_url)).map_err(|error| Failure::from_error(&error))?;
    Ok(finding(secrets.within(reach(config))))
}

fn finding(secrets: Secrets) -> Arc<FindConnection> {
    Arc::new(move |id| {
        let (secrets, id) = (secrets.clone(), id.to_owned());
        Box::pin(async move { secrets.connection(&id).await })
    })
}

/// Masks the secrets of the configuration in all output of this process.
pub fn learn(config: &Config) {
    let given =
        [&config.secret_key, &config.vault_token, &config.admin_password, &config.api_token, &config.task_password];
    mask::learn_for_good(given.into_iter().flatten().map(Secret::reveal));
    let database = config.database_url.as_ref().and_then(|url| Connection::from_uri("database", url.reveal()).ok());
    mask::learn_for_good(database.map(|database| database.secrets()).unwrap_or_default());
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Failure {
        match error {
            SecretError::Store(error) => error.into(),
            other => Failure::from_error(&other),
        }
    }
}
