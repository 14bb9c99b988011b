//! Processes asset events: notifies the DAGs that wait for them, creates the runs that they trigger, marks stale
//! assets, and records alerts for stale assets and failed checks.
//!
//! A hint (a NOTIFY wake-up signal) starts a round within milliseconds of an event. The scheduler's poll also starts a
//! round when it finds due work.

use crate::board::Board;
use crate::rounds::{RemainingWork, Shared, Work, item};
use orch_store::StoreResult;
use orch_store::alert::{tell_of_checks, tell_of_stale};
use orch_store::asset::{begin_triggered_runs, dags_to_ask, distribute};
use orch_store::audit::{Deed, record};
use orch_store::hint::Hint;
use orch_store::locks::Locks;
use orch_store::version::Versions;
use serde_json::json;
use sqlx::postgres::PgConnection;
use tokio::sync::Notify;

/// Maximum number of asset events per transaction.
const EVENTS: i64 = 1_000;
/// Maximum number of items per round, separately for checked DAGs, stale assets and failed checks.
const BATCH: i64 = 200;

#[derive(Default)]
pub(crate) struct Assets {
    versions: Versions,
}

impl Work for Assets {
    const NAME: &'static str = "assets";

    fn called(board: &Board) -> &Notify {
        &board.assets
    }

    async fn round(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<RemainingWork> {
        let distributed = distribute(db, EVENTS).await?;
        let begun = self.begin(db, shared).await?;
        let failed = tell_of_checks(db, &self.versions, BATCH).await?;
        if self.stale(db).await? + failed > 0 {
            shared.hints.give(Hint::Alert);
        }
        if begun > 0 {
            shared.board.look.notify_one();
        }
        Ok(if distributed as i64 == EVENTS { RemainingWork::More } else { RemainingWork::Nothing })
    }
}

impl Assets {
    async fn begin(&mut self, db: &mut PgConnection, shared: &Shared) -> StoreResult<usize> {
        let mut many = 0;
        for dag_id in dags_to_ask(db, BATCH).await? {
            let work = begin_triggered_runs(db, Locks::begin(), &mut self.versions, &dag_id);
            let Some(begun) = item("begin runs by assets", &dag_id, work).await? else { continue };
            if begun.iter().any(|run| run.started) {
                shared.hints.give(Hint::Ready);
            }
            if !begun.is_empty() {
                shared.hints.give(Hint::Run);
            }
            many += begun.len();
        }
        Ok(many)
    }

    async fn stale(&self, db: &mut PgConnection) -> StoreResult<usize> {
        let marked = tell_of_stale(db, &self.versions, BATCH).await?;
        for asset in &marked {
            let last = asset.last_event_at.map_or_else(|| "never".into(), |at| at.to_rfc3339());
            tracing::warn!(asset.uri = asset.uri, since = %asset.since, last, "asset `{}` is stale", asset.name);
            let extra = json!({ "uri": asset.uri, "since": asset.since, "last_event": asset.last_event_at });
            record(db, &Deed { actor: "scheduler", event: "asset_stale", extra: Some(extra), ..Deed::default() })
                .await?;
        }
        Ok(marked.len())
    }
}

/// Wakes the loop on each asset hint, so that events do not wait for the next poll.
pub(crate) async fn listen(shared: Shared) -> &'static str {
    let mut hinted = shared.hints.on(Hint::Asset).notified();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return Assets::NAME,
            () = hinted => {}
        }
        // Armed before the loop is woken, so that a hint during its round is not lost.
        hinted = shared.hints.on(Hint::Asset).notified();
        shared.board.assets.notify_one();
    }
}
