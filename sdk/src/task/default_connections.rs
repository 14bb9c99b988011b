//! Connections that a binary brings itself, so that its DAGs run where nobody has set anything up. They are looked for
//! last: a file, a vault, the environment and the database have their say before.

use super::{BoxFuture, Connection};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::future::ready;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a binary works: what its default connections may lead to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// The folder of `orch standalone`. Workers on several machines each have their own.
    pub data_dir: PathBuf,
    /// The URL of the metadata database as tasks may use it. May contain a password.
    pub database_url: String,
    /// The role that may follow changes of databases on this server, if it is not the role of the URL. Its password is the same.
    #[serde(default)]
    pub capture_role: Option<String>,
}

/// What was found, or why it could not be asked for.
type ConnectionsResult = Result<Vec<Connection>, String>;
type Ask = dyn Fn(Installation) -> BoxFuture<ConnectionsResult> + Send + Sync;

/// How they are found; nothing of most binaries.
#[derive(Clone, Default)]
pub struct DefaultConnections(Option<Arc<Ask>>);

impl DefaultConnections {
    /// They are made by this binary.
    pub fn new(make: impl Fn(&Installation) -> Vec<Connection> + Send + Sync + 'static) -> Self {
        DefaultConnections::asked(move |here| Box::pin(ready(Ok(make(&here)))))
    }

    /// They are asked of another binary.
    pub fn asked(ask: impl Fn(Installation) -> BoxFuture<ConnectionsResult> + Send + Sync + 'static) -> Self {
        DefaultConnections(Some(Arc::new(ask)))
    }

    /// These, and those of another binary that have other names. One that does not answer hides none of these.
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

    /// # Errors
    /// The binary that brings them does not answer.
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
