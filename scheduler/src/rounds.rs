//! The common structure of all scheduler loops: wait for a wake-up, run rounds until no work is left, retry after
//! errors.

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

/// Timeout of a round. Afterwards its connection is closed, because a half-open connection would never respond. Longer
/// than the statement timeout, shorter than the timeout of the watchdog.
const ROUND: Duration = Duration::from_secs(20);
/// Retry delay after the first error. It doubles with each error, up to `LONGEST_PAUSE`.
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

/// The work of one scheduler loop.
pub(crate) trait Work: Send {
    const NAME: &'static str;

    /// Returns the signal that wakes the loop.
    fn called(board: &Board) -> &Notify;

    /// Runs one idempotent step of bounded size, starting from the state in the database.
    fn round(
        &mut self,
        db: &mut PgConnection,
        shared: &Shared,
    ) -> impl Future<Output = StoreResult<RemainingWork>> + Send;
}

/// Runs a loop until the scheduler stops. Returns the name of the loop.
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
                // When the connection closes, the database rolls back the open transaction.
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

/// Returns an error if the round takes longer than `ROUND`.
pub(crate) async fn limited<T>(round: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    tokio::time::timeout(ROUND, round).await.unwrap_or(Err(StoreError::Unreachable(sqlx::Error::PoolTimedOut)))
}

/// Processes one item of a round. Returns `None` if the item causes an SQL error, a panic or an error of corrupt data:
/// the problem is logged, and the round continues with the other items.
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

/// A loop's database connection. It is borrowed from the pool for a round and closed after any error.
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

    /// Returns a connection for the next round, or `None` if the scheduler is stopping.
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
        // A single failure may be a lost race with another scheduler, so log a warning only after repeated failures.
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

/// Exponential backoff with jitter: a random delay between half of the current maximum and the maximum.
fn pause(errors: u32) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(1 << errors.min(10)).min(LONGEST_PAUSE);
    let random = RandomState::new().build_hasher().finish() % 1_000;
    full / 2 + full.mul_f64(random as f64 / 2_000.0)
}
