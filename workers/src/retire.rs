//! Retires a worker for a rollout of a new binary.
//!
//! A retiring worker leaves its versions to other workers that offer them, continues with runs whose version no other
//! worker offers, waits for its running attempts without a time limit, and stops. To roll out a new binary, start its
//! workers and then send SIGUSR1 to the old workers: no run changes its version, and no attempt is interrupted.

use crate::offer::Offers;
use orch_store::StoreResult;
use orch_store::hint::{Hint, Hints};
use orch_store::worker::{WorkerState, needed_versions, set_worker_state};
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Poll interval. A run that ends in this process triggers an earlier poll.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Waits for a request to retire, then retires this worker, whose database row is `worker`, and stops it.
pub(crate) async fn when_asked(
    cold: PgPool,
    offers: Arc<Offers>,
    worker: i32,
    (hints, stop): (Hints, CancellationToken),
) {
    offers.retiring().cancelled().await;
    tracing::info!("retiring: what another worker offers is left to it");
    let ended = hints.on(Hint::Run);
    loop {
        let woken = ended.notified();
        match keep_needed_versions(&cold, &offers, worker, &hints).await {
            // The worker claims no version any more, and all its attempts have ended.
            Ok(0) if offers.held() == 0 => break,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "what only this worker can run could not be asked"),
        }
        tokio::select! { () = woken => {}, () = tokio::time::sleep(LOOK_AGAIN) => {}, () = stop.cancelled() => return }
    }
    tracing::info!("retired: nothing is left that only this worker can run");
    stop.cancel();
}

/// Restricts claims to versions that no other worker offers. Returns the number of these versions.
async fn keep_needed_versions(cold: &PgPool, offers: &Offers, worker: i32, hints: &Hints) -> StoreResult<usize> {
    let mut db = cold.acquire().await?;
    // Mark this worker as draining before the query. Otherwise, two workers that retire at the same time could each
    // leave the same run to the other.
    set_worker_state(&mut db, worker, WorkerState::Draining).await?;
    let needed = needed_versions(&mut db, worker, &offers.ids()).await?;
    if offers.keep(needed.iter().copied().collect()) {
        // Wakes the main loop of this worker, which applies the change, and workers that offer the other versions.
        hints.give(Hint::Ready);
    }
    Ok(needed.len())
}
