//! The scheduler: it reaps lost workers, sweeps orphans, folds for dead workers, wakes waiting tries, admits tries at
//! gates and starts queued runs. The loop is as simple as possible; each statement may fail, and the scheduler may
//! die at any of them.

use crate::database::{Session, pause};
use crate::rng::Rng;
use crate::store::{MemStore, Turn};
use orch_store::StoreResult;
use orch_store::hint::{Hint, Hints};
use orch_store::hot::Hot;
use orch_store::refold::Keep;
use std::time::Duration;
use uuid::Uuid;

/// Range of the pause between two rounds.
const ROUND_MS: (u64, u64) = (200, 300);
/// Age at which the scheduler folds an outcome. Live workers fold earlier.
const LEFT_FOR: Duration = Duration::from_millis(300);
/// Worker id of a scheduler, which is not a worker.
const NOBODY: i32 = 0;

/// Runs rounds until it is killed.
pub(crate) async fn scheduler(session: Session, dags: Vec<String>, hints: Hints, mut rng: Rng) {
    loop {
        pause(rng.millis(ROUND_MS.0, ROUND_MS.1)).await;
        if let Err(error) = round(&session, &dags, &hints).await {
            session.db.with(|s| s.say(&session.who, format_args!("a round failed: {error}")));
        }
    }
}

async fn round(session: &Session, dags: &[String], hints: &Hints) -> StoreResult<()> {
    let mut store = MemStore { session: session.clone() };
    if session.wake_waiting().await? > 0 {
        hints.give(Hint::Ready);
    }
    let mut left: Vec<Uuid> = Vec::new();
    for taken in [session.reap().await?, session.sweep_orphans().await?].into_iter().flatten() {
        left.extend(taken);
        hints.give(Hint::Ready);
    }
    left.extend(session.left_unfolded(LEFT_FOR).await?);
    for run in left {
        if store.fold_run(run, NOBODY, Keep::NOTHING).await?.is_some_and(|folded| folded.queued) {
            hints.give(Hint::Ready);
        }
    }
    if session.admit(Turn::Try).await? > 0 {
        hints.give(Hint::Ready);
    }
    for dag in dags {
        if store.start_queued_runs(dag).await? > 0 {
            hints.give(Hint::Ready);
        }
    }
    Ok(())
}
