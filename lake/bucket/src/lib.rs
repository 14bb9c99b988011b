//! Object storage: local folders and buckets of S3 servers behind one interface.
//!
//! Writes are atomic: a local folder uses rename, and the S3 protocol guarantees it. Keys are relative paths whose
//! segments are separated by `/`; keys that lead out of the bucket are rejected. Reads and uploads use bounded
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

/// A bucket, or a prefix in one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bucket {
    url: Arc<str>,
    /// Path of this bucket in the object store. All keys are relative to it.
    root: Path,
    store: Arc<dyn ObjectStore>,
    maker: create::Maker,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub bytes: u64,
    pub modified: DateTime<Utc>,
    /// Changes each time the object is overwritten. `None` if the object store sends no `ETag` header.
    pub e_tag: Option<String>,
}

impl Bucket {
    /// Opens `file:///data/buckets/raw` or `s3://raw/prefix`. Sends no request and does not create the bucket: see
    /// [`Bucket::ensure`].
    ///
    /// # Errors
    /// Returns an error if the URL has another form or the options are invalid.
    pub fn open(url: &str, options: &Options) -> Result<Bucket> {
        address::open(url, options)
    }

    /// Creates the folder, or the bucket on the server, if it does not exist.
    ///
    /// # Errors
    /// Returns an error if the bucket does not exist and cannot be created.
    pub async fn ensure(&self) -> Result<()> {
        create::ensure(self).await
    }

    /// Returns the URL, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the full URL of an object.
    pub fn location(&self, key: &str) -> String {
        format!("{}/{}", self.url, key.trim_start_matches('/'))
    }

    /// Strips the URL of this bucket from a full object URL and returns the key. Returns `None` if the URL is in
    /// another bucket.
    pub fn key_of<'l>(&self, location: &'l str) -> Option<&'l str> {
        location.strip_prefix(&*self.url)?.strip_prefix('/')
    }

    /// Writes an object, and replaces an existing one.
    ///
    /// # Errors
    /// Returns an error if the object cannot be written. An existing object is unchanged then.
    pub async fn put(&self, key: &str, content: impl Into<Bytes>) -> Result<()> {
        self.put_how(key, content.into(), PutMode::Overwrite).await
    }

    /// Writes an object if none exists at the key. Returns false if one exists; that one is unchanged.
    ///
    /// # Errors
    /// Returns an error if the object cannot be written, or if the server does not support conditional writes.
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

    /// Reads a complete object.
    ///
    /// # Errors
    /// Returns an error if the object does not exist or cannot be read.
    pub async fn get(&self, key: &str) -> Result<Bytes> {
        let wrong = |source| Error::of("read", self.location(key), source);
        self.store.get(&self.path(key)?).await.map_err(wrong)?.bytes().await.map_err(wrong)
    }

    /// Reads a byte range of an object.
    ///
    /// # Errors
    /// Returns an error if the object does not exist, ends before the range, or cannot be read.
    pub async fn range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let part = self.store.get_range(&self.path(key)?, range).await;
        part.map_err(|source| Error::of("read", self.location(key), source))
    }

    /// Reads several byte ranges of an object. On a server, ranges that are close to each other are fetched with a
    /// single request.
    ///
    /// # Errors
    /// Returns an error if the object does not exist, ends before a range, or cannot be read.
    pub async fn ranges(&self, key: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let parts = self.store.get_ranges(&self.path(key)?, ranges).await;
        parts.map_err(|source| Error::of("read", self.location(key), source))
    }

    /// Streams an object from byte offset `first` to its end, in pieces of at most 1 MiB.
    ///
    /// # Errors
    /// Returns an error if the object does not exist or cannot be read.
    pub async fn read_from(&self, key: &str, first: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        read::pieces(self, key, first).await
    }

    /// Streams an object in pieces of at most 1 MiB.
    ///
    /// # Errors
    /// Returns an error if the object does not exist or cannot be read.
    pub async fn read(&self, key: &str) -> Result<BoxStream<'static, Result<Bytes>>> {
        self.read_from(key, 0).await
    }

    /// Returns the metadata of an object. `None` if it does not exist.
    ///
    /// # Errors
    /// Returns an error if the store cannot be queried.
    pub async fn find(&self, key: &str) -> Result<Option<Entry>> {
        match self.store.head(&self.path(key)?).await {
            Ok(meta) => Ok(self.entry(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(Error::of("look at", self.location(key), source)),
        }
    }

    /// Lists the objects below a prefix, in undefined order. A prefix consists of whole path segments (`2025/01`, not
    /// `2025/0`). The prefix `""` lists all objects.
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<Entry>> {
        let path = match self.path(prefix) {
            Ok(path) => path,
            Err(error) => return futures::stream::once(async { Err(error) }).boxed(),
        };
        let (bucket, location) = (self.clone(), self.location(prefix));
        let found = self.store.list(Some(&path)).map_err(move |e| Error::of("list", location.clone(), e));
        found.try_filter_map(move |meta| std::future::ready(Ok(bucket.entry(meta)))).boxed()
    }

    /// Lists the objects below a prefix, sorted by key.
    ///
    /// # Errors
    /// Returns an error if the store cannot be queried.
    pub async fn list_all(&self, prefix: &str) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = self.list(prefix).try_collect().await?;
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(entries)
    }

    /// Lists the objects whose keys match a glob pattern, sorted by key. `*` and `?` match characters within one path
    /// segment of the key.
    ///
    /// # Errors
    /// Returns an error if the object store cannot be queried.
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

    /// Deletes an object. Idempotent: succeeds if it does not exist.
    ///
    /// # Errors
    /// Returns an error if the object exists and cannot be deleted.
    pub async fn delete(&self, key: &str) -> Result<()> {
        match self.store.delete(&self.path(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(Error::of("delete", self.location(key), source)),
        }
    }

    /// Deletes all objects below a prefix and returns the number of deleted objects. A prefix consists of whole path
    /// segments. If the bucket is a local folder, also removes the empty subfolders below the prefix.
    ///
    /// # Errors
    /// Returns the first error. Some objects may already have been deleted by then.
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

    /// Copies an object within the bucket. An S3 server copies it without transferring the content to this process.
    ///
    /// # Errors
    /// Returns an error if the object does not exist or cannot be copied.
    pub async fn copy(&self, from: &str, to: &str) -> Result<()> {
        let copied = self.store.copy(&self.path(from)?, &self.path(to)?).await;
        copied.map_err(|source| Error::of("copy", self.location(from), source))
    }

    /// Starts a streaming upload. The object becomes visible once [`Upload::finish`] has returned. Sends no request
    /// yet.
    ///
    /// # Errors
    /// Returns an error if the key would lead out of the bucket.
    pub fn upload(&self, key: &str) -> Result<Upload> {
        self.path(key)?;
        Ok(Upload::new(self.clone(), key.to_owned()))
    }

    /// Writes an object from a stream of byte chunks, and returns its size in bytes. If the stream returns an error,
    /// no object is written.
    ///
    /// # Errors
    /// Returns the error of the stream or of the object store.
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

    /// Converts object metadata to an entry. Returns `None` for objects outside the prefix of this bucket.
    fn entry(&self, meta: ObjectMeta) -> Option<Entry> {
        let key = meta.location.as_ref().strip_prefix(self.root.as_ref())?;
        let key = key.strip_prefix('/').unwrap_or(key).to_string();
        Some(Entry { key, bytes: meta.size, modified: meta.last_modified, e_tag: meta.e_tag })
    }
}
