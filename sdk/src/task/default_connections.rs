//! Connections that a binary provides, so that its DAGs run without any setup. They have the lowest precedence: a file,
//! a vault, the environment and the database are searched first.

use super::{BoxFuture, Connection};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::future::ready;
use std::path::PathBuf;
use std::sync::Arc;

/// Facts about the installation that default connections can lead to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// The folder of `orch standalone`. Workers on different machines each have their own.
    pub data_dir: PathBuf,
    /// The URL of the metadata database for tasks. It may contain a password.
    pub database_url: String,
    /// The role that may capture changes of databases on this server, if it is not the role of the URL. It has the same
    /// password.
    #[serde(default)]
    pub capture_role: Option<String>,
}

/// The connections, or the reason why they could not be requested.
type ConnectionsResult = Result<Vec<Connection>, String>;
type Ask = dyn Fn(Installation) -> BoxFuture<ConnectionsResult> + Send + Sync;

/// Provider of default connections. Most binaries have none.
#[derive(Clone, Default)]
pub struct DefaultConnections(Option<Arc<Ask>>);

impl DefaultConnections {
    /// Creates a provider that builds the connections in this binary.
    pub fn new(make: impl Fn(&Installation) -> Vec<Connection> + Send + Sync + 'static) -> Self {
        DefaultConnections::asked(move |here| Box::pin(ready(Ok(make(&here)))))
    }

    /// Creates a provider that requests the connections from another binary.
    pub fn asked(ask: impl Fn(Installation) -> BoxFuture<ConnectionsResult> + Send + Sync + 'static) -> Self {
        DefaultConnections(Some(Arc::new(ask)))
    }

    /// Adds the connections of another provider that have different ids. An error of `other` is ignored, so that it
    /// cannot hide the connections of `self`.
    #[must_use]
    pub fn and(self, other: DefaultConnections) -> Self {
        if self.is_empty() {
            return other;
        }
        DefaultConnections::asked(move |here| {
            let (own, other) = (self.clone(), other.clone());
            Box::pin(async move {
                let mut all = own.of(&here).await?;
                let mut others = other.of(&here).await.unwrap_or_default();
                others.retain(|one| all.iter().all(|own| own.id != one.id));
                all.extend(others);
                Ok(all)
            })
        })
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the connections. Fails if the binary that provides them does not respond.
    pub async fn of(&self, installation: &Installation) -> ConnectionsResult {
        match &self.0 {
            Some(ask) => ask(installation.clone()).await,
            None => Ok(Vec::new()),
        }
    }
}

impl fmt::Debug for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installation").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

impl fmt::Debug for DefaultConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "no DefaultConnections" } else { "DefaultConnections" })
    }
}
