//! Makes task instances claimable when their wait time ends: retries, and sensors between two pokes.

use crate::board::Board;
use crate::rounds::{RemainingWork, Shared, Work};
use orch_store::StoreResult;
use orch_store::due::wake_waiting;
use orch_store::hint::Hint;
use sqlx::postgres::PgConnection;
use tokio::sync::Notify;

/// Maximum number of rows per statement. A statement of this size takes about 10 ms.
const BATCH: i64 = 1_000;

pub(crate) struct Wake;

impl Work for Wake {
    const NAME: &'static str = "wake";

    fn called(board: &Board) -> &Notify {
        &board.wake
    }

    async fn round(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<RemainingWork> {
        let woken = wake_waiting(db, BATCH).await?;
        if woken > 0 {
            shared.hints.give(Hint::Ready);
            shared.board.look.notify_one();
        }
        Ok(if woken == BATCH as u64 { RemainingWork::More } else { RemainingWork::Nothing })
    }
}
