//! From the configuration to the keys that open secrets and the places where connections and variables are kept.

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

/// In the data folder of a standalone.
const KEY_FILE: &str = "secret.key";

/// The keys that were given, else those of the standalone. None is no failure: not everybody keeps secrets.
pub fn keyring(config: &Config) -> Result<Keyring, Failure> {
    let (text, from) = match (&config.secret_key, &config.secret_key_file) {
        (Some(_), Some(_)) => {
            return Err(Failure::new("keys for secrets are given twice")
                .hint("leave `ORCH_SECRET_KEY` or `ORCH_SECRET_KEY_FILE` out"));
        }
        (Some(keys), None) => (keys.reveal().to_owned(), "`ORCH_SECRET_KEY`".to_owned()),
        (None, Some(path)) => (read(path)?, format!("`{}`", path.display())),
        // The key of a folder is for what is kept there, not for another server's database.
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

/// Where the keys are that open what is sealed in the database, for people who put them away.
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

/// A standalone that was given no key makes one at its first start, for its own folder.
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

/// Where a worker looks.
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
    // What is wrong is told now, and not by the first body that asks.
    Secrets::new(&sources, None).map_err(|error| Failure::from_error(&error))?;
    Ok(sources)
}

/// Returns the role of the setting `task_role`.
pub(crate) fn task_role(config: &Config) -> Option<TaskRole> {
    let password = config.task_password.as_ref().map(|password| password.reveal().to_owned());
    config.task_role.clone().map(|name| TaskRole { name, password })
}

/// What this binary brings, then what its bundle does.
fn default_connections(config: &Config) -> DefaultConnections {
    let own = config.connections.clone();
    match Beside::of(config) {
        Some(beside) => own.and(beside::default_connections(beside)),
        None => own,
    }
}

/// The same, with the database of the server that other commands would ask, if one runs.
pub fn sources_of_server(config: &Config) -> Result<SecretsConfig, Failure> {
    let standalone = || Standalone::read(&config.data_dir).filter(Standalone::is_alive).map(|left| left.url);
    let database_url = config.database_url.as_ref().map(|url| url.reveal().to_owned()).or_else(standalone);
    Ok(SecretsConfig { database_url, ..sources(config)? })
}

/// The way to the lake of this binary or of its bundle, by the connections that a server may use.
pub fn lake(config: &Config, database_url: &str) -> Result<LakeDoor, Failure> {
    Ok(query_process::door(config, server_finder(config, database_url)?))
}

/// The way to clusters such as Kafka, by the connections that streams and tasks would find.
pub fn clusters(config: &Config, database_url: &str) -> Result<ClusterDoor, Failure> {
    Ok(query_process::cluster_door(config, finder(config, database_url)?))
}

pub fn lake_by(config: &Config, secrets: Secrets) -> LakeDoor {
    query_process::door(config, finding(secrets))
}

/// The way to the archive that was named, by the same connections.
pub fn archive(config: &Config, database_url: Option<&str>) -> Result<ArchiveDoor, Failure> {
    let Some(named) = &config.archive else { return Ok(ArchiveDoor::default()) };
    let secrets = Secrets::new(&sources(config)?, database_url).map_err(|error| Failure::from_error(&error))?;
    ArchiveDoor::to(named, &config.archives, finding(secrets.within(reach(config))))
        .map_err(|error| Failure::from_error(&error))
}

/// Finds connections as tasks do.
pub fn finder(config: &Config, database_url: &str) -> Result<Arc<FindConnection>, Failure> {
    let secrets = Secrets::new(&sources(config)?, Some(database_url)).map_err(|error| Failure::from_error(&error))?;
    Ok(finding(secrets))
}

/// Finds connections for a server, which connects on behalf of users: those that a user added must lead to addresses that users may reach.
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

/// What this process was given itself is masked in whatever it says.
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
