//! Objects that are written piece by piece.

use super::{Error, Result};
use bytes::Bytes;
use object_store::{MultipartUpload, WriteMultipart};

/// The least that S3 takes as a part is 5 MB; with 10,000 parts an object may have 80 GB.
const PART_BYTES: usize = 8 << 20;
/// Parts on their way at once: bounds memory, hides the server's latency.
const PARTS_AT_ONCE: usize = 3;

/// An object on its way. Dropped without `finish` it never comes to be; what a server has of it then is left to the
/// server's rule for uploads that were given up, after `abort` nothing is.
#[derive(Debug)]
pub struct Upload {
    /// None after a piece could not be written.
    writer: Option<WriteMultipart>,
    location: String,
    bytes: u64,
}

impl Upload {
    pub(super) fn new(upload: Box<dyn MultipartUpload>, location: String) -> Upload {
        Upload { writer: Some(WriteMultipart::new_with_chunk_size(upload, PART_BYTES)), location, bytes: 0 }
    }

    /// How many bytes were given so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// # Errors
    /// This piece or one before it could not be written; then what was sent is removed.
    pub async fn write(&mut self, piece: Bytes) -> Result<()> {
        let Some(writer) = &mut self.writer else { return Err(self.given_up()) };
        self.bytes += piece.len() as u64;
        match writer.wait_for_capacity(PARTS_AT_ONCE).await {
            Ok(()) => {
                writer.put(piece);
                Ok(())
            }
            Err(source) => {
                let error = Error::of("write", self.location.clone(), source);
                self.remove().await;
                Err(error)
            }
        }
    }

    /// The object is there when this returns; gives its size.
    ///
    /// # Errors
    /// It could not be written whole; then it is not there.
    pub async fn finish(mut self) -> Result<u64> {
        let Some(writer) = self.writer.take() else { return Err(self.given_up()) };
        let done = writer.finish().await;
        done.map_err(|source| Error::of("write", self.location, source))?;
        Ok(self.bytes)
    }

    /// Gives up, and removes what was sent.
    pub async fn abort(mut self) {
        self.remove().await;
    }

    async fn remove(&mut self) {
        let Some(writer) = self.writer.take() else { return };
        if let Err(error) = writer.abort().await {
            tracing::warn!(location = self.location, %error, "what was sent of an object that was given up stays");
        }
    }

    fn given_up(&self) -> Error {
        let source = "an earlier piece of it could not be written".into();
        Error::Failed { verb: "write", location: self.location.clone(), source }
    }
}
