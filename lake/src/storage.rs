//! Storage of table files: local folders, or S3 buckets through the same client as all other objects. A local file is
//! synced to disk when its writer is closed, so that the catalog never refers to a file that a power failure could
//! lose.

mod lent;
mod location;

pub use self::location::{Locations, plain_location};
pub(crate) use self::location::{folder_of_metadata, spellings};

use self::lent::{Lent, LentBucket};
use crate::bucket::{self, Bucket, Upload};
use crate::catalog::LentKeys;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use iceberg::io::{
    FileMetadata, FileRead, FileWrite, InputFile, LocalFsStorage, OutputFile, Storage, StorageConfig, StorageFactory,
};
use iceberg::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Creates the storage of a lake. Its serialized form contains no credentials.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Storages {
    #[serde(skip)]
    options: bucket::Options,
    #[serde(skip)]
    lent: Lent,
}

impl Storages {
    pub(crate) fn new(options: bucket::Options) -> Self {
        Self { options, lent: Lent::default() }
    }

    pub(crate) fn options(&self) -> &bucket::Options {
        &self.options
    }

    pub(crate) fn options_at(&self, location: &str) -> bucket::Options {
        self.lent.at(location).map_or_else(|| self.options.clone(), |lent| lent.keys.options)
    }

    /// Sets credentials for files below a location prefix, which are used instead of the lake's own. If they lack an
    /// endpoint or a region, the lake's is used.
    ///
    /// # Errors
    /// Returns an error if the prefix is not in a bucket.
    pub(crate) fn lend(&self, mut keys: LentKeys) -> bucket::Result<()> {
        keys.options.endpoint = keys.options.endpoint.or_else(|| self.options.endpoint.clone());
        keys.options.region = keys.options.region.or_else(|| self.options.region.clone());
        self.lent.lend(keys)
    }
}

#[typetag::serde(name = "orch_storages")]
impl StorageFactory for Storages {
    fn build(&self, _: &StorageConfig) -> Result<Arc<dyn Storage>> {
        let (options, lent) = (self.options.clone(), self.lent.clone());
        let storage = LakeStorage { options, lent, ..LakeStorage::default() };
        Ok(Arc::new(storage))
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct LakeStorage {
    #[serde(skip)]
    options: bucket::Options,
    #[serde(skip)]
    lent: Lent,
    #[serde(skip)]
    folders: LocalFsStorage,
    /// Open buckets by bucket name.
    #[serde(skip)]
    buckets: Arc<Mutex<HashMap<String, Bucket>>>,
}

enum FileLocation<'a> {
    Folder(&'a LocalFsStorage),
    Bucket { bucket: Bucket, key: &'a str },
}

impl LakeStorage {
    fn place<'a>(&'a self, path: &'a str) -> Result<FileLocation<'a>> {
        let Some((scheme, rest)) = path.split_once("://") else { return Ok(FileLocation::Folder(&self.folders)) };
        if scheme == "file" {
            return Ok(FileLocation::Folder(&self.folders));
        }
        let ("s3" | "s3a" | "s3n", Some((name, key))) = (scheme, rest.split_once('/')) else {
            let what = format!("`{path}` is no file that can be reached: it must be `file://…` or `s3://bucket/…`");
            return Err(Error::new(ErrorKind::FeatureUnsupported, what));
        };
        if let Some(LentBucket { bucket, .. }) = self.lent.at(path) {
            return Ok(FileLocation::Bucket { bucket, key });
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = match buckets.get(name) {
            Some(bucket) => bucket.clone(),
            None => {
                let bucket = Bucket::open(&format!("s3://{name}"), &self.options).map_err(failed)?;
                buckets.insert(name.to_owned(), bucket.clone());
                bucket
            }
        };
        Ok(FileLocation::Bucket { bucket, key })
    }
}

fn failed(error: bucket::Error) -> Error {
    let kind = match error {
        bucket::Error::NotFound { .. } => ErrorKind::DataInvalid,
        _ => ErrorKind::Unexpected,
    };
    Error::new(kind, error.to_string()).with_retryable(!error.is_fatal()).with_source(error)
}

#[async_trait]
#[typetag::serde(name = "orch_storage")]
impl Storage for LakeStorage {
    async fn exists(&self, path: &str) -> Result<bool> {
        match self.place(path)? {
            FileLocation::Folder(folder) => folder.exists(path).await,
            FileLocation::Bucket { bucket, key } => Ok(bucket.find(key).await.map_err(failed)?.is_some()),
        }
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        match self.place(path)? {
            FileLocation::Folder(folder) => folder.metadata(path).await,
            FileLocation::Bucket { bucket, key } => match bucket.find(key).await.map_err(failed)? {
                Some(entry) => Ok(FileMetadata { size: entry.bytes }),
                None => Err(failed(bucket::Error::NotFound { location: path.to_owned() })),
            },
        }
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        match self.place(path)? {
            FileLocation::Folder(folder) => folder.read(path).await,
            FileLocation::Bucket { bucket, key } => bucket.get(key).await.map_err(failed),
        }
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        match self.place(path)? {
            FileLocation::Folder(folder) => folder.reader(path).await,
            FileLocation::Bucket { bucket, key } => Ok(Box::new(ObjectRead { bucket, key: key.to_owned() })),
        }
    }

    async fn write(&self, path: &str, content: Bytes) -> Result<()> {
        match self.place(path)? {
            FileLocation::Folder(folder) => {
                let mut file = folder.writer(path).await?;
                file.write(content).await?;
                file.close().await
            }
            FileLocation::Bucket { bucket, key } => bucket.put(key, content).await.map_err(failed),
        }
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        match self.place(path)? {
            FileLocation::Folder(folder) => folder.writer(path).await,
            FileLocation::Bucket { bucket, key } => {
                let upload = bucket.upload(key).map_err(failed)?;
                Ok(Box::new(ObjectWrite { upload: Some(upload) }))
            }
        }
    }

    async fn delete(&self, path: &str) -> Result<()> {
        match self.place(path)? {
            FileLocation::Folder(folder) => folder.delete(path).await,
            FileLocation::Bucket { bucket, key } => bucket.delete(key).await.map_err(failed),
        }
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        match self.place(path)? {
            FileLocation::Folder(folder) => folder.delete_prefix(path).await,
            FileLocation::Bucket { bucket, key } => bucket.delete_all(key).await.map(drop).map_err(failed),
        }
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> Result<()> {
        while let Some(path) = paths.next().await {
            self.delete(&path).await?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

struct ObjectRead {
    bucket: Bucket,
    key: String,
}

#[async_trait]
impl FileRead for ObjectRead {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.bucket.range(&self.key, range).await.map_err(failed)
    }
}

struct ObjectWrite {
    upload: Option<Upload>,
}

#[async_trait]
impl FileWrite for ObjectWrite {
    async fn write(&mut self, content: Bytes) -> Result<()> {
        match &mut self.upload {
            Some(upload) => upload.write(content).await.map_err(failed),
            None => Err(closed()),
        }
    }

    async fn close(&mut self) -> Result<()> {
        match self.upload.take() {
            Some(upload) => upload.finish().await.map(drop).map_err(failed),
            None => Err(closed()),
        }
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Unexpected, "the file is closed already")
}

impl fmt::Debug for Storages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Storages")
    }
}

impl fmt::Debug for LakeStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LakeStorage")
    }
}
