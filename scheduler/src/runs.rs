//! Creates scheduled runs and backfill runs, starts queued runs, and ends runs that timed out. Each duty is a loop with
//! its own connection and time limit, so that a backlog in one does not delay the others.

use crate::board::Board;
use crate::rounds::{RemainingWork, Shared, Work, item};
use orch_store::StoreResult;
use orch_store::backfill::{due_backfills, pace};
use orch_store::due::{create_due_runs, dags_with_room, due_dags, timed_out_runs};
use orch_store::hint::Hint;
use orch_store::locks::Locks;
use orch_store::run::{EndRun, start_queued_runs, time_out_run};
use orch_store::version::Versions;
use sqlx::postgres::PgConnection;
use tokio::sync::Notify;

/// Maximum number of DAGs, backfills or runs that one round processes.
const BATCH: i64 = 200;
/// Maximum number of runs that one round creates for a DAG, so that a backlog of years does not delay other DAGs.
const MOST_OF_ONE: usize = 32;
/// Maximum number of dates of a backfill that one transaction processes, because it locks the row of the DAG.
const MOST_DATES: i64 = 32;

#[derive(Default)]
pub(crate) struct TimeOut {
    versions: Versions,
}

#[derive(Default)]
pub(crate) struct Create {
    versions: Versions,
}

#[derive(Default)]
pub(crate) struct Start {
    versions: Versions,
}

/// Loop that creates the next runs of backfills.
#[derive(Default)]
pub(crate) struct Pace {
    versions: Versions,
}

/// Wakes the scheduler's poll if this round changed runs, because further runs may now be due.
fn look_again(many: usize, shared: &Shared) -> RemainingWork {
    if many > 0 {
        shared.board.look.notify_one();
    }
    RemainingWork::Nothing
}

impl Work for TimeOut {
    const NAME: &'static str = "time out runs";

    fn called(board: &Board) -> &Notify {
        &board.time_out
    }

    async fn round(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<RemainingWork> {
        let (mut many, locks) = (0, Locks::begin().runs());
        for (run, dag_id) in timed_out_runs(db, BATCH).await? {
            let work = time_out_run(db, &locks, &mut self.versions, run);
            if let Some(EndRun::Ended(_)) = item("end a run out of time", &run, work).await? {
                tracing::info!(run.id = %run, dag.name = dag_id, "a run is out of time");
                shared.hints.give(Hint::Stop);
                shared.hints.give(Hint::Run);
                many += 1;
            }
        }
        Ok(look_again(many, shared))
    }
}

impl Work for Create {
    const NAME: &'static str = "create runs";

    fn called(board: &Board) -> &Notify {
        &board.create
    }

    async fn round(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<RemainingWork> {
        let mut many = 0;
        for dag_id in due_dags(db, BATCH).await? {
            let work = create_due_runs(db, Locks::begin(), &mut self.versions, &dag_id, MOST_OF_ONE);
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
        Ok(look_again(many, shared))
    }
}

impl Work for Start {
    const NAME: &'static str = "start runs";

    fn called(board: &Board) -> &Notify {
        &board.start
    }

    async fn round(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<RemainingWork> {
        let mut many = 0;
        for dag_id in dags_with_room(db, BATCH).await? {
            let work = start_queued_runs(db, Locks::begin(), &mut self.versions, &dag_id);
            let Some(started) = item("begin runs", &dag_id, work).await? else { continue };
            if !started.is_empty() {
                shared.hints.give(Hint::Ready);
                shared.hints.give(Hint::Run);
            }
            many += started.len();
        }
        Ok(look_again(many, shared))
    }
}

impl Work for Pace {
    const NAME: &'static str = "pace backfills";

    fn called(board: &Board) -> &Notify {
        &board.pace
    }

    async fn round(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<RemainingWork> {
        let mut many = 0;
        for id in due_backfills(db, BATCH).await? {
            let work = pace(db, Locks::begin(), &mut self.versions, id, MOST_DATES);
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
        Ok(look_again(many, shared))
    }
}
