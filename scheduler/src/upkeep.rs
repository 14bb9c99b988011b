//! Maintenance on which no task depends: orphaned rows, stale DAGs, runs without a worker, partitions, retention
//! passes, and warnings. Each duty runs at most once per interval across all schedulers.

use crate::board::Board;
use crate::mend::fold;
use crate::rounds::{RemainingWork, Shared, Work, item};
use orch_store::audit::{Deed, record};
use orch_store::clean::pass_due;
use orch_store::due::{mark_stale_dags, queued_too_long, stranded_runs};
use orch_store::duty::duty_due;
use orch_store::hint::Hint;
use orch_store::locks::Locks;
use orch_store::run::{MoveRun, move_run};
use orch_store::version::Versions;
use orch_store::worker::{forget_gone, sweep_orphans};
use orch_store::{StoreResult, partition, process};
use serde_json::json;
use sqlx::postgres::PgConnection;
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::Notify;
use uuid::Uuid;

/// Maximum number of runs that one round moves to another version.
const MOST_MOVES: i64 = 200;
const RETENTION_EVERY: Duration = Duration::from_hours(1);
/// Maximum size of `Upkeep::named`. When full, the set is cleared, so runs may then be logged again.
const MOST_NAMED: usize = 10_000;

#[derive(Default)]
pub(crate) struct Upkeep {
    versions: Versions,
    /// Runs that cannot be moved to another version and have been logged. Prevents logging them again.
    named: HashSet<Uuid>,
}

impl Work for Upkeep {
    const NAME: &'static str = "upkeep";

    fn called(board: &Board) -> &Notify {
        &board.upkeep
    }

    async fn round(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<RemainingWork> {
        // Slightly shorter than the interval of the calls. Otherwise, every second call would come too early.
        let every = shared.config.upkeep_every.mul_f64(0.9);
        if duty_due(db, "upkeep", every).await? {
            self.orphans(db, shared).await?;
            if shared.board.may_mark_stale() {
                self.stale(db, shared).await?;
            }
            warn_queued(db, shared).await?;
        }
        let is_turn = duty_due(db, "retention", RETENTION_EVERY).await?;
        if is_turn {
            partition::make_ahead(db).await?;
            forget_gone(db).await?;
            process::forget_silent(db).await?;
        }
        // Start a retention pass early if the last one failed or never recorded its end.
        if is_turn || pass_due(db).await? {
            shared.board.retire.notify_one();
        }
        Ok(RemainingWork::Nothing)
    }
}

impl Upkeep {
    async fn orphans(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<()> {
        let found = sweep_orphans(db, &Locks::begin().runs(), &mut self.versions).await?;
        for run in found.unfolded {
            fold(db, &mut self.versions, shared, run).await?;
        }
        if found.requeued > 0 {
            tracing::warn!(requeued = found.requeued, workers = ?found.workers, "instances of lost workers were found");
            shared.hints.give(Hint::Ready);
        }
        Ok(())
    }

    async fn stale(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<()> {
        let after = shared.config.stale_after;
        let stale = mark_stale_dags(db, after).await?;
        if stale > 0 {
            tracing::warn!(dags = stale, "no worker offers some DAGs any more: their schedules rest");
        }
        let locks = Locks::begin().runs();
        for stranded in stranded_runs(db, after, MOST_MOVES).await? {
            let work = move_run(db, &locks, &mut self.versions, stranded.run, stranded.newest);
            match item("move a run", &stranded.run, work).await? {
                Some(MoveRun::Moved) => {
                    tracing::info!(
                        dag.name = stranded.dag_id,
                        run.id = stranded.run_id,
                        "no worker offers the run's version any more: it continues in the newest"
                    );
                    shared.hints.give(Hint::Ready);
                    let deed = Deed {
                        actor: "scheduler",
                        event: "move_dag_run",
                        dag_id: Some(&stranded.dag_id),
                        run_id: Some(&stranded.run_id),
                        extra: Some(json!({ "because": "no worker offers the version it was of" })),
                        ..Deed::default()
                    };
                    record(db, &deed).await?;
                }
                Some(MoveRun::CannotMove(why)) => self.name(&stranded.dag_id, &stranded.run_id, stranded.run, &why),
                _ => {}
            }
        }
        Ok(())
    }

    fn name(&mut self, dag_id: &str, run_id: &str, run: Uuid, why: &dyn std::fmt::Display) {
        if self.named.len() >= MOST_NAMED {
            self.named.clear();
        }
        if self.named.insert(run) {
            tracing::warn!(
                dag.name = dag_id,
                run.id = run_id,
                "no worker offers the run's version any more and it cannot continue in the newest: {why}\n\
                 hint: start a worker of the old version, or `orch runs move {run_id} --to latest`"
            );
        }
    }
}

async fn warn_queued(db: &mut PgConnection, shared: &Shared) -> StoreResult<()> {
    if let Some((tries, oldest)) = queued_too_long(db, shared.config.queued_too_long).await? {
        tracing::warn!(
            tries,
            %oldest,
            "tries are queued and no worker claims them\nhint: is a worker of their queue running? `orch doctor` says"
        );
    }
    Ok(())
}
