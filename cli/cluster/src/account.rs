//! Selects the user of the server. Postgres refuses to run as root, so root changes the owner of the database folder to
//! `postgres` or, if that user does not exist, to `nobody`. Any other user runs the server under their own account.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use nix::unistd::{Uid, User, geteuid};

use crate::error::ClusterError;

/// Candidates in order of preference when root creates a new cluster.
const SERVER_ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Account {
    /// The user of this process.
    Own,
    /// Another user, because this process runs as root.
    Other { name: String, uid: u32, gid: u32 },
}

impl Account {
    /// Returns the owner of an existing database, or the account for a new one.
    pub(crate) fn choose(data_dir: &Path, database: &Path) -> Result<Self, ClusterError> {
        let own = geteuid();
        let owner = database.metadata().ok().map(|metadata| Uid::from_raw(metadata.uid()));
        match owner {
            Some(owner) if owner == own && !own.is_root() => Ok(Self::Own),
            Some(owner) if !own.is_root() => {
                Err(ClusterError::OtherOwner { data_dir: data_dir.to_owned(), uid: owner.as_raw() })
            }
            Some(owner) if !owner.is_root() => match User::from_uid(owner) {
                Ok(Some(user)) => Ok(Self::other(user)),
                _ => Err(ClusterError::OtherOwner { data_dir: data_dir.to_owned(), uid: owner.as_raw() }),
            },
            _ if !own.is_root() => Ok(Self::Own),
            _ => SERVER_ACCOUNTS
                .iter()
                .find_map(|name| User::from_name(name).ok().flatten())
                .map(Self::other)
                .ok_or(ClusterError::NoAccount),
        }
    }

    fn other(user: User) -> Self {
        Self::Other { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }
    }

    /// Changes the owner of a file or folder to the account.
    pub(crate) fn take(&self, path: &Path) -> Result<(), ClusterError> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid, .. } => std::os::unix::fs::chown(path, Some(*uid), Some(*gid))
                .map_err(ClusterError::io("change the owner of", path)),
        }
    }

    /// Configures a command to run under the account.
    pub(crate) fn apply(&self, command: &mut Command) {
        if let Self::Other { uid, gid, .. } = self {
            command.uid(*uid).gid(*gid);
        }
    }
}
