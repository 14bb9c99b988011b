//! Connections and variables where they are kept: in the database, opened and sealed with the keys that are known here, or
//! behind the API of a server, which takes secrets and never gives them.

use crate::api::Api;
use crate::app::Cx;
use crate::server::Server;
use orch_binary::config::Config;
use orch_binary::failure::Failure;
use orch_binary::secrets::{keyring, sources_of_server};
use orch_binary::session::{Session, did_in};
use orch_core::task::{Connection, WrittenVariable};
use orch_store::audit::Deed;
use orch_store::connection::{MOST_CONNECTIONS, add_connection, delete_connection, list_connections, set_connection};
use orch_store::seal::{Keyring, SecretError};
use orch_store::variable::{MOST_VARIABLES, add_variable, delete_variable, list_variables, set_variable};
use orch_workers::Secrets;
use serde_json::{Value, json};
use sqlx::Connection as _;
use std::collections::BTreeMap;

/// Key, value if it may be seen, description.
pub(crate) type VariableSeen = (String, Option<String>, Option<String>);

pub(crate) enum Kept {
    Database(Session, Keyring),
    Api(Api),
}

/// How much of what is secret is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing is opened.
    Closed,
    Open,
}

/// What becomes of those of a file that are there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Existing {
    #[default]
    Overwrite,
    Fail,
    Skip,
}

impl Cx {
    pub(crate) async fn kept(&self) -> Result<Kept, Failure> {
        match self.server().await? {
            Server::Database(session) => Ok(Kept::Database(session, keyring(&self.config()?)?)),
            Server::Api(api) => Ok(Kept::Api(api)),
        }
    }

    /// Where tasks of that server look: files, a vault, the environment of this process, the database. A standalone that
    /// does not run is started for this question, and ends with the session.
    pub(crate) async fn sources(&self) -> Result<(Secrets, Option<Session>), Failure> {
        let mut session = None;
        let mut sources = sources_of_server(&self.config_of_database()?)?;
        if sources.database_url.is_none() {
            let opened = self.session().await?;
            sources.database_url = opened.url();
            session = Some(opened);
        }
        let secrets = Secrets::new(&sources, None).map_err(|error| Failure::told(&error))?;
        Ok((secrets, session))
    }
}

impl Kept {
    /// Those that the binary brings and nobody has set up in the database, by name. Over the API they are not known.
    pub(crate) async fn default_connections(
        &self,
        config: &Config,
        kept: &[Connection],
    ) -> Result<Vec<Connection>, Failure> {
        let Kept::Database(session, _) = self else { return Ok(Vec::new()) };
        let sources = sources_of_server(config)?;
        let Some(url) = session.url().or(sources.database_url.clone()) else { return Ok(Vec::new()) };
        let mut defaults = sources.defaults.of(&sources.installation(&url)).await.unwrap_or_else(|problem| {
            eprintln!("warning: default connections are not listed: {problem}");
            Vec::new()
        });
        defaults.retain(|one| kept.iter().all(|other| other.id != one.id));
        defaults.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(defaults)
    }

    /// All of them, by name.
    pub(crate) async fn connections(&mut self, look: Look) -> Result<Vec<Connection>, Failure> {
        match self {
            Kept::Database(session, keys) => {
                let rows = list_connections(&mut session.db, None, MOST_CONNECTIONS).await?;
                let seen = rows.iter().map(|row| if look == Look::Open { row.open(keys) } else { Ok(row.closed()) });
                Ok(seen.collect::<Result<_, SecretError>>()?)
            }
            Kept::Api(api) => api.connections(),
        }
    }

    /// Whether there was none of that name.
    pub(crate) async fn add_connection(&mut self, new: &Connection) -> Result<bool, Failure> {
        let Kept::Database(session, keys) = self else { return self.api().add_connection(new) };
        let mut transaction = session.db.begin().await?;
        if !add_connection(&mut transaction, new, keys).await? {
            return Ok(false);
        }
        let extra = Some(json!({ "connection_id": new.id, "conn_type": new.conn_type }));
        did_in(&mut transaction, &Deed { event: "add_connection", extra, ..Deed::default() }).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Whether there was one.
    pub(crate) async fn delete_connection(&mut self, id: &str) -> Result<bool, Failure> {
        let Kept::Database(session, _) = self else { return self.api().remove("connections", id) };
        let mut transaction = session.db.begin().await?;
        if !delete_connection(&mut transaction, id).await? {
            return Ok(false);
        }
        let extra = Some(json!({ "connection_id": id }));
        did_in(&mut transaction, &Deed { event: "delete_connection", extra, ..Deed::default() }).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Those that were there already and stay as they are. In a database all or nothing is taken over.
    pub(crate) async fn import_connections(
        &mut self,
        all: &BTreeMap<String, Connection>,
        existing: Existing,
    ) -> Result<Vec<String>, Failure> {
        let Kept::Database(session, keys) = self else {
            let entities: Vec<_> = all.values().map(|one| (one.id.clone(), body_of(one))).collect();
            return self.api().create_all("connections", &entities, existing);
        };
        let mut transaction = session.db.begin().await?;
        let mut skipped = Vec::new();
        for (id, connection) in all {
            if existing == Existing::Overwrite {
                tell_dropped(
                    set_connection(&mut transaction, connection, keys)
                        .await?
                        .iter()
                        .map(|name| format!("{id}: {name}")),
                );
            } else if !add_connection(&mut transaction, connection, keys).await? {
                skipped.push(id.clone());
                continue;
            }
            let extra = Some(json!({ "connection_id": id, "conn_type": connection.conn_type }));
            did_in(&mut transaction, &Deed { event: "import_connection", extra, ..Deed::default() }).await?;
        }
        transaction.commit().await?;
        Ok(skipped)
    }

    /// All of them by key, with their values if they are asked for.
    pub(crate) async fn variables(&mut self, look: Look) -> Result<Vec<VariableSeen>, Failure> {
        match self {
            Kept::Database(session, keys) => {
                let rows = list_variables(&mut session.db, None, MOST_VARIABLES).await?;
                let seen = rows.into_iter().map(|row| {
                    let value = (look == Look::Open).then(|| row.open(keys)).transpose()?;
                    Ok((row.key, value, row.description))
                });
                Ok(seen.collect::<Result<_, SecretError>>()?)
            }
            Kept::Api(api) => api.variables(),
        }
    }

    pub(crate) async fn set_variable(
        &mut self,
        key: &str,
        value: &str,
        description: Option<&str>,
    ) -> Result<(), Failure> {
        let Kept::Database(session, keys) = self else { return self.api().set_variable(key, value, description) };
        let mut transaction = session.db.begin().await?;
        set_variable(&mut transaction, key, value, description, keys).await?;
        let extra = Some(json!({ "key": key }));
        did_in(&mut transaction, &Deed { event: "set_variable", extra, ..Deed::default() }).await?;
        Ok(transaction.commit().await?)
    }

    /// Whether there was one.
    pub(crate) async fn delete_variable(&mut self, key: &str) -> Result<bool, Failure> {
        let Kept::Database(session, _) = self else { return self.api().remove("variables", key) };
        let mut transaction = session.db.begin().await?;
        if !delete_variable(&mut transaction, key).await? {
            return Ok(false);
        }
        let extra = Some(json!({ "key": key }));
        did_in(&mut transaction, &Deed { event: "delete_variable", extra, ..Deed::default() }).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Those that were there already and stay as they are; with `Fail` nothing is taken over then.
    pub(crate) async fn import_variables(
        &mut self,
        all: &BTreeMap<String, WrittenVariable>,
        existing: Existing,
    ) -> Result<Vec<String>, Failure> {
        let Kept::Database(session, keys) = self else {
            let entity = |(key, variable): (&String, &WrittenVariable)| {
                let mut body = json!({ "key": key, "value": variable.value });
                if let Some(description) = &variable.description {
                    body["description"] = json!(description);
                }
                (key.clone(), body)
            };
            let entities: Vec<_> = all.iter().map(entity).collect();
            return self.api().create_all("variables", &entities, existing);
        };
        let mut transaction = session.db.begin().await?;
        let mut skipped = Vec::new();
        for (key, variable) in all {
            let (value, description) = (&variable.value, variable.description.as_deref());
            if existing == Existing::Overwrite {
                set_variable(&mut transaction, key, value, description, keys).await?;
            } else if !add_variable(&mut transaction, key, value, description, keys).await? {
                skipped.push(key.clone());
                continue;
            }
            let extra = Some(json!({ "key": key }));
            did_in(&mut transaction, &Deed { event: "import_variable", extra, ..Deed::default() }).await?;
        }
        if existing != Existing::Fail || skipped.is_empty() {
            transaction.commit().await?;
        }
        Ok(skipped)
    }

    fn api(&self) -> &Api {
        match self {
            Kept::Api(api) => api,
            Kept::Database(..) => unreachable!("the database was asked before"),
        }
    }
}

/// Secrets that a connection lost because it leads elsewhere than before.
pub(crate) fn tell_dropped(secrets: impl Iterator<Item = String>) {
    for secret in secrets {
        eprintln!("dropped, as the connection leads elsewhere now: {secret}");
    }
}

/// Airflow's `ConnectionBody`.
pub(crate) fn body_of(connection: &Connection) -> Value {
    let mut body = Value::Object(connection.to_object());
    body["connection_id"] = json!(connection.id);
    body
}
