//! The common structure of all loops: wait for a wake-up, run rounds until no work is left, and retry after errors.

use crate::board::Board;
use crate::config::SchedulerConfig;
use futures::FutureExt;
use orch_store::connect::Loan;
use orch_store::hint::Hints;
use orch_store::{StoreError, StoreResult};
use sqlx::postgres::{PgConnection, PgPool};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Timeout of a round. Its connection is closed then, because a half-open one would never respond. Longer than any
/// statement may take, shorter than the timeout of the watchdog.
const ROUND: Duration = Duration::from_secs(20);
/// Pause after the first error. It doubles with each error, up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<SchedulerConfig>,
    pub(crate) cold: PgPool,
    pub(crate) hints: Hints,
    pub(crate) board: Arc<Board>,
    pub(crate) stop: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemainingWork {
    Nothing,
    More,
}

/// The work of one loop.
pub(crate) trait Work: Send {
    const NAME: &'static str;

    /// Returns the signal that wakes the loop.
    fn called(board: &Board) -> &Notify;

    /// Runs one idempotent step of bounded size, based on the state in the database.
    fn round(
        &mut self,
        db: &mut PgConnection,
        shared: &Shared,
    ) -> impl Future<Output = StoreResult<RemainingWork>> + Send;
}

/// Runs a loop until the scheduler stops, and returns the name of the loop.
pub(crate) async fn drive<W: Work>(mut work: W, shared: Shared) -> &'static str {
    let mut link = Link::new(W::NAME);
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return W::NAME,
            () = W::called(&shared.board).notified() => {}
        }
        loop {
            let Some(db) = link.begin(&shared).await else { break };
            let left = tokio::select! {
                // The database rolls back the open transaction when the connection closes.
                () = shared.stop.cancelled() => return W::NAME,
                left = limited(work.round(db, &shared)) => left,
            };
            match link.end(&shared, left).await {
                Some(RemainingWork::Nothing) => break,
                Some(RemainingWork::More) | None if shared.stop.is_cancelled() => return W::NAME,
                Some(RemainingWork::More) | None => {}
            }
        }
    }
}

/// Fails a round that takes longer than `ROUND`.
pub(crate) async fn limited<T>(round: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    tokio::time::timeout(ROUND, round).await.unwrap_or(Err(StoreError::Unreachable(sqlx::Error::PoolTimedOut)))
}

/// Runs one item of a round. Returns `None` if the item has corrupt data, an SQL error or a panic: the problem is
/// logged, and the round continues without the item.
pub(crate) async fn item<T>(
    name: &'static str,
    of: &(dyn std::fmt::Display + Sync),
    work: impl Future<Output = StoreResult<T>> + Send,
) -> StoreResult<Option<T>> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(done)) => Ok(Some(done)),
        Ok(Err(error @ (StoreError::Corrupt { .. } | StoreError::Sql(_)))) => {
            tracing::error!(%error, cause = error.source_text(), item = %of, "`{name}` cannot be done for `{of}`");
            Ok(None)
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            tracing::error!(item = %of, "`{name}` panicked for `{of}`");
            Ok(None)
        }
    }
}

/// A loop's connection: borrowed from the pool for a round, closed after any error.
#[derive(Debug)]
pub(crate) struct Link {
    name: &'static str,
    db: Option<Loan>,
    errors: u32,
}

impl Link {
    pub(crate) fn new(name: &'static str) -> Link {
        Link { name, db: None, errors: 0 }
    }

    /// Returns the connection for a round, or `None` if the scheduler is stopping.
    pub(crate) async fn begin(&mut self, shared: &Shared) -> Option<&mut PgConnection> {
        while self.db.is_none() {
            shared.board.begin(self.name);
            match Loan::of(&shared.cold).await {
                Ok(db) => self.db = Some(db),
                Err(error) => self.failed(shared, &error).await?,
            }
        }
        shared.board.begin(self.name);
        self.db.as_deref_mut()
    }

    /// Ends a round. After an error, waits for the backoff and returns `None`.
    pub(crate) async fn end<T>(&mut self, shared: &Shared, round: StoreResult<T>) -> Option<T> {
        match round {
            Ok(done) => {
                if let Some(db) = self.db.take() {
                    db.give_back();
                }
                self.errors = 0;
                shared.board.done(self.name, None);
                Some(done)
            }
            Err(error) => {
                self.db = None;
                self.failed(shared, &error).await;
                None
            }
        }
    }

    async fn failed(&mut self, shared: &Shared, error: &StoreError) -> Option<()> {
        self.errors += 1;
        let cause = error.source_text();
        // A single failure may be a lost race, so only repeated failures are logged as a warning.
        if self.errors == 3 {
            tracing::warn!(%error, cause, "the scheduler's loop `{}` keeps failing and is retried", self.name);
        } else {
            tracing::debug!(%error, cause, "a round of the scheduler's loop `{}` failed", self.name);
        }
        shared.board.done(self.name, Some(error.to_string()));
        tokio::select! {
            () = shared.stop.cancelled() => None,
            () = tokio::time::sleep(pause(self.errors)) => Some(()),
        }
    }
}

/// Exponential backoff with jitter: between half of the full pause and all of it.
fn pause(errors: u32) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(1 << errors.min(10)).min(LONGEST_PAUSE);
    let random = RandomState::new().build_hasher().finish() % 1_000;
    full / 2 + full.mul_f64(random as f64 / 2_000.0)
}
