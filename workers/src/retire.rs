//! A worker steps back for others: from then on it leaves what another one offers to it, goes on with the runs whose version
//! nobody else has, lets what it runs end however long that takes, and then stops. Whoever rolls out a new binary starts its
//! workers first and asks the old ones for this (SIGUSR1): no run changes its version, and none is cut short.

use crate::offer::Offers;
use orch_store::StoreResult;
use orch_store::hint::{Hint, Hints};
use orch_store::worker::{WorkerState, needed_versions, set_worker_state};
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The end of a run wakes it sooner, but only where that run ended in this process.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Waits until it is asked, then retires the worker that is registered as `worker`, and stops it.
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
            // Nothing is claimed any more, and what was claimed has ended.
            Ok(0) if offers.held() == 0 => break,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "what only this worker can run could not be asked"),
        }
        tokio::select! { () = woken => {}, () = tokio::time::sleep(LOOK_AGAIN) => {}, () = stop.cancelled() => return }
    }
    tracing::info!("retired: nothing is left that only this worker can run");
    stop.cancel();
}

/// How many versions are still its own.
async fn keep_needed_versions(cold: &PgPool, offers: &Offers, worker: i32, hints: &Hints) -> StoreResult<usize> {
    let mut db = cold.acquire().await?;
    // First, so that two that retire at once do not leave a run to each other.
    set_worker_state(&mut db, worker, WorkerState::Draining).await?;
    let needed = needed_versions(&mut db, worker, &offers.ids()).await?;
    if offers.keep(needed.iter().copied().collect()) {
        // The driver takes it up, and whoever has the rest looks for it.
        hints.give(Hint::Ready);
    }
    Ok(needed.len())
}
