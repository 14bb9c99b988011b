//! Streaming uploads. A small object is sent with a single request. A larger one is sent as a multipart upload, which
//! starts when there is enough data for the first part.

use super::{Bucket, Error, Result};
use bytes::Bytes;
use object_store::{ObjectStoreExt as _, PutPayload, WriteMultipart};

/// Size of a part in bytes. S3 requires at least 5 MB. With the maximum of 10,000 parts, an object can have 80 GB.
const PART_BYTES: usize = 8 << 20;
/// Maximum number of parts that are sent concurrently. More than one hides the latency of the server; the limit
/// bounds the memory.
const PARTS_AT_ONCE: usize = 3;

/// An upload in progress. If it is dropped without `finish`, the object is not created. Parts that were sent to a
/// server remain there until the server's rule for incomplete uploads deletes them; `abort` deletes them immediately.
#[derive(Debug)]
pub struct Upload {
    bucket: Bucket,
    key: String,
    /// State of the upload. `None` after a failed write.
    sent: Option<UploadState>,
    bytes: u64,
}

#[derive(Debug)]
enum UploadState {
    /// Buffered data smaller than one part. No request was sent yet.
    Nothing(Vec<Bytes>),
    Parts(WriteMultipart),
}

impl Upload {
    pub(super) fn new(bucket: Bucket, key: String) -> Upload {
        Upload { bucket, key, sent: Some(UploadState::Nothing(vec![])), bytes: 0 }
    }

    /// Returns the number of bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends data to the object.
    ///
    /// # Errors
    /// Returns an error if this data or earlier data could not be written. The parts that were sent are deleted then.
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
        self.sent = None; // The field stays `None` if the upload cannot be started.
        let upload = self.bucket.store.put_multipart(&self.bucket.path(&self.key)?).await;
        let upload = upload.map_err(|source| self.failed(source))?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        for piece in pieces {
            writer.put(piece);
        }
        self.sent = Some(UploadState::Parts(writer));
        Ok(())
    }

    /// Completes the upload and returns the size of the object.
    ///
    /// # Errors
    /// Returns an error if the upload fails. The object does not exist then.
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

    /// Cancels the upload and deletes the parts that were sent.
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
