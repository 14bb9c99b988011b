//! Recovers after a lost connection or a rolled-back statement, when it is unknown whether the database executed it.
//!
//! While its lease is valid, this worker keeps its identity and its attempts continue. On a new connection, it records
//! ended attempts again, which is idempotent, and releases attempts that it claimed without receiving the response.

use super::{Driver, sleep_until};
use crate::heartbeat::Pulse;
use orch_store::hot::Hot;
use orch_store::{StoreError, StoreResult};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

impl<S: Hot> Driver<S> {
    /// Returns when the database responds again. If that takes too long, the heartbeat stops the worker.
    pub(super) async fn resume(
        &mut self,
        mut error: StoreError,
        pulse: &Pulse,
        stop: &CancellationToken,
    ) -> StoreResult<()> {
        let mut backoff = Backoff::of(self.worker.unsigned_abs());
        while error.passes() {
            tracing::warn!(%error, cause = error.source_text(), running = self.held.len(), "the worker asks again");
            let pause = tokio::time::sleep(backoff.next());
            tokio::pin!(pause);
            loop {
                let stopping = self.stopping(stop, pulse);
                tokio::select! {
                    biased;
                    () = stop.cancelled(), if !stopping => {}
                    () = sleep_until(self.deadline), if stopping => return Err(error),
                    () = &mut pause => break,
                }
            }
            match self.take_up().await {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
        }
        Err(error)
    }

    async fn take_up(&mut self) -> StoreResult<()> {
        let ours = self.held.keys().copied().chain(self.unsure.iter().map(|e| e.lease.attempt));
        let ours: Vec<Uuid> = ours.collect();
        self.unfolded.extend(self.store.resume(self.worker, &ours).await?);
        let ended = std::mem::take(&mut self.unsure);
        let runs: Vec<Uuid> = ended.iter().map(|e| e.lease.run).collect();
        self.record(ended).await?;
        // The outcomes are recorded, now or by the earlier statement, but may not be applied to their runs yet.
        self.unfolded.extend(runs);
        self.lanes.expect_more();
        Ok(())
    }
}

/// Exponential backoff for reconnecting. Jitter keeps workers from retrying at the same time.
pub(super) struct Backoff {
    tries: u32,
    last: Option<Instant>,
    /// Jitter in milliseconds, different for each worker.
    jitter: u64,
}

impl Backoff {
    pub(super) fn of(worker: u32) -> Backoff {
        Backoff { tries: 0, last: None, jitter: u64::from(worker) }
    }

    pub(super) fn next(&mut self) -> Duration {
        if self.last.is_some_and(|last| last.elapsed() > Duration::from_secs(30)) {
            self.tries = 0;
        }
        self.last = Some(Instant::now());
        self.tries = (self.tries + 1).min(6);
        self.jitter = (self.jitter * 109 + 89) % 256; // takes all 256 values before one repeats
        Duration::from_millis(25 * (1 << self.tries) + self.jitter)
    }
}
