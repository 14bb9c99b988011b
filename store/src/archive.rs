//! Where old logs and old rows go when the database no longer keeps them: objects under keys, in a folder or in what a
//! binary brings. The engine knows folders only; buckets belong to the room that knows their protocol.

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

/// Why an archive did not do what it was asked. The text may go on in a line `hint: …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ArchiveError(pub String);

pub type ArchiveResult<T> = Result<T, ArchiveError>;

/// A place for objects. One is there whole or not at all, and stays when `put` has returned. Keys are relative, with `/`
/// between their parts.
pub trait Archive: Send + Sync {
    /// For people, without secrets.
    fn place(&self) -> String;

    /// Writes an object, in the place of the one that is there.
    fn put(&self, key: String, content: Vec<u8>) -> BoxFuture<ArchiveResult<()>>;

    fn get(&self, key: String) -> BoxFuture<ArchiveResult<Vec<u8>>>;

    /// Keys of what is in a folder, in order; none when there is no such folder.
    fn list(&self, folder: String) -> BoxFuture<ArchiveResult<Vec<String>>>;
}

type OpenBy = dyn Fn(String, Arc<FindConnection>) -> BoxFuture<ArchiveResult<Arc<dyn Archive>>> + Send + Sync;

/// How a binary opens archives that are no folders: by their URL, and by connections that whoever runs it looks up.
#[derive(Clone, Default)]
pub struct ArchiveSource(Option<Arc<OpenBy>>);

impl ArchiveSource {
    pub fn new(
        open: impl Fn(String, Arc<FindConnection>) -> BoxFuture<ArchiveResult<Arc<dyn Archive>>> + Send + Sync + 'static,
    ) -> Self {
        ArchiveSource(Some(Arc::new(open)))
    }
}

/// The way of a process to its archive, if it has one. Opened each time it is needed, which is not often.
#[derive(Clone, Default)]
pub struct ArchiveDoor(Option<Way>);

#[derive(Clone)]
enum Way {
    Folder(PathBuf),
    Brought { url: String, open: Arc<OpenBy>, find: Arc<FindConnection> },
}

impl ArchiveDoor {
    /// To a folder of this machine, or one that all machines see.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        ArchiveDoor(Some(Way::Folder(path.into())))
    }

    /// By what somebody set: `/folder`, `file:///folder`, or a URL that the binary understands.
    ///
    /// # Errors
    /// It is a URL, and the binary brings nothing that could open it.
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

    /// `None`: nobody named one.
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
