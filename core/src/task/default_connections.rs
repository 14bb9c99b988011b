//! Connections that a binary brings itself, so that its DAGs run where nobody has set anything up. They are looked for
//! last: a file, a vault, the environment and the database have their say before.

use super::Connection;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a binary works: what its default connections may lead to.
#[derive(Clone, PartialEq, Eq)]
pub struct Installation {
    /// The folder of `orch standalone`. Workers on several machines each have their own.
    pub data_dir: PathBuf,
    /// Of the metadata, as tasks may use it; it may have a password in it.
    pub database_url: String,
}

type Make = dyn Fn(&Installation) -> Vec<Connection> + Send + Sync;

/// How they are made; nothing of most binaries.
#[derive(Clone, Default)]
pub struct DefaultConnections(Option<Arc<Make>>);

impl DefaultConnections {
    pub fn new(make: impl Fn(&Installation) -> Vec<Connection> + Send + Sync + 'static) -> Self {
        DefaultConnections(Some(Arc::new(make)))
    }

    pub fn of(&self, installation: &Installation) -> Vec<Connection> {
        self.0.as_ref().map(|make| make(installation)).unwrap_or_default()
    }
}

impl fmt::Debug for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installation").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

impl fmt::Debug for DefaultConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "DefaultConnections" } else { "no DefaultConnections" })
    }
}
