//! From the buffers of attempts to the database, until it has everything: what it does not take is sent again, after longer
//! and longer pauses, also when no task says anything more, and once more when the worker stops.

use super::{AttemptLog, Shipper};
use orch_store::log::{LeftOut, NewChunk};
use orch_store::progress::{self as told, NewProgress};
use orch_store::{StoreError, StoreResult};
use sqlx::{PgConnection, PgPool};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A chunk is written when it is this old.
const SHIP_EVERY: Duration = Duration::from_millis(900);
/// Attempts with unshipped lines; each is in the queue once, so this is a bound on attempts, not on lines.
const QUEUE: usize = 16_384;
/// Chunks in one statement: a megabyte or so.
const BATCH: usize = 256;
/// Memory has an end: of what the database does not take for long, the oldest chunks are lost.
const MOST_UNSENT: usize = 4 * BATCH;
/// Before what failed is sent again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A worker that stops waits so long for a database that does not take its logs.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What the database was not told yet.
#[derive(Default)]
pub(super) struct Unsent {
    pub(super) chunks: Vec<NewChunk>,
    /// The gaps of logs that grew too long.
    pub(super) left_out: BTreeMap<(Uuid, i32), LeftOut>,
    /// The last word of each try.
    pub(super) progress: BTreeMap<Uuid, NewProgress>,
}

impl Unsent {
    fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.progress.is_empty() && self.left_out.is_empty()
    }
}

/// Writes chunks until told to stop, then what is left.
pub(crate) struct Shipping {
    queue: mpsc::Receiver<Arc<AttemptLog>>,
    urgent: Arc<Notify>,
    cold: PgPool,
    unsent: Unsent,
    /// Before the next attempt to write, after one that failed.
    pause: Duration,
    not_before: Option<Instant>,
}

pub(crate) fn shipping(cold: PgPool) -> (Shipper, Shipping) {
    let (send, queue) = mpsc::channel(QUEUE);
    let urgent = Arc::new(Notify::new());
    let shipper = Shipper { queue: send, urgent: urgent.clone() };
    let unsent = Unsent::default();
    (shipper, Shipping { queue, urgent, cold, unsent, pause: FIRST_PAUSE, not_before: None })
}

impl Shipping {
    pub(crate) async fn ship_until_stopped(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                first = self.queue.recv() => match first {
                    Some(first) => self.gather(&first, &stop).await,
                    None => break,
                },
                () = until(self.not_before) => {}
                () = stop.cancelled() => break,
            }
            if self.not_before.is_none_or(|at| at <= Instant::now()) {
                self.ship().await;
            }
        }
        self.finish().await;
    }

    /// Lets lines gather; an attempt that has much to say, or is over, asks for haste.
    async fn gather(&mut self, first: &AttemptLog, stop: &CancellationToken) {
        tokio::select! {
            () = sleep(SHIP_EVERY) => {}
            () = self.urgent.notified() => {}
            () = stop.cancelled() => {}
        }
        first.take(&mut self.unsent);
        self.take_others();
    }

    fn take_others(&mut self) {
        while self.unsent.chunks.len() < BATCH {
            let Ok(next) = self.queue.try_recv() else { break };
            next.take(&mut self.unsent);
        }
    }

    /// All that was said, within the time that a stopping worker has.
    async fn finish(mut self) {
        let everything = async {
            loop {
                self.take_others();
                if self.unsent.is_empty() {
                    return;
                }
                self.ship().await;
                until(self.not_before.or(Some(Instant::now()))).await;
            }
        };
        if tokio::time::timeout(STOP_WITHIN, everything).await.is_err() {
            let chunks = self.unsent.chunks.len();
            tracing::error!(
                chunks,
                "the last lines of logs are lost: the database did not take them before this worker stopped"
            );
        }
    }

    /// Keeps what could not be written for the next time: chunks are keyed, so writing one twice is harmless.
    async fn ship(&mut self) {
        match self.write().await {
            Ok(()) => (self.pause, self.not_before) = (FIRST_PAUSE, None),
            Err(error) => {
                tracing::warn!(%error, chunks = self.unsent.chunks.len(), "logs wait for the database");
                self.not_before = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
        }
        let excess = self.unsent.chunks.len().saturating_sub(MOST_UNSENT);
        self.unsent.chunks.drain(..excess);
    }

    async fn write(&mut self) -> StoreResult<()> {
        let db = &mut self.cold.acquire().await?;
        let unsent = &mut self.unsent;
        match orch_store::log::append(db, &unsent.chunks).await {
            Err(error) if is_of_the_data(&error) => append_singly(db, &mut unsent.chunks).await?,
            written => {
                written?;
                unsent.chunks.clear();
            }
        }
        if !unsent.progress.is_empty() {
            told::keep(db, &unsent.progress.values().copied().collect::<Vec<_>>()).await?;
            unsent.progress.clear();
        }
        while let Some(entry) = unsent.left_out.first_entry() {
            orch_store::log::leave_out(db, entry.get()).await?;
            entry.remove();
        }
        Ok(())
    }
}

/// A chunk that the database refuses is lost: it must not hold up the logs of all others.
async fn append_singly(db: &mut PgConnection, chunks: &mut Vec<NewChunk>) -> StoreResult<()> {
    while let Some(chunk) = chunks.first() {
        match orch_store::log::append(db, std::slice::from_ref(chunk)).await {
            Err(error) if is_of_the_data(&error) => {
                tracing::error!(%error, attempt = %chunk.attempt, lines = chunk.lines, "lines of a log cannot be stored");
            }
            written => written?,
        }
        chunks.remove(0);
    }
    Ok(())
}

/// Values, constraints and sizes: the same statement fails again.
fn is_of_the_data(error: &StoreError) -> bool {
    let StoreError::Sql(sqlx::Error::Database(error)) = error else { return false };
    error.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
}

/// Never, without a time.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
