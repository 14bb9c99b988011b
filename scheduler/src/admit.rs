//! Admits waiting task instances to free slots when no other process does it: after a process has freed slots and died,
//! when a rate limit admits the next task, when a pool is enlarged, and when a user sets the state of a run that a
//! waiting run depends on.

use crate::board::Board;
use crate::rounds::{RemainingWork, Shared, Work};
use orch_store::StoreResult;
use orch_store::admission::admit_and_recount;
use orch_store::hint::Hint;
use orch_store::locks::Locks;
use orch_store::version::Versions;
use sqlx::postgres::PgConnection;
use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct Admit {
    versions: Versions,
}

impl Work for Admit {
    const NAME: &'static str = "admit";

    fn called(board: &Board) -> &Notify {
        &board.admit
    }

    async fn round(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<RemainingWork> {
        let admitted = admit_and_recount(db, &Locks::begin().slots(), &self.versions).await?;
        if admitted.many > 0 {
            shared.hints.give(Hint::Ready);
        }
        shared.board.set_gate_opens(admitted.again_in);
        Ok(RemainingWork::Nothing)
    }
}
