//! Connections and variables with their secrets, which no API gives: by commands that have the database and its keys.

use crate::api::{ApiObject, connection_of};
use crate::cx::Cx;
use orch_binary::failure::Failure;
use orch_binary::secrets::{keyring, sources_of_server};
use orch_binary::session::Session;
use orch_deeds::kept as nouns;
use orch_sdk::task::Connection;
use orch_store::audit::Deed;
use orch_store::connection::{closed, open};
use orch_store::kept::{self, MOST_KEPT};
use orch_store::seal::SecretError;
use orch_workers::Secrets;
use serde_json::{Value, json};

/// Key, value if it may be seen, description.
pub(crate) type VariableSeen = (String, Option<String>, Option<String>);

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
    /// name. A server that is asked over HTTP does not tell its default connections.
    pub(crate) async fn connections(
        &self,
        look: SecretVisibility,
    ) -> Result<(Vec<Connection>, Vec<Connection>), Failure> {
        if let Some(api) = self.remote()? {
            let all = api.list_kept(nouns::CONNECTION).await?;
            return Ok((all.iter().map(connection_of).collect::<Result<_, _>>()?, Vec::new()));
        }
        let config = self.config()?;
        let mut session = Session::open(&config).await?;
        let (keys, sources) = (keyring(&config)?, sources_of_server(&config)?);
        let rows = kept::list(&mut session.db, &kept::CONNECTION, None, MOST_KEPT).await?;
        let seen =
            rows.iter().map(|row| if look == SecretVisibility::Open { open(row, &keys) } else { Ok(closed(row)) });
        let kept = seen.collect::<Result<Vec<_>, SecretError>>()?;
        if look == SecretVisibility::Open {
            shows(&mut session, "show_connections", kept.len()).await?;
        }
        let mut defaults = sources.defaults.of(&sources.installation(&session.url)).await.unwrap_or_else(|problem| {
            eprintln!("warning: default connections are not listed: {problem}");
            Vec::new()
        });
        defaults.retain(|one| kept.iter().all(|other| other.id != one.id));
        defaults.sort_by(|one, other| one.id.cmp(&other.id));
        Ok((kept, defaults))
    }

    /// All of them by key.
    pub(crate) async fn variables(&self, look: SecretVisibility) -> Result<Vec<VariableSeen>, Failure> {
        if look == SecretVisibility::Closed || self.remote()?.is_some() {
            let seen = self.api().await?.list_kept(nouns::VARIABLE).await?;
            let text = |one: &ApiObject, field: &str| one.get(field).and_then(Value::as_str).map(String::from);
            let read = |one| (text(&one, "key").unwrap_or_default(), text(&one, "value"), text(&one, "description"));
            return Ok(seen.into_iter().map(read).collect());
        }
        let config = self.config()?;
        let (keys, mut session) = (keyring(&config)?, Session::open(&config).await?);
        let rows = kept::list(&mut session.db, &kept::VARIABLE, None, MOST_KEPT).await?;
        let seen = rows.iter().map(|row| {
            Ok((row.name().to_string(), row.open("value", &keys)?, row.text("description").map(String::from)))
        });
        let seen = seen.collect::<Result<Vec<_>, SecretError>>()?;
        shows(&mut session, "show_variables", seen.len()).await?;
        Ok(seen)
    }
}

/// Writes down that all secrets of a kind are shown at a terminal, before they are.
async fn shows(session: &mut Session, event: &str, count: usize) -> Result<(), Failure> {
    session.did(&Deed { event, extra: Some(json!({ "count": count })), ..Deed::default() }).await
}
