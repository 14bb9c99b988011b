//! Connections and variables with their secrets, which no API gives: by commands that have the database and its keys.

use crate::app::Cx;
use orch_binary::failure::Failure;
use orch_binary::secrets::{keyring, sources_of_server};
use orch_binary::session::Session;
use orch_core::task::Connection;
use orch_store::connection::{MOST_CONNECTIONS, list_connections};
use orch_store::seal::SecretError;
use orch_store::variable::{MOST_VARIABLES, list_variables};
use orch_workers::Secrets;

/// Key, value if it may be seen, description.
pub(crate) type VariableSeen = (String, Option<String>, Option<String>);

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
        let secrets = Secrets::new(&sources, None).map_err(|error| Failure::told(&error))?;
        Ok((secrets, session))
    }

    /// The connections of the database, and the default connections of the binary that the database has no entry for; each by
    /// name. A server that is asked over HTTP does not tell its default connections.
    pub(crate) async fn connections(&self, look: Look) -> Result<(Vec<Connection>, Vec<Connection>), Failure> {
        if let Some(api) = self.remote()? {
            return Ok((api.connections().await?, Vec::new()));
        }
        let config = self.config()?;
        let mut session = Session::open(&config).await?;
        let (keys, sources) = (keyring(&config)?, sources_of_server(&config)?);
        let rows = list_connections(&mut session.db, None, MOST_CONNECTIONS).await?;
        let seen = rows.iter().map(|row| if look == Look::Open { row.open(&keys) } else { Ok(row.closed()) });
        let kept = seen.collect::<Result<Vec<_>, SecretError>>()?;
        let mut defaults = sources.defaults.of(&sources.installation(&session.url)).await.unwrap_or_else(|problem| {
            eprintln!("warning: default connections are not listed: {problem}");
            Vec::new()
        });
        defaults.retain(|one| kept.iter().all(|other| other.id != one.id));
        defaults.sort_by(|one, other| one.id.cmp(&other.id));
        Ok((kept, defaults))
    }

    /// All of them by key.
    pub(crate) async fn variables(&self, look: Look) -> Result<Vec<VariableSeen>, Failure> {
        if look == Look::Closed || self.remote()?.is_some() {
            return self.api().await?.variables().await;
        }
        let config = self.config()?;
        let (keys, mut session) = (keyring(&config)?, Session::open(&config).await?);
        let rows = list_variables(&mut session.db, None, MOST_VARIABLES).await?;
        let seen = rows.into_iter().map(|row| Ok((row.open(&keys).map(Some)?, row)));
        let seen = seen.map(|seen| seen.map(|(value, row)| (row.key, value, row.description)));
        Ok(seen.collect::<Result<_, SecretError>>()?)
    }
}
