//! Completes work that other processes left unfinished: outcomes that were not folded (applied to their runs), task
//! instances of lost workers, and rows of skipped task instances.

use crate::board::Board;
use crate::rounds::{RemainingWork, Shared, Work, item};
use orch_store::StoreResult;
use orch_store::hint::Hint;
use orch_store::locks::Locks;
use orch_store::refold::{Keep, fold_run};
use orch_store::run::{start_queued_runs, write_skipped};
use orch_store::run_lock::left_unfolded;
use orch_store::step::Stepper;
use orch_store::version::Versions;
use orch_store::worker::{Reaped, reap_since};
use sqlx::postgres::PgConnection;
use tokio::sync::Notify;
use uuid::Uuid;

/// Maximum number of runs that one round folds.
const BATCH: i64 = 100;

#[derive(Default)]
pub(crate) struct Mend {
    versions: Versions,
}

impl Work for Mend {
    const NAME: &'static str = "mend";

    fn called(board: &Board) -> &Notify {
        &board.mend
    }

    async fn round(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<RemainingWork> {
        if let Some(awake_since) = shared.board.awake_since() {
            let reaped = reap_since(db, &Locks::begin().runs(), &mut self.versions, awake_since).await?;
            if !reaped.workers.is_empty() {
                tracing::warn!(
                    workers = ?reaped.workers,
                    requeued = reaped.requeued,
                    "workers are lost, what they ran is run again"
                );
            }
            self.after(db, shared, reaped).await?;
        }
        let left = left_unfolded(db, shared.config.fold_after, BATCH).await?;
        for &run in &left {
            fold(db, &mut self.versions, shared, run).await?;
        }
        if !left.is_empty() {
            shared.board.look.notify_one();
        }
        Ok(if write_skipped(db).await? { RemainingWork::More } else { RemainingWork::Nothing })
    }
}

impl Mend {
    async fn after(&mut self, db: &mut PgConnection, shared: &Shared, reaped: Reaped) -> StoreResult<()> {
        for run in reaped.unfolded {
            fold(db, &mut self.versions, shared, run).await?;
        }
        if reaped.requeued > 0 {
            shared.hints.give(Hint::Ready);
            shared.board.look.notify_one();
        }
        Ok(())
    }
}

/// Folds the recorded outcomes of a run as a worker would. Starts queued runs of its DAG if the run has finished.
pub(crate) async fn fold(
    db: &mut PgConnection,
    versions: &mut Versions,
    shared: &Shared,
    run: Uuid,
) -> StoreResult<()> {
    // Worker ids start above 0, so no attempt is reserved for a worker: every attempt that becomes ready is queued.
    let (mut stepper, locks) = (Stepper::default(), Locks::begin().runs());
    let folding = fold_run(db, &locks, &mut stepper, versions, run, 0, Keep::NOTHING);
    let Some(Some(folded)) = item("fold a run", &run, folding).await? else { return Ok(()) };
    if folded.queued {
        shared.hints.give(Hint::Ready);
    }
    if folded.moved && folded.ledger.state.is_finished() {
        let dag_id = folded.version.dag_id.clone();
        let started = item("begin runs", &dag_id, start_queued_runs(db, Locks::begin(), versions, &dag_id)).await?;
        if started.is_some_and(|started| !started.is_empty()) {
            shared.hints.give(Hint::Ready);
        }
        shared.hints.give(Hint::Run);
    }
    Ok(())
}
