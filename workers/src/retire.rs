//! Retiring a worker: it leaves its versions to other workers that offer them, continues with the runs whose version no
//! other worker has, waits for its running attempts without a time limit, and stops. To roll out a new binary, start
//! its workers and then send SIGUSR1 to the old ones: no run changes its version, and no attempt is cut short.

use crate::offer::Offers;
use orch_store::StoreResult;
use orch_store::hint::{Hint, Hints};
use orch_store::worker::{WorkerState, needed_versions, set_worker_state};
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Poll interval. The end of a run triggers a poll earlier, but only if the run ended in this process.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Waits for a request to retire, then retires the worker that is registered as `worker`, and stops it.
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
            // Nothing is claimed any more, and all claimed attempts have ended.
            Ok(0) if offers.held() == 0 => break,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "what only this worker can run could not be asked"),
        }
        tokio::select! { () = woken => {}, () = tokio::time::sleep(LOOK_AGAIN) => {}, () = stop.cancelled() => return }
    }
    tracing::info!("retired: nothing is left that only this worker can run");
    stop.cancel();
}

/// Limits the claims to versions that no other worker offers, and returns their number.
async fn keep_needed_versions(cold: &PgPool, offers: &Offers, worker: i32, hints: &Hints) -> StoreResult<usize> {
    let mut db = cold.acquire().await?;
    // Drain before the query, or two workers that retire at the same time would leave the same run to each other.
    set_worker_state(&mut db, worker, WorkerState::Draining).await?;
    let needed = needed_versions(&mut db, worker, &offers.ids()).await?;
    if offers.keep(needed.iter().copied().collect()) {
        // Wakes this driver, which applies the change, and the workers that offer the other versions.
        hints.give(Hint::Ready);
    }
    Ok(needed.len())
}
