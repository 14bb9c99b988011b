//! What can go wrong with the private server, and what the reader can do about it.

use std::path::{Path, PathBuf};

/// Every failure of this crate. The text names the thing; [`ClusterError::hint`] names the next step.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No folder with `postgres` and `initdb` was found.
    #[error(
        "no Postgres server of version {oldest} or newer is installed: neither the PATH nor the usual folders hold `postgres` and `initdb`"
    )]
    NotInstalled { oldest: u32 },

    /// The data folder was made by a version that is not installed (any more).
    #[error("the database in `{}` was made by Postgres {major}, which is not installed", data_dir.display())]
    OtherVersion { data_dir: PathBuf, major: u32 },

    /// A program to work with a server is missing, or older than the server.
    #[error("no `{program}` of Postgres {major} or newer is installed")]
    NoClient { program: &'static str, major: u32 },

    /// Another process owns the data folder.
    #[error("the data folder `{}` is in use by {}", data_dir.display(), holder(*pid))]
    InUse { data_dir: PathBuf, pid: Option<u32> },

    /// Postgres refuses to run as root and there is no account to run it under.
    #[error("Postgres does not run as root, and there is neither a user `postgres` nor a user `nobody` here")]
    NoAccount,

    /// The database files belong to someone else and we are not root.
    #[error("the database in `{}` belongs to another user (uid {uid})", data_dir.display())]
    OtherOwner { data_dir: PathBuf, uid: u32 },

    /// `initdb` or the creation of the database failed.
    #[error("creating a database in `{}` failed: {output}", data_dir.display())]
    Initialize { data_dir: PathBuf, output: String },

    /// The server ended instead of answering.
    #[error("Postgres did not start; the end of `{}` says: {tail}", log.display())]
    Start { log: PathBuf, tail: String },

    /// The server neither ended nor answered.
    #[error("Postgres did not answer within {seconds} s; see `{}`", log.display())]
    Slow { log: PathBuf, seconds: u64 },

    /// A postmaster of this folder ignored every signal.
    #[error("Postgres (pid {pid}) in `{}` does not stop", data_dir.display())]
    Unstoppable { data_dir: PathBuf, pid: u32 },

    /// The operating system refused something.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl ClusterError {
    /// The exact next step, where there is one.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotInstalled { .. } if cfg!(target_os = "macos") => {
                "install it with `brew install postgresql@17`, or name a server with `--database-url`".into()
            }
            Self::NotInstalled { .. } => {
                "install it with `apt-get install postgresql`, or name a server with `--database-url`".into()
            }
            Self::OtherVersion { major, .. } if cfg!(target_os = "macos") => {
                format!("install it with `brew install postgresql@{major}`, or choose another `--data-dir`")
            }
            Self::OtherVersion { major, .. } => {
                format!("install it with `apt-get install postgresql-{major}`, or choose another `--data-dir`")
            }
            Self::NoClient { major, .. } if cfg!(target_os = "macos") => {
                format!("install it with `brew install postgresql@{major}`")
            }
            Self::NoClient { major, .. } => format!("install it with `apt-get install postgresql-client-{major}`"),
            Self::InUse { pid: Some(pid), .. } => {
                format!("use the running instance, stop it with `kill {pid}`, or choose another `--data-dir`")
            }
            Self::InUse { .. } => "use the running instance, or choose another `--data-dir`".into(),
            Self::NoAccount => "start as an ordinary user, or create one with `useradd --system postgres`".into(),
            Self::OtherOwner { .. } => "start as that user or as root, or choose another `--data-dir`".into(),
            Self::Unstoppable { pid, .. } => format!("end it with `kill -QUIT {pid}`"),
            Self::Initialize { .. } | Self::Start { .. } | Self::Slow { .. } | Self::Io { .. } => return None,
        })
    }

    /// Wraps an error of the operating system: `.map_err(ClusterError::io("create", path))`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
