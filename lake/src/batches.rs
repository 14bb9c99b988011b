//! Rows on their way: a schema, and record batches that follow it. What readers give and writers take; nobody holds
//! all of them at once.

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

/// Rows in a batch: large enough that what is done once a batch costs nothing, small enough that a few of them at
/// once are some megabytes.
pub const BATCH_ROWS: usize = 16_384;

/// Batches that a reader is ahead: while one is written the next is read.
const AHEAD: usize = 2;

/// A stream of record batches of one schema. After an error nothing follows.
pub struct Batches {
    schema: SchemaRef,
    stream: BoxStream<'static, TaskResult<RecordBatch>>,
}

impl Batches {
    pub fn new(schema: SchemaRef, stream: impl Stream<Item = TaskResult<RecordBatch>> + Send + 'static) -> Batches {
        Batches { schema, stream: stream.boxed() }
    }

    /// What is in memory already.
    pub fn of(schema: SchemaRef, batches: Vec<RecordBatch>) -> Batches {
        Batches::new(schema, futures::stream::iter(batches.into_iter().map(Ok)))
    }

    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// What a task of its own reads, a few batches ahead of whoever takes them. Dropping the batches ends it.
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

    /// The same, read by a task of its own.
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

    /// The batches of an iterator. Each item is computed on a thread of the pool while the one before is written.
    pub fn made<L>(schema: SchemaRef, mut lots: L) -> Batches
    where
        L: Iterator<Item = TaskResult<Vec<RecordBatch>>> + Send + 'static,
    {
        Batches::read_ahead(schema, |taker| async move {
            loop {
                // The thread is free again while there is no room: the writer may need one to encode.
                let (back, lot) = blocking(move |_| {
                    let lot = lots.next();
                    Ok((lots, lot))
                })
                .await?;
                lots = back;
                let Some(lot) = lot else { return Ok(()) };
                for batch in lot? {
                    if !taker.take(batch).await {
                        return Ok(());
                    }
                }
            }
        })
    }

    /// All rows as one batch: only where they are known to be few.
    ///
    /// # Errors
    /// That of the source.
    #[boxed]
    pub async fn collect(self) -> TaskResult<RecordBatch> {
        let schema = self.schema();
        let batches: Vec<RecordBatch> = self.try_collect().await?;
        Ok(concat_batches(&schema, &batches)?)
    }

    /// Says to the task how many rows and bytes have come, and ends with an error when the task is to end, also while
    /// the source is silent.
    #[must_use]
    pub fn report_progress(self, ctx: &Ctx) -> Batches {
        self.report_progress_from(ctx, 0, 0)
    }

    /// The same where the task has come so far already.
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
                // Nothing follows an error; a future that was ready must not be asked again.
                stream = futures::stream::empty().boxed();
                stopped = Box::pin(std::future::pending());
            }
            Some((next, (stream, ctx, stopped, rows, bytes)))
        });
        Batches::new(schema, stream)
    }
}

/// Whoever takes what a reader reads.
#[derive(Debug)]
pub struct Taker(mpsc::Sender<RecordBatch>);

impl Taker {
    /// Waits until there is room. `false`: nobody takes any more.
    #[boxed]
    pub async fn take(&self, batch: RecordBatch) -> bool {
        self.0.send(batch).await.is_ok()
    }
}

/// What the values of a batch take, without what its buffers hold beyond its rows.
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
