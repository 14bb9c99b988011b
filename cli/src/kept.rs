//! Connections and variables with their secrets, which no API gives: by commands that have the database and its keys.

use crate::api::{ApiObject, connection_of};
use crate::cx::Cx;
use orch_binary::config::Config;
use orch_binary::failure::Failure;
use orch_binary::secrets::{keyring, sources_of_server};
use orch_binary::session::Session;
use orch_deeds::kept::{self as nouns, Kept};
use orch_document::kept::WrittenVariable;
use orch_sdk::secret::MASK;
use orch_sdk::task::Connection;
use orch_store::audit::Deed;
use orch_store::connection::{closed, open};
use orch_store::kept::{self, MOST_KEPT, Record};
use orch_store::seal::{Keyring, SecretError};
use orch_workers::Secrets;
use serde_json::{Value, json};
use std::path::Path;

/// Where a listed connection is from, in the words of the backends for secrets.
pub(crate) const DATABASE: &str = "the database";
const DEFAULTS: &str = "the defaults of this binary";

/// How much of what is secret is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretVisibility {
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

impl Existing {
    /// As the API says it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Existing::Overwrite => "overwrite",
            Existing::Fail => "fail",
            Existing::Skip => "skip",
        }
    }
}

impl Cx {
    /// Where tasks of that server look: files, a vault, the environment of this process, the database. A standalone that
    /// does not run is started for this question, and ends with the session.
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

    /// The connections of the database, and the default connections of the binary that the database has no entry for; each by
    /// name and with its place. A server that is asked over HTTP does not tell its default connections.
    pub(crate) async fn connections(&self, look: SecretVisibility) -> Result<Vec<(Connection, &'static str)>, Failure> {
        if let Some(api) = self.remote()? {
            let all = api.list_kept(nouns::CONNECTION).await?;
            return all.iter().map(|one| Ok((connection_of(one)?, DATABASE))).collect();
        }
        let config = self.config()?;
        let mut session = Session::open(&config).await?;
        let sources = sources_of_server(&config)?;
        let kept: Vec<Connection> = if look == SecretVisibility::Open {
            open_all::<nouns::Connection, _>(&mut session, &config, open, "show", None).await?
        } else {
            let rows = kept::list(&mut session.db, &kept::CONNECTION, None, MOST_KEPT).await?;
            rows.iter().map(closed).collect()
        };
        let mut defaults = sources.defaults.of(&sources.installation(&session.url)).await.unwrap_or_else(|problem| {
            eprintln!("warning: default connections are not listed: {problem}");
            Vec::new()
        });
        defaults.retain(|one| kept.iter().all(|other| other.id != one.id));
        defaults.sort_by(|one, other| one.id.cmp(&other.id));
        let defaults = defaults.into_iter().map(|one| (one, DEFAULTS));
        Ok(kept.into_iter().map(|one| (one, DATABASE)).chain(defaults).collect())
    }

    /// All of them by key. A value that may not be seen is `***`.
    pub(crate) async fn variables(&self, look: SecretVisibility) -> Result<Vec<(String, WrittenVariable)>, Failure> {
        if look == SecretVisibility::Open && self.remote()?.is_none() {
            let config = self.config()?;
            let mut session = Session::open(&config).await?;
            return open_all::<nouns::Variable, _>(&mut session, &config, opened_variable, "show", None).await;
        }
        let text = |one: &ApiObject, field: &str| one.get(field).and_then(Value::as_str).map(String::from);
        let read = |one: &ApiObject| {
            let value = text(one, "value").filter(|_| look == SecretVisibility::Open);
            let value = value.unwrap_or_else(|| MASK.into());
            let description = text(one, "description");
            (text(one, "key").unwrap_or_default(), WrittenVariable { value, description })
        };
        Ok(self.api().await?.list_kept(nouns::VARIABLE).await?.iter().map(read).collect())
    }
}

/// Reads all rows of a noun with their secrets, and writes that into the audit log before they are given out. `verb` is `show` or
/// `export`; an export has a `file`.
pub(crate) async fn open_all<K: Kept, T>(
    session: &mut Session,
    config: &Config,
    open: fn(&Record, &Keyring) -> Result<T, SecretError>,
    verb: &str,
    file: Option<&Path>,
) -> Result<Vec<T>, Failure> {
    let keys = keyring(config)?;
    let rows = kept::list(&mut session.db, K::TABLE, None, MOST_KEPT).await?;
    let all = rows.iter().map(|row| open(row, &keys)).collect::<Result<Vec<_>, _>>()?;
    let (event, mut extra) = (format!("{verb}_{}", K::NOUN.many), json!({ "count": all.len() }));
    if let Some(file) = file {
        extra["file"] = file.display().to_string().into();
    }
    session.did(&Deed { event: &event, extra: Some(extra), ..Deed::default() }).await?;
    Ok(all)
}

pub(crate) fn opened_variable(row: &Record, keys: &Keyring) -> Result<(String, WrittenVariable), SecretError> {
    let value = row.open("value", keys)?.unwrap_or_default();
    Ok((row.name().into(), WrittenVariable { value, description: row.text("description").map(String::from) }))
}
