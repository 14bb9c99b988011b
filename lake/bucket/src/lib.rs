//! Buckets: a folder of this machine, or a place in a bucket of an S3 protocol server, by one interface.
//!
//! An object is there whole or not at all: folders get theirs by rename, servers by their protocol. Keys are relative,
//! with `/` between their parts; what would lead out of the bucket is refused. All reads and uploads are bounded in
//! memory.

mod address;
mod archive;
mod client;
mod create;
mod error;
mod read;
mod upload;

pub use address::{Buckets, Options};
pub use archive::{ARCHIVE, archives};
pub use error::Error;
pub use upload::Upload;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use orch_sdk::pattern::fits;
use std::ops::Range;
use std::sync::Arc;

pub type Result<T> = std::result::Result<T, Error>;

/// A place for objects. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Without a slash at its end.
    url: Arc<str>,
    /// What the store calls this place; keys are below it.
    root: Path,
    store: Arc<dyn ObjectStore>,
    maker: create::Maker,
}

/// An object of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub bytes: u64,
    pub modified: DateTime<Utc>,
    /// Another one when the object was written again, where the store has such a thing.
    pub e_tag: Option<String>,
}

impl Bucket {
    /// `file:///data/buckets/raw` or `s3://raw/prefix`. Nothing is asked yet: see [`Bucket::ensure`].
    ///
    /// # Errors
    /// The URL is neither, or no store can be made of the options.
    pub fn open(url: &str, options: &Options) -> Result<Bucket> {
        address::open(url, options)
    }

    /// Makes the folder, or the bucket on the server, if it is not there.
    ///
    /// # Errors
    /// It is not there and cannot be made.
    pub async fn ensure(&self) -> Result<()> {
        create::ensure(self).await
    }

    /// Where it is, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where an object is: names it everywhere.
    pub fn location(&self, key: &str) -> String {
        format!("{}/{}", self.url, key.trim_start_matches('/'))
    }

    /// The key of what is at a location. `None`: that is not in this bucket.
    pub fn key_of<'l>(&self, location: &'l str) -> Option<&'l str> {
        location.strip_prefix(&*self.url)?.strip_prefix('/')
    }

    /// Writes an object, in the place of the one that is there.
    ///
    /// # Errors
    /// It cannot be written; then nothing has changed.
    pub async fn put(&self, key: &str, content: impl Into<Bytes>) -> Result<()> {
        self.put_how(key, content.into(), PutMode::Overwrite).await
    }

    /// Writes an object if none is there. `false`: there is one, and it stays.
    ///
    /// # Errors
    /// It cannot be written, or the server knows no conditions.
    pub async fn put_if_absent(&self, key: &str, content: impl Into<Bytes>) -> Result<bool> {
        match self.put_how(key, content.into(), PutMode::Create).await {
            Ok(()) => Ok(true),
            Err(Error::Exists { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn put_how(&self, key: &str, content: Bytes, mode: PutMode) -> Result<()> {
        let options = PutOptions { mode, ..PutOptions::default() };
        let written = self.store.put_opts(&self.path(key)?, PutPayload::from(content), options).await;
        written.map(drop).map_err(|source| Error::of("write", self.location(key), source))
    }

    /// All of an object.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub async fn get(&self, key: &str) -> Result<Bytes> {
        let wrong = |source| Error::of("read", self.location(key), source);
        self.store.get(&self.path(key)?).await.map_err(wrong)?.bytes().await.map_err(wrong)
    }

    /// A part of an object.
    ///
    /// # Errors
    /// It is not there, is shorter, or cannot be read.
    pub async fn range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let part = self.store.get_range(&self.path(key)?, range).await;
        part.map_err(|source| Error::of("read", self.location(key), source))
    }

    /// Reads several parts of an object. Parts on a server that are close to each other are one request.
    ///
    /// # Errors
    /// The object does not exist, is shorter, or cannot be read.
    pub async fn ranges(&self, key: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let parts = self.store.get_ranges(&self.path(key)?, ranges).await;
        parts.map_err(|source| Error::of("read", self.location(key), source))
    }

    /// An object in pieces of at most a megabyte, from some byte on.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub async fn read_from(&self, key: &str, first: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        read::pieces(self, key, first).await
    }

    /// An object in pieces of at most a megabyte.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub async fn read(&self, key: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.read_from(key, 0).await
    }

    /// What is known about an object; `None` when there is none.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn find(&self, key: &str) -> Result<Option<Entry>> {
        match self.store.head(&self.path(key)?).await {
            Ok(meta) => Ok(self.entry(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(Error::of("look at", self.location(key), source)),
        }
    }

    /// Objects whose keys begin with whole parts (`2025/01`, not `2025/0`), or all with `""`. In no order.
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<Entry>> {
        let path = match self.path(prefix) {
            Ok(path) => path,
            Err(error) => return futures::stream::once(async { Err(error) }).boxed(),
        };
        let (bucket, location) = (self.clone(), self.location(prefix));
        let found = self.store.list(Some(&path)).map_err(move |e| Error::of("list", location.clone(), e));
        found.try_filter_map(move |meta| std::future::ready(Ok(bucket.entry(meta)))).boxed()
    }

    /// The same in order of their keys.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn list_all(&self, prefix: &str) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = self.list(prefix).try_collect().await?;
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(entries)
    }

    /// Objects whose keys fit a pattern, in order: `*` and `?` stand for letters of one part of a key.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn fitting(&self, pattern: &str) -> Result<Vec<Entry>> {
        let parts: Vec<&str> = pattern.trim_matches('/').split('/').collect();
        let plain = parts.iter().take_while(|part| !part.contains(['*', '?'])).count();
        if plain == parts.len() {
            return Ok(self.find(pattern).await?.into_iter().collect());
        }
        let mut found = self.list_all(&parts[..plain].join("/")).await?;
        found.retain(|entry| {
            let key: Vec<&str> = entry.key.split('/').collect();
            key.len() == parts.len() && parts.iter().zip(&key).all(|(part, name)| fits(part, name))
        });
        Ok(found)
    }

    /// Removes an object; one that is not there is fine.
    ///
    /// # Errors
    /// It is there and cannot be removed.
    pub async fn delete(&self, key: &str) -> Result<()> {
        match self.store.delete(&self.path(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(Error::of("delete", self.location(key), source)),
        }
    }

    /// Removes everything below a prefix of whole parts, and says how many objects that were. In a bucket that is a folder, the folders
    /// of the prefix go as well.
    ///
    /// # Errors
    /// The first that cannot be removed; others may be gone by then.
    pub async fn delete_all(&self, prefix: &str) -> Result<u64> {
        let location = self.location(prefix);
        let paths = self.store.list(Some(&self.path(prefix)?)).map_ok(|meta| meta.location).boxed();
        let deleted = self.store.delete_stream(paths);
        let deleted = deleted.try_fold(0, |count, _| std::future::ready(Ok(count + 1)));
        let count = deleted.await.map_err(|source| Error::of("delete", location, source))?;
        if !prefix.is_empty() {
            create::remove_folders(self, prefix).await;
        }
        Ok(count)
    }

    /// Copies an object within the bucket; servers do it themselves.
    ///
    /// # Errors
    /// It is not there, or cannot be copied.
    pub async fn copy(&self, from: &str, to: &str) -> Result<()> {
        let copied = self.store.copy(&self.path(from)?, &self.path(to)?).await;
        copied.map_err(|source| Error::of("copy", self.location(from), source))
    }

    /// An object that is written piece by piece and is there when [`Upload::finish`] has returned.
    ///
    /// # Errors
    /// The key would lead out of the bucket. Nothing is sent yet.
    pub fn upload(&self, key: &str) -> Result<Upload> {
        self.path(key)?;
        Ok(Upload::new(self.clone(), key.to_owned()))
    }

    /// Writes an object from pieces, and says how many bytes it has. When a piece is an error nothing is written.
    ///
    /// # Errors
    /// That of a piece, or of the store.
    pub async fn put_stream<E>(
        &self,
        key: &str,
        mut pieces: impl futures::Stream<Item = std::result::Result<Bytes, E>> + Send + Unpin,
    ) -> std::result::Result<u64, E>
    where
        E: From<Error> + Send,
    {
        let mut upload = self.upload(key)?;
        loop {
            match pieces.next().await {
                None => return Ok(upload.finish().await?),
                Some(Ok(piece)) => upload.write(piece).await?,
                Some(Err(error)) => {
                    upload.abort().await;
                    return Err(error);
                }
            }
        }
    }

    fn path(&self, key: &str) -> Result<Path> {
        let whole = match (self.root.as_ref(), key.trim_matches('/')) {
            (root, "") => root.to_string(),
            ("", key) => key.to_string(),
            (root, key) => format!("{root}/{key}"),
        };
        Path::parse(whole).map_err(|_| Error::BadKey { key: key.into(), bucket: self.url.to_string() })
    }

    /// `None` for what stands beside this place, not in it.
    fn entry(&self, meta: ObjectMeta) -> Option<Entry> {
        let key = meta.location.as_ref().strip_prefix(self.root.as_ref())?;
        let key = key.strip_prefix('/').unwrap_or(key).to_string();
        Some(Entry { key, bytes: meta.size, modified: meta.last_modified, e_tag: meta.e_tag })
    }
}
