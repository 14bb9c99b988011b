//! Converts between objects of a bucket and batches of a schema, in the formats CSV, JSON lines and Parquet. Memory
//! is bounded for objects of any size. Errors name the location, line and column, but never the value, which may be
//! personal data.

pub mod csv;
mod gzip;
pub mod json;
pub mod parquet;

use crate::batches::Batches;
use crate::bucket::Bucket;
use crate::frame::blocking;
use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use orch_sdk::task::TaskResult;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenObject {
    pub location: String,
    pub rows: u64,
    pub bytes: u64,
}

trait Encode: Send + Sized + 'static {
    fn batch(&mut self, batch: &RecordBatch) -> TaskResult<Bytes>;

    /// Returns the bytes that follow the last batch, such as a footer.
    fn end(self) -> TaskResult<Bytes>;
}

/// Encodes batches and writes them to an object. The object is created only if all rows were written.
async fn write(bucket: &Bucket, key: &str, mut batches: Batches, mut encode: impl Encode) -> TaskResult<WrittenObject> {
    let mut upload = bucket.upload(key)?;
    let mut rows = 0;
    loop {
        let batch = match batches.try_next().await {
            Ok(Some(batch)) => batch,
            Ok(None) => break,
            Err(error) => {
                upload.abort().await;
                return Err(error);
            }
        };
        rows += batch.num_rows() as u64;
        let encoded = blocking(move |_| {
            let bytes = encode.batch(&batch)?;
            Ok((encode, bytes))
        });
        let (back, bytes) = encoded.await?;
        encode = back;
        if !bytes.is_empty() {
            upload.write(bytes).await?;
        }
    }
    let rest = blocking(move |_| encode.end()).await?;
    upload.write(rest).await?;
    Ok(WrittenObject { location: bucket.location(key), rows, bytes: upload.finish().await? })
}

/// Decoder of a file format. It receives chunks that can end anywhere, and an empty chunk at the end.
trait Decode: Send + Sized + 'static {
    fn piece(&mut self, piece: Bytes) -> TaskResult<Vec<RecordBatch>>;
}

/// Reads an object and decodes it on a thread of the pool, ahead of the consumer.
fn read(
    schema: arrow::datatypes::SchemaRef,
    mut pieces: BoxStream<'static, crate::bucket::Result<Bytes>>,
    mut decode: impl Decode,
) -> Batches {
    Batches::read_ahead(schema, |taker| async move {
        loop {
            let piece = match pieces.try_next().await? {
                Some(piece) if piece.is_empty() => continue,
                piece => piece.unwrap_or_default(),
            };
            let is_end = piece.is_empty();
            let decoded = blocking(move |_| {
                let batches = decode.piece(piece)?;
                Ok((decode, batches))
            });
            let (back, batches) = decoded.await?;
            decode = back;
            for batch in batches {
                if !taker.take(batch).await {
                    return Ok(());
                }
            }
            if is_end {
                return Ok(());
            }
        }
    })
}
