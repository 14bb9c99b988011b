//! The connection is gone, or the database took a statement back, and nobody knows what was carried out. The lease holds,
//! so this worker is still itself and its bodies run on: on a new connection it says again what ended, which counts once,
//! and lets go of what it was given without hearing so.

use super::{Driver, sleep_until};
use crate::heartbeat::Pulse;
use orch_store::hot::Hot;
use orch_store::{StoreError, StoreResult};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

impl<S: Hot> Driver<S> {
    /// Returns when the database answers again. Whoever waits here too long is stopped by the pulse.
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
        // Recorded now or then, it may not be folded yet.
        self.unfolded.extend(runs);
        self.lanes.expect_more();
        Ok(())
    }
}

/// Pauses between tries to reach the database: longer each time, never in step with other workers.
pub(super) struct Backoff {
    tries: u32,
    last: Option<Instant>,
    /// Each worker's own.
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
        self.jitter = (self.jitter * 109 + 89) % 256; // each value once before any comes again
        Duration::from_millis(25 * (1 << self.tries) + self.jitter)
    }
}
