//! Rows on their way into a table or out of it.

use crate::error::{LakeError, LakeResult};
use arrow::array::RecordBatch;
use futures::stream::{BoxStream, Stream, StreamExt as _, TryStreamExt as _};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A stream of batches. Nobody holds more than a few of them at a time.
pub struct Batches(BoxStream<'static, LakeResult<RecordBatch>>);

impl Batches {
    /// Rows from anywhere; an error of the stream ends the write.
    pub fn new<E: Into<anyhow::Error>>(stream: impl Stream<Item = Result<RecordBatch, E>> + Send + 'static) -> Self {
        Self(stream.map_err(|error| LakeError::Source(error.into())).boxed())
    }

    pub(crate) fn of(stream: impl Stream<Item = LakeResult<RecordBatch>> + Send + 'static) -> Self {
        Self(stream.boxed())
    }

    /// All of them in memory.
    pub async fn collect(self) -> LakeResult<Vec<RecordBatch>> {
        self.0.try_collect().await
    }
}

impl Stream for Batches {
    type Item = LakeResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl From<Vec<RecordBatch>> for Batches {
    fn from(batches: Vec<RecordBatch>) -> Self {
        Self(futures::stream::iter(batches.into_iter().map(Ok)).boxed())
    }
}

impl From<RecordBatch> for Batches {
    fn from(batch: RecordBatch) -> Self {
        vec![batch].into()
    }
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Batches")
    }
}
