//! Detects runs that missed a deadline, once per deadline, and records the alerts that their DAGs declare.

use crate::board::Board;
use crate::rounds::{RemainingWork, Shared, Work};
use orch_store::StoreResult;
use orch_store::audit::{Deed, record};
use orch_store::deadline::ring;
use orch_store::hint::Hint;
use orch_store::version::Versions;
use sqlx::postgres::PgConnection;
use tokio::sync::Notify;

/// Maximum number of deadlines that one transaction processes.
const BATCH: i64 = 200;

#[derive(Default)]
pub(crate) struct Deadlines {
    versions: Versions,
}

impl Work for Deadlines {
    const NAME: &'static str = "deadlines";

    fn called(board: &Board) -> &Notify {
        &board.deadlines
    }

    async fn round(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<RemainingWork> {
        let rung = ring(db, &self.versions, BATCH).await?;
        for (dag_id, run_id) in &rung.missed {
            tracing::warn!(dag.name = dag_id, run.id = run_id, "a run is not over in time");
            let (dag_id, run_id) = (Some(dag_id.as_str()), Some(run_id.as_str()));
            record(db, &Deed { actor: "scheduler", event: "deadline_missed", dag_id, run_id, ..Deed::default() })
                .await?;
        }
        if !rung.missed.is_empty() {
            shared.hints.give(Hint::Alert);
        }
        // This round has computed the deadlines of newly started runs, which may be due before the next poll.
        shared.board.look.notify_one();
        Ok(if rung.looked as i64 == BATCH { RemainingWork::More } else { RemainingWork::Nothing })
    }
}
