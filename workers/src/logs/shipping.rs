//! Ships log lines from the buffers of attempts to the database.
//!
//! Chunks that the database does not accept are sent again with exponential backoff, even if no task logs more, and
//! while the worker stops. The size of a statement is limited, and halved after each error, so that a statement that is
//! too large or too slow does not block all logs.

#[cfg(test)]
mod tests;

use super::{AttemptLog, CHUNK_BYTES, CHUNK_OVERHEAD, LogLine, MAX_UNSENT_BYTES, Shipper};
use orch_store::bounded::ByteBudget;
use orch_store::connect::Loan;
use orch_store::log::{LeftOut, NewChunk, append, leave_out};
use orch_store::progress::{self as told, NewProgress};
use orch_store::{StoreError, StoreResult};
use sqlx::PgPool;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Age at which buffered lines are written.
const SHIP_EVERY: Duration = Duration::from_millis(900);
/// Maximum number of attempts with unshipped lines. Each attempt is in the queue once. `MAX_UNSENT_BYTES` limits the
/// size of their lines.
const QUEUE: usize = 16_384;
/// Maximum size of one statement. The last chunk may exceed it.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Maximum number of bytes that are taken from one attempt before the next attempt has its turn.
const TURN_BYTES: usize = 512 * 1024;
/// Client-side timeout for one statement, in case the network drops packets. Longer than the database's own timeout.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);
/// Backoff after the first failure. Doubled after each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Maximum time that a stopping worker waits for the database to accept its logs.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Log data that the database has not stored yet.
#[derive(Default)]
pub(super) struct Unsent {
    pub(super) chunks: Vec<NewChunk>,
    /// Total size of `chunks` in bytes.
    pub(super) bytes: usize,
    /// Ranges of lines that were dropped because the log exceeded its maximum length.
    pub(super) left_out: BTreeMap<(Uuid, i32), LeftOut>,
    /// Latest progress of each attempt.
    pub(super) progress: BTreeMap<Uuid, NewProgress>,
    /// True if the first chunk was rejected and replaced by a line that reports the number of lost lines.
    is_replaced: bool,
}

/// Returns the size with which a chunk counts towards the budget and a statement, in bytes.
pub(super) fn bytes_of(chunk: &NewChunk) -> usize {
    chunk.body.len() + CHUNK_OVERHEAD
}

impl Unsent {
    fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.progress.is_empty() && self.left_out.is_empty()
    }

    /// Returns the number of chunks for the next statement, at least one, and their size in bytes.
    fn batch(&self, most_bytes: usize) -> (usize, usize) {
        let (mut many, mut bytes) = (0, 0);
        for chunk in &self.chunks {
            if many > 0 && bytes + bytes_of(chunk) > most_bytes {
                break;
            }
            (many, bytes) = (many + 1, bytes + bytes_of(chunk));
        }
        (many, bytes)
    }

    /// Moves the chunks of the first attempt behind all others. The order within an attempt stays, because readers rely
    /// on it.
    fn put_behind(&mut self) {
        let Some(attempt) = self.chunks.first().map(|first| first.attempt) else { return };
        self.is_replaced = false;
        self.chunks.sort_by_key(|chunk| chunk.attempt == attempt);
    }
}

/// Writes chunks until the worker stops, then writes the remaining chunks.
pub(crate) struct Shipping {
    queue: mpsc::Receiver<Arc<AttemptLog>>,
    urgent: Arc<Notify>,
    cold: PgPool,
    budget: Arc<ByteBudget>,
    /// Attempts in the order in which their lines are taken. Each attempt occurs once.
    waiting: VecDeque<Arc<AttemptLog>>,
    unsent: Unsent,
    /// Maximum size of the next statement in bytes.
    batch: usize,
    /// True if the last error was caused by the data of one chunk, not by the size of the statement.
    is_of_one_chunk: bool,
    /// True if the last call of `write` stored at least one chunk.
    has_written: bool,
    /// Backoff before the next write after a failed one.
    pause: Duration,
    not_before: Option<Instant>,
}

pub(crate) fn shipping(cold: PgPool) -> (Shipper, Shipping) {
    let (send, queue) = mpsc::channel(QUEUE);
    let (urgent, budget) = (Arc::new(Notify::new()), Arc::new(ByteBudget::new(MAX_UNSENT_BYTES)));
    let shipper = Shipper { queue: send, urgent: urgent.clone(), budget: budget.clone() };
    let shipping = Shipping {
        queue,
        urgent,
        cold,
        budget,
        waiting: VecDeque::new(),
        unsent: Unsent::default(),
        batch: BATCH_BYTES,
        is_of_one_chunk: false,
        has_written: false,
        pause: FIRST_PAUSE,
        not_before: None,
    };
    (shipper, shipping)
}

impl Shipping {
    pub(crate) async fn ship_until_stopped(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if self.unsent.is_empty() && self.waiting.is_empty() {
                tokio::select! {
                    first = self.queue.recv() => match first {
                        Some(first) => self.waiting.push_back(first),
                        None => break,
                    },
                    () = stop.cancelled() => break,
                }
                // Wait for more lines to fill the batch. An attempt that has ended or has many lines ends the wait.
                tokio::select! {
                    () = sleep(SHIP_EVERY) => {}
                    () = self.urgent.notified() => {}
                    () = stop.cancelled() => {}
                }
            } else if let Some(at) = self.not_before {
                tokio::select! {
                    () = sleep_until(at) => {}
                    () = stop.cancelled() => break,
                }
            }
            self.fill();
            self.ship().await;
        }
        self.finish().await;
    }

    /// Takes lines from the attempts in turn. While the database is unavailable, lines remain in the buffers of the
    /// attempts.
    fn fill(&mut self) {
        while self.waiting.len() < QUEUE
            && let Ok(next) = self.queue.try_recv()
        {
            self.waiting.push_back(next);
        }
        // Do not count chunks that fail repeatedly, so that they do not prevent other chunks from being taken.
        let stuck = if self.has_written { self.unsent.bytes } else { 0 };
        while self.unsent.bytes < stuck + BATCH_BYTES
            && self.unsent.progress.len() < QUEUE
            && let Some(next) = self.waiting.pop_front()
        {
            if next.take(&mut self.unsent, TURN_BYTES) {
                self.waiting.push_back(next);
            }
        }
    }

    /// Ships all remaining lines, for at most `STOP_WITHIN`.
    async fn finish(mut self) {
        let everything = async {
            loop {
                self.fill();
                if self.unsent.is_empty() && self.waiting.is_empty() {
                    return;
                }
                self.ship().await;
                sleep_until(self.not_before.unwrap_or_else(Instant::now)).await;
            }
        };
        if tokio::time::timeout(STOP_WITHIN, everything).await.is_err() {
            let (chunks, attempts) = (self.unsent.chunks.len(), self.waiting.len());
            tracing::error!(
                chunks,
                attempts,
                "the last lines of logs are lost: the database did not take them before this worker stopped"
            );
        }
    }

    /// Writes unsent data. Data that is not stored is sent again later; chunks have keys, so a duplicate write is
    /// harmless.
    async fn ship(&mut self) {
        self.has_written = false;
        let written = self.write().await;
        if self.has_written || written.is_ok() {
            self.pause = FIRST_PAUSE;
        }
        self.not_before = None;
        if let Err(error) = written {
            let (chunks, bytes) = (self.unsent.chunks.len(), self.unsent.bytes);
            tracing::warn!(%error, cause = error.source_text(), chunks, bytes, "logs wait for the database");
            self.not_before = Some(Instant::now() + self.pause);
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Writes chunks, progress and dropped ranges. Closes the connection after an error, because a statement may still
    /// be running on it.
    async fn write(&mut self) -> StoreResult<()> {
        let mut db = Loan::of(&self.cold).await?;
        while !self.unsent.chunks.is_empty() {
            let (many, bytes) = self.unsent.batch(self.batch);
            let Err(error) = in_time(append(&mut db, &self.unsent.chunks[..many])).await else {
                self.has_written = true;
                self.forget(many);
                if self.is_of_one_chunk {
                    self.batch = (2 * self.batch).min(BATCH_BYTES);
                }
                continue;
            };
            self.batch = bytes / 2;
            self.is_of_one_chunk = is_of_the_data(&error);
            if !self.is_of_one_chunk {
                if many == 1 {
                    self.unsent.put_behind();
                    self.batch = self.batch.max(CHUNK_BYTES);
                }
                return Err(error);
            }
            if many == 1 {
                self.replace_first(&error);
            }
        }
        self.batch = (2 * self.batch).min(BATCH_BYTES);
        let unsent = &mut self.unsent;
        if !unsent.progress.is_empty() {
            let progress: Vec<_> = unsent.progress.values().copied().collect();
            unless_refused("progress", in_time(told::keep(&mut db, &progress)).await)?;
            unsent.progress.clear();
        }
        while let Some(entry) = unsent.left_out.first_entry() {
            unless_refused("a gap", in_time(leave_out(&mut db, entry.get())).await)?;
            entry.remove();
        }
        db.give_back();
        Ok(())
    }

    fn forget(&mut self, many: usize) {
        let bytes: usize = self.unsent.chunks.drain(..many).map(|chunk| bytes_of(&chunk)).sum();
        self.unsent.bytes -= bytes;
        self.unsent.is_replaced = false;
        self.budget.release(bytes);
    }

    /// Replaces the rejected first chunk with a line that reports the number of lost lines. Drops the chunk if the
    /// replacement is rejected, too.
    fn replace_first(&mut self, error: &StoreError) {
        let Some(chunk) = self.unsent.chunks.first_mut() else { return };
        tracing::error!(%error, cause = error.source_text(), attempt = %chunk.attempt, lines = chunk.lines, "lines of a log cannot be stored");
        if std::mem::replace(&mut self.unsent.is_replaced, true) {
            self.forget(1);
            return;
        }
        let text = format!("{} lines were lost here: the database refused them", chunk.lines);
        let body = LogLine::about_the_log(text).to_json() + "\n";
        self.budget.add(body.len());
        self.budget.release(chunk.body.len());
        self.unsent.bytes = self.unsent.bytes + body.len() - chunk.body.len();
        chunk.body = body;
    }
}

async fn in_time<T>(statement: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    let silent = |_| Err(StoreError::Unreachable(sqlx::Error::PoolTimedOut));
    tokio::time::timeout(STATEMENT_TIMEOUT, statement).await.unwrap_or_else(silent)
}

/// Ignores an error that is caused by the data, so that the remaining entries are stored.
fn unless_refused(what: &str, done: StoreResult<()>) -> StoreResult<()> {
    match done {
        Err(error) if is_of_the_data(&error) => {
            tracing::error!(%error, cause = error.source_text(), "{what} of a log cannot be stored");
            Ok(())
        }
        done => done,
    }
}

/// Returns true if the error is caused by a value, a constraint or a size: the same statement would fail again.
fn is_of_the_data(error: &StoreError) -> bool {
    let StoreError::Sql(sqlx::Error::Database(error)) = error else { return false };
    error.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
}
