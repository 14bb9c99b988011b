//! Objects that are written piece by piece. A small one is one request; parts begin when there is enough for the first.

use super::{Bucket, Error, Result};
use bytes::Bytes;
use object_store::{ObjectStoreExt as _, PutPayload, WriteMultipart};

/// The least that S3 takes as a part is 5 MB; with 10,000 parts an object may have 80 GB.
const PART_BYTES: usize = 8 << 20;
/// Parts on their way at once: bounds memory, hides the server's latency.
const PARTS_AT_ONCE: usize = 3;

/// An object on its way. Dropped without `finish` it never comes to be; what a server has of it then is left to the
/// server's rule for uploads that were given up, after `abort` nothing is.
#[derive(Debug)]
pub struct Upload {
    bucket: Bucket,
    key: String,
    /// None after a piece could not be written.
    sent: Option<UploadState>,
    bytes: u64,
}

#[derive(Debug)]
enum UploadState {
    /// Nothing yet: less than a part.
    Nothing(Vec<Bytes>),
    Parts(WriteMultipart),
}

impl Upload {
    pub(super) fn new(bucket: Bucket, key: String) -> Upload {
        Upload { bucket, key, sent: Some(UploadState::Nothing(vec![])), bytes: 0 }
    }

    /// How many bytes were given so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// # Errors
    /// This piece or one before it could not be written; then what was sent is removed.
    pub async fn write(&mut self, piece: Bytes) -> Result<()> {
        self.bytes += piece.len() as u64;
        let pieces = match &mut self.sent {
            None => return Err(self.given_up()),
            Some(UploadState::Parts(writer)) => {
                if let Err(source) = writer.wait_for_capacity(PARTS_AT_ONCE).await {
                    let error = self.failed(source);
                    self.remove().await;
                    return Err(error);
                }
                writer.put(piece);
                return Ok(());
            }
            Some(UploadState::Nothing(pieces)) => {
                pieces.push(piece);
                if self.bytes < PART_BYTES as u64 {
                    return Ok(());
                }
                std::mem::take(pieces)
            }
        };
        self.sent = None; // should the store not begin
        let upload = self.bucket.store.put_multipart(&self.bucket.path(&self.key)?).await;
        let upload = upload.map_err(|source| self.failed(source))?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        for piece in pieces {
            writer.put(piece);
        }
        self.sent = Some(UploadState::Parts(writer));
        Ok(())
    }

    /// The object is there when this returns; gives its size.
    ///
    /// # Errors
    /// It could not be written whole; then it is not there.
    pub async fn finish(mut self) -> Result<u64> {
        let done = match self.sent.take() {
            None => return Err(self.given_up()),
            Some(UploadState::Nothing(pieces)) => {
                let content: PutPayload = pieces.into_iter().collect();
                self.bucket.store.put(&self.bucket.path(&self.key)?, content).await
            }
            Some(UploadState::Parts(writer)) => writer.finish().await,
        };
        done.map_err(|source| self.failed(source))?;
        Ok(self.bytes)
    }

    /// Gives up, and removes what was sent.
    pub async fn abort(mut self) {
        self.remove().await;
    }

    async fn remove(&mut self) {
        let Some(UploadState::Parts(writer)) = self.sent.take() else { return };
        if let Err(error) = writer.abort().await {
            let location = self.bucket.location(&self.key);
            tracing::warn!(location, %error, "what was sent of an object that was given up stays");
        }
    }

    fn failed(&self, source: object_store::Error) -> Error {
        Error::of("write", self.bucket.location(&self.key), source)
    }

    fn given_up(&self) -> Error {
        let source = "an earlier piece of it could not be written".into();
        Error::Failed { verb: "write", location: self.bucket.location(&self.key), source }
    }
}
