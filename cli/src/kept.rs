//! Connections and variables with their secrets, for commands that can access the database and its keys. No API returns
//! secrets.

use crate::api::{ApiObject, ListFlags, ListQuery, connection_of};
use crate::cx::Cx;
use orch_binary::config::Config;
use orch_binary::failure::Failure;
use orch_binary::secrets::{keyring, sources_of_server};
use orch_binary::session::Session;
use orch_deeds::Noun;
use orch_deeds::kept::{self as nouns, ExportFile};
use orch_document::kept::WrittenVariable;
use orch_sdk::secret::MASK;
use orch_sdk::task::Connection;
use orch_store::audit::Deed;
use orch_store::{StoreError, kept};
use orch_workers::Secrets;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;

/// Source of a listed connection, with the name that the secrets backends use.
pub(crate) const DATABASE: &str = "the database";
const DEFAULTS: &str = "the defaults of this binary";

/// Whether a command needs decrypted secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretVisibility {
    /// Secrets stay encrypted.
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

impl Existing {
    /// Returns the value in the form of the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Existing::Overwrite => "overwrite",
            Existing::Fail => "fail",
            Existing::Skip => "skip",
        }
    }
}

impl Cx {
    /// Returns the sources in which tasks of the server look up secrets: files, a vault, the environment of this
    /// process, the database. Starts the database of a standalone that is not running; the server stops with the
    /// returned session.
    pub(crate) async fn sources(&self) -> Result<(Secrets, Option<Session>), Failure> {
        let mut session = None;
        let mut sources = sources_of_server(&self.config_of_database()?)?;
        if sources.database_url.is_none() {
            let opened = self.session().await?;
            sources.database_url = Some(opened.url.clone());
            session = Some(opened);
        }
        let secrets = Secrets::new(&sources, None).map_err(|error| Failure::from_error(&error))?;
        Ok((secrets, session))
    }

    /// Lists the connections of the database, followed by the default connections that it does not override, each with
    /// its source.
    pub(crate) async fn connections(
        &self,
        look: SecretVisibility,
        flags: &ListFlags,
    ) -> Result<Vec<(Connection, &'static str)>, Failure> {
        let (api, asked) = (self.api().await?, flags.query());
        let most = asked.most;
        let listed = api.list_kept(nouns::CONNECTION, asked).await?;
        let mut stored: Vec<Connection> = listed.iter().map(connection_of).collect::<Result<_, _>>()?;
        let mut defaults;
        if let Some(mut session) = api.session().await? {
            let config = self.config()?;
            if look == SecretVisibility::Open {
                stored = open_all::<nouns::Connection>(&mut session, &config, ReadSecrets::Show(&listed)).await?;
            }
            let sources = sources_of_server(&config)?;
            defaults = sources.defaults.of(&sources.installation(&session.url)).await.unwrap_or_else(|problem| {
                eprintln!("warning: default connections are not listed: {problem}");
                Vec::new()
            });
        } else {
            defaults = api.default_connections().await?;
        }
        // The list may have been cut off by the limit. Then `take` drops all defaults, so it does not matter that the
        // filter misses some entries of the database.
        defaults.retain(|one| !flags.has_conditions() && stored.iter().all(|other| other.id != one.id));
        defaults.sort_by(|one, other| one.id.cmp(&other.id));
        let defaults = defaults.into_iter().map(|one| (one, DEFAULTS));
        Ok(stored.into_iter().map(|one| (one, DATABASE)).chain(defaults).take(most).collect())
    }

    /// Lists the variables of the database. Values that must stay secret are `***`.
    pub(crate) async fn variables(
        &self,
        look: SecretVisibility,
        asked: ListQuery,
    ) -> Result<Vec<(String, WrittenVariable)>, Failure> {
        let api = self.api().await?;
        let listed = api.list_kept(nouns::VARIABLE, asked).await?;
        let session = if look == SecretVisibility::Open { api.session().await? } else { None };
        if let Some(mut session) = session {
            return open_all::<nouns::Variable>(&mut session, &self.config()?, ReadSecrets::Show(&listed)).await;
        }
        let text = |one: &ApiObject, field: &str| one.get(field).and_then(Value::as_str).map(String::from);
        let read = |one: &ApiObject| {
            let value = text(one, "value").filter(|_| look == SecretVisibility::Open);
            let value = value.unwrap_or_else(|| MASK.into());
            let description = text(one, "description");
            (text(one, "key").unwrap_or_default(), WrittenVariable { value, description })
        };
        Ok(listed.iter().map(read).collect())
    }

    /// Records in the audit log that the user read a secret of the database. Vaults and files have their own logs.
    pub(crate) async fn audit_secret_read(
        &self,
        session: Option<Session>,
        noun: &Noun,
        name: &str,
        place: &str,
    ) -> Result<(), Failure> {
        if place != DATABASE {
            return Ok(());
        }
        let mut session = match session {
            Some(session) => session,
            None => self.session().await?,
        };
        let (event, extra) = (format!("show_{}", noun.many), json!({ "count": 1, noun.name().name: name }));
        session.did(&Deed { event: &event, extra: Some(extra), ..Deed::default() }).await
    }
}

/// Purpose of reading secrets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ReadSecrets<'a> {
    Show(&'a [ApiObject]),
    Export(&'a Path),
}

/// Reads rows with their secrets, and records that in the audit log before it returns them.
pub(crate) async fn open_all<K: ExportFile>(
    session: &mut Session,
    config: &Config,
    what_for: ReadSecrets<'_>,
) -> Result<Vec<K::Written>, Failure> {
    let keys = keyring(config)?;
    let mut rows = match kept::list_all(&mut session.db, K::TABLE).await {
        Err(StoreError::TooManyBytes(error)) => {
            return Err(Failure::new(format!("the {} have {error}", K::NOUN.many)));
        }
        rows => rows?,
    };
    let (verb, extra) = match what_for {
        ReadSecrets::Export(file) => ("export", json!({ "count": rows.len(), "file": file.display().to_string() })),
        ReadSecrets::Show(listed) => {
            let is_part = listed.len() < rows.len();
            let name = |one: &ApiObject| one.get(K::NOUN.name().name).and_then(Value::as_str).map(String::from);
            let mut by_name: HashMap<_, _> = rows.into_iter().map(|row| (row.name().to_string(), row)).collect();
            rows = listed.iter().filter_map(name).filter_map(|name| by_name.remove(&name)).collect();
            let mut extra = json!({ "count": rows.len() });
            if is_part {
                extra["names"] = rows.iter().map(kept::Record::name).collect();
            }
            ("show", extra)
        }
    };
    let all = rows.iter().map(|row| K::opened(row, &keys)).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() && verb == "show" {
        return Ok(all);
    }
    let event = format!("{verb}_{}", K::NOUN.many);
    session.did(&Deed { event: &event, extra: Some(extra), ..Deed::default() }).await?;
    Ok(all)
}
