//! Creates the runs that schedules and backfills ask for, begins those that wait for a place, ends those whose time is
//! over.

use crate::board::Board;
use crate::rounds::{RemainingWork, Shared, Work, item};
use orch_store::StoreResult;
use orch_store::backfill::{due_backfills, pace};
use orch_store::dag::pause_after_failures;
use orch_store::due::{create_due_runs, dags_with_room, due_dags, timed_out_runs};
use orch_store::hint::Hint;
use orch_store::run::{EndRun, start_queued_runs, time_out_run};
use orch_store::version::Versions;
use sqlx::postgres::PgConnection;
use tokio::sync::Notify;

/// DAGs, or runs to end, in one round.
const BATCH: i64 = 200;
/// Runs created for one DAG before the others have their turn: a backlog of years does not keep them waiting.
const MOST_OF_ONE: usize = 32;
/// Dates of one backfill in one transaction, which holds the row of its DAG.
const MOST_DATES: i64 = 32;

#[derive(Default)]
pub(crate) struct Runs {
    versions: Versions,
}

impl Work for Runs {
    const NAME: &'static str = "runs";

    fn called(board: &Board) -> &Notify {
        &board.runs
    }

    async fn round(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<RemainingWork> {
        let ended = self.end(db, shared).await?;
        let created = self.create(db, shared).await?;
        let started = self.start(db, shared).await?;
        let paced = self.pace(db, shared).await?;
        if ended + created + started + paced > 0 {
            shared.board.look.notify_one();
        }
        // What is left is due still, so the lookout calls again at once.
        Ok(RemainingWork::Nothing)
    }
}

impl Runs {
    async fn create(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<usize> {
        let mut many = 0;
        for dag_id in due_dags(db, BATCH).await? {
            let work = create_due_runs(db, &mut self.versions, &dag_id, MOST_OF_ONE);
            let Some(created) = item("create runs", &dag_id, work).await? else { continue };
            many += created.len();
            if created.iter().any(|run| run.stopping) {
                shared.hints.give(Hint::Stop);
            }
            if created.iter().any(|run| run.started) {
                shared.hints.give(Hint::Ready);
            }
            if !created.is_empty() {
                shared.hints.give(Hint::Run);
            }
        }
        Ok(many)
    }

    async fn pace(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<usize> {
        let mut many = 0;
        for id in due_backfills(db, BATCH).await? {
            let work = pace(db, &mut self.versions, id, MOST_DATES);
            let Some(paced) = item("carry a backfill on", &id, work).await? else { continue };
            if paced.runs > 0 {
                shared.hints.give(Hint::Ready);
                shared.hints.give(Hint::Run);
            }
            if paced.completed {
                tracing::info!(backfill.id = id, "a backfill is over");
            }
            many += paced.runs + paced.skipped;
        }
        Ok(many)
    }

    async fn start(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<usize> {
        let mut many = 0;
        for dag_id in dags_with_room(db, BATCH).await? {
            let work = start_queued_runs(db, &mut self.versions, &dag_id);
            let Some(started) = item("begin runs", &dag_id, work).await? else { continue };
            if !started.is_empty() {
                shared.hints.give(Hint::Ready);
                shared.hints.give(Hint::Run);
            }
            many += started.len();
        }
        Ok(many)
    }

    async fn end(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<usize> {
        let mut many = 0;
        for (run, dag_id) in timed_out_runs(db, BATCH).await? {
            let work = time_out_run(db, &mut self.versions, run);
            if let Some(EndRun::Ended(_)) = item("end a run out of time", &run, work).await? {
                tracing::info!(run.id = %run, dag.name = dag_id, "a run is out of time");
                pause_after_failures(db, &dag_id).await?;
                shared.hints.give(Hint::Stop);
                shared.hints.give(Hint::Run);
                many += 1;
            }
        }
        Ok(many)
    }
}
