//! Archives of old logs and rows that the database no longer keeps. An archive stores objects under keys, in a folder
//! or in a store that the binary provides. This crate implements only folders; buckets are in the crate of their
//! protocol.

mod export;
mod folder;
mod pack;

pub use export::{Exported, export};
pub use folder::Folder;
pub(crate) use pack::{Pack, PackLine, holds, unpack};

use crate::lake_view::FindConnection;
use orch_sdk::task::BoxFuture;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Error of an archive. The message may continue with a line `hint: …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ArchiveError(pub String);

pub type ArchiveResult<T> = Result<T, ArchiveError>;

/// A store of objects. An object is either complete or does not exist, and it is durable once `put` has returned. Keys
/// are relative, with `/` between their parts.
pub trait Archive: Send + Sync {
    /// Returns the location of the archive without secrets, for messages.
    fn place(&self) -> String;

    /// Writes an object. An existing object is replaced.
    fn put(&self, key: String, content: Vec<u8>) -> BoxFuture<ArchiveResult<()>>;

    fn get(&self, key: String) -> BoxFuture<ArchiveResult<Vec<u8>>>;

    /// Returns the sorted keys of the objects in a folder. The list is empty if the folder does not exist.
    fn list(&self, folder: String) -> BoxFuture<ArchiveResult<Vec<String>>>;
}

type OpenBy = dyn Fn(String, Arc<FindConnection>) -> BoxFuture<ArchiveResult<Arc<dyn Archive>>> + Send + Sync;

/// Opens archives that are not folders by their URL. It uses connections that the running process looks up.
#[derive(Clone, Default)]
pub struct ArchiveSource(Option<Arc<OpenBy>>);

impl ArchiveSource {
    pub fn new(
        open: impl Fn(String, Arc<FindConnection>) -> BoxFuture<ArchiveResult<Arc<dyn Archive>>> + Send + Sync + 'static,
    ) -> Self {
        ArchiveSource(Some(Arc::new(open)))
    }
}

/// A process's access to its archive. Empty if it has none. The archive is opened for each use, because uses are rare.
#[derive(Clone, Default)]
pub struct ArchiveDoor(Option<Way>);

#[derive(Clone)]
enum Way {
    Folder(PathBuf),
    Brought { url: String, open: Arc<OpenBy>, find: Arc<FindConnection> },
}

impl ArchiveDoor {
    /// Uses a folder of this machine, or a folder that all machines share.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        ArchiveDoor(Some(Way::Folder(path.into())))
    }

    /// Parses the setting of an archive: `/folder`, `file:///folder`, or a URL that the binary can open.
    ///
    /// # Errors
    /// Returns an error if the text is a URL and the binary cannot open URLs.
    pub fn to(text: &str, source: &ArchiveSource, find: Arc<FindConnection>) -> ArchiveResult<Self> {
        if let Some(path) = text.strip_prefix("file://") {
            return Ok(ArchiveDoor::folder(path));
        }
        if !text.contains("://") {
            return Ok(ArchiveDoor::folder(text));
        }
        match source.0.clone() {
            Some(open) => Ok(ArchiveDoor(Some(Way::Brought { url: text.into(), open, find }))),
            None => Err(ArchiveError(format!(
                "this binary knows no archive like `{text}`\nhint: name a folder, or give your binary what opens it: \
                 `Binary::archive`; `orch` opens `s3://`"
            ))),
        }
    }

    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Opens the archive. Returns `None` if no archive is configured.
    pub async fn open(&self) -> ArchiveResult<Option<Arc<dyn Archive>>> {
        match &self.0 {
            None => Ok(None),
            Some(Way::Folder(path)) => Ok(Some(Arc::new(Folder::at(path)))),
            Some(Way::Brought { url, open, find }) => open(url.clone(), find.clone()).await.map(Some),
        }
    }
}

impl fmt::Debug for ArchiveSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "ArchiveSource" } else { "no ArchiveSource" })
    }
}

impl fmt::Debug for ArchiveDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("ArchiveDoor(none)"),
            Some(Way::Folder(path)) => write!(f, "ArchiveDoor({})", path.display()),
            Some(Way::Brought { url, .. }) => write!(f, "ArchiveDoor({url})"),
        }
    }
}
