//! Writes the same rows to two destinations in one pass over their source. A bounded channel keeps both writers in
//! step, so that only the batches that the slower one still has to write are held in memory.

use super::Batches;
use anyhow::anyhow;
use arrow::array::RecordBatch;
use futures::TryStreamExt as _;
use futures::stream::poll_fn;
use orch_sdk::task::TaskResult;
use tokio::sync::mpsc::{Receiver, channel};

/// Number of batches that the faster writer may be ahead of the slower one.
const AHEAD: usize = 2;

type SentBatch = TaskResult<RecordBatch>;

/// Runs two writers, each of which receives all rows, and returns their results.
///
/// # Errors
/// Returns the error of the source, or of the writer that failed first. The other writer receives an error instead of
/// its remaining rows and must not leave a partial result behind.
pub async fn write_both<A, B>(
    mut rows: Batches,
    one: impl AsyncFnOnce(Batches) -> TaskResult<A>,
    other: impl AsyncFnOnce(Batches) -> TaskResult<B>,
) -> TaskResult<(A, B)> {
    let schema = rows.schema();
    let ((first, one_rows), (second, other_rows)) = (channel::<SentBatch>(AHEAD), channel::<SentBatch>(AHEAD));
    let batches = |mut receive: Receiver<SentBatch>| {
        Batches::new(schema.clone(), poll_fn(move |context| receive.poll_recv(context)))
    };
    let pump = async move {
        let error = loop {
            match rows.try_next().await {
                Ok(None) => return Ok(()),
                Err(error) => break Some(error),
                Ok(Some(batch)) => {
                    if first.send(Ok(batch.clone())).await.is_err() || second.send(Ok(batch)).await.is_err() {
                        break None; // The receiving writer has failed; its own error is returned.
                    }
                }
            }
        };
        for sender in [first, second] {
            // Sending fails if the other writer has failed too.
            drop(sender.send(Err(anyhow!(BROKEN_OFF))).await);
        }
        error.map_or(Ok(()), Err)
    };
    let (pumped, one, other) = tokio::join!(pump, one(batches(one_rows)), other(batches(other_rows)));
    pumped?;
    // If both writers failed, one of the errors may only be the consequence of the other.
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
        (Err(one), Err(other)) => Err(if one.to_string() == BROKEN_OFF { other } else { one }),
    }
}

const BROKEN_OFF: &str = "the rows broke off";

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    fn rows(of: Vec<Result<i32, &'static str>>) -> Batches {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, false)]));
        let batch = schema.clone();
        let batch = move |n| RecordBatch::try_new(batch.clone(), vec![Arc::new(Int32Array::from(vec![n]))]);
        let made: Vec<SentBatch> =
            of.into_iter().map(|n| n.map_err(|e| anyhow!(e)).and_then(|n| Ok(batch(n)?))).collect();
        Batches::new(schema, futures::stream::iter(made))
    }

    async fn count(rows: Batches) -> TaskResult<usize> {
        Ok(rows.collect().await?.num_rows())
    }

    #[tokio::test]
    async fn both_get_all_rows_or_neither_is_written() {
        let all = (0..20).map(Ok).collect();
        assert_eq!(write_both(rows(all), count, count).await.expect("nothing fails"), (20, 20));
        let broken = write_both(rows(vec![Ok(1), Err("the server is gone")]), count, count).await;
        assert_eq!(broken.expect_err("the source breaks").to_string(), "the server is gone");
        let full = async |_: Batches| -> TaskResult<()> { Err(anyhow!("the disk is full")) };
        for _ in 0..10 {
            let failed = write_both(rows((0..20).map(Ok).collect()), full, count).await;
            assert_eq!(failed.expect_err("one writer fails").to_string(), "the disk is full");
        }
    }
}
