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
    writer: WriteMultipart,
    location: String,
    bytes: u64,
}

impl Upload {
    pub(super) fn new(upload: Box<dyn MultipartUpload>, location: String) -> Upload {
        Upload { writer: WriteMultipart::new_with_chunk_size(upload, PART_BYTES), location, bytes: 0 }
    }

    /// How many bytes were given so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// # Errors
    /// This piece or one before it could not be written.
    pub async fn write(&mut self, piece: Bytes) -> Result<()> {
        self.bytes += piece.len() as u64;
        let room = self.writer.wait_for_capacity(PARTS_AT_ONCE).await;
        room.map_err(|source| Error::of("write", self.location.clone(), source))?;
        self.writer.put(piece);
        Ok(())
    }

    /// The object is there when this returns; gives its size.
    ///
    /// # Errors
    /// It could not be written whole; then it is not there.
    pub async fn finish(self) -> Result<u64> {
        let done = self.writer.finish().await;
        done.map_err(|source| Error::of("write", self.location, source))?;
        Ok(self.bytes)
    }

    /// Gives up, and removes what was sent.
    pub async fn abort(self) {
        if let Err(error) = self.writer.abort().await {
            tracing::warn!(location = self.location, %error, "what was sent of an object that was given up stays");
        }
    }
}
