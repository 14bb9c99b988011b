//! Streams of record batches. Readers return a stream and writers consume it, so that no task holds all rows in
//! memory.

mod tee;

pub use tee::write_both;

use crate::boxed;
use crate::frame::blocking;
use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use futures::stream::{BoxStream, Stream, StreamExt, TryStreamExt};
use orch_sdk::task::{Ctx, TaskResult};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Number of rows in a batch. It is large enough to make work per batch cheap, and small enough that a few batches
/// take only some megabytes.
pub const BATCH_ROWS: usize = 16_384;

/// Number of batches that a reader may be ahead of the writer (back-pressure).
const AHEAD: usize = 2;

/// A stream of record batches of the same schema. It ends after an error. Polling it again after its end is allowed.
pub struct Batches {
    schema: SchemaRef,
    stream: BoxStream<'static, TaskResult<RecordBatch>>,
}

impl Batches {
    pub fn new(schema: SchemaRef, stream: impl Stream<Item = TaskResult<RecordBatch>> + Send + 'static) -> Batches {
        Batches { schema, stream: stream.fuse().boxed() }
    }

    /// Creates a stream from batches in memory.
    pub fn of(schema: SchemaRef, batches: Vec<RecordBatch>) -> Batches {
        Batches::new(schema, futures::stream::iter(batches.into_iter().map(Ok)))
    }

    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Creates a stream whose batches are produced by a spawned task, a few batches ahead of the consumer. Dropping
    /// the stream ends the task.
    pub fn read_ahead<R>(schema: SchemaRef, work: impl FnOnce(Taker) -> R) -> Batches
    where
        R: Future<Output = TaskResult<()>> + Send + 'static,
    {
        let (taker, taken) = mpsc::channel(AHEAD);
        let mut reading = JoinSet::new();
        reading.spawn(work(Taker(taker)));
        let stream = futures::stream::unfold((reading, taken), |(mut reading, mut taken)| async move {
            if let Some(batch) = taken.recv().await {
                return Some((Ok(batch), (reading, taken)));
            }
            match reading.join_next().await? {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some((Err(error), (reading, taken))),
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(error) => Some((Err(error.into()), (reading, taken))),
                },
            }
        });
        Batches::new(schema, stream)
    }

    /// Moves the reading of this stream to a spawned task that reads a few batches ahead.
    #[must_use]
    pub fn ahead(mut self) -> Batches {
        Batches::read_ahead(self.schema(), |taker| async move {
            while let Some(batch) = self.next().await.transpose()? {
                if !taker.take(batch).await {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Creates a stream from an iterator. A thread of the pool computes the next item while the writer processes the
    /// previous one.
    pub fn made<L>(schema: SchemaRef, mut lots: L) -> Batches
    where
        L: Iterator<Item = TaskResult<Vec<RecordBatch>>> + Send + 'static,
    {
        Batches::read_ahead(schema, |taker| async move {
            // The thread returns to the pool while the channel is full, because the writer may need a thread to
            // encode batches.
            while let (back, Some(lot)) = blocking(move |_| lots.next().transpose().map(|lot| (lots, lot))).await? {
                lots = back;
                if !taker.take_all(lot).await {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Collects all rows into one batch. Only for streams that are known to be short.
    ///
    /// # Errors
    /// Returns the error of the source.
    #[boxed]
    pub async fn collect(self) -> TaskResult<RecordBatch> {
        let schema = self.schema();
        let batches: Vec<RecordBatch> = self.try_collect().await?;
        Ok(concat_batches(&schema, &batches)?)
    }

    /// Reports the number of rows and bytes as progress of the task. If the task is cancelled, the stream returns an
    /// error, even while it waits for the source.
    #[must_use]
    pub fn report_progress(self, ctx: &Ctx) -> Batches {
        self.report_progress_from(ctx, 0, 0)
    }

    /// Like [`Batches::report_progress`], but adds rows and bytes that the task has read before this stream.
    #[must_use]
    pub fn report_progress_from(self, ctx: &Ctx, rows: u64, bytes: u64) -> Batches {
        let schema = self.schema();
        let state = (self.stream, ctx.clone(), ctx.cancelled(), rows, bytes);
        let stream = futures::stream::unfold(state, |(mut stream, ctx, mut stopped, mut rows, mut bytes)| async move {
            let next = tokio::select! {
                biased;
                () = &mut stopped => Some(Err(anyhow::anyhow!("cancelled after {rows} rows"))),
                next = stream.next() => next,
            };
            let next = next?;
            if let Ok(batch) = &next {
                rows += batch.num_rows() as u64;
                bytes += bytes_of(batch);
                ctx.progress(rows, bytes);
            } else {
                // Ends the stream after an error, and prevents a completed future from being polled again.
                stream = futures::stream::empty().boxed();
                stopped = Box::pin(std::future::pending());
            }
            Some((next, (stream, ctx, stopped, rows, bytes)))
        });
        Batches::new(schema, stream)
    }
}

/// Sending half of a bounded channel, through which a reader passes batches to a writer.
#[derive(Debug)]
pub struct Taker(mpsc::Sender<RecordBatch>);

impl Taker {
    /// Sends a batch, waiting for free capacity. Returns false if the receiver was dropped.
    #[boxed]
    pub async fn take(&self, batch: RecordBatch) -> bool {
        self.0.send(batch).await.is_ok()
    }

    /// Sends all batches, waiting for free capacity. Returns false if the receiver was dropped.
    pub async fn take_all(&self, batches: Vec<RecordBatch>) -> bool {
        for batch in batches {
            if !self.take(batch).await {
                return false;
            }
        }
        true
    }
}

/// Returns the memory size of the rows of a batch. Parts of shared buffers outside these rows are not counted.
pub fn bytes_of(batch: &RecordBatch) -> u64 {
    let sizes = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or_default());
    sizes.sum::<usize>() as u64
}

impl Stream for Batches {
    type Item = TaskResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.poll_next_unpin(cx)
    }
}

impl From<Vec<RecordBatch>> for Batches {
    fn from(batches: Vec<RecordBatch>) -> Self {
        let schema = batches.first().map_or_else(|| Schema::empty().into(), RecordBatch::schema);
        Batches::of(schema, batches)
    }
}

impl From<RecordBatch> for Batches {
    fn from(batch: RecordBatch) -> Self {
        vec![batch].into()
    }
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("schema", &self.schema).finish_non_exhaustive()
    }
}
