//! The scheduler. Workers start the next tasks of a run themselves, without a scheduler. A scheduler creates scheduled
//! runs, wakes waiting tasks, recovers the work of lost workers and does maintenance. Any number can run in parallel.
//!
//! One loop, the lookout, polls the database every few seconds and wakes the other loops when they have work. Each
//! round of a loop is idempotent, starts from the state in the database and may be killed at any point.
#![warn(clippy::cast_possible_truncation)]

mod admit;
mod assets;
mod board;
mod config;
mod deadlines;
mod lookout;
mod mend;
mod pause;
mod retire;
mod rounds;
mod runs;
mod upkeep;
mod wake;

use async_recursion::async_recursion as boxed;
pub use config::SchedulerConfig;

use board::Board;
use orch_spec::metrics::Text;
use orch_store::StoreError;
use orch_store::hint::Hints;
use rounds::{Shared, drive};
use sqlx::PgPool;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The process must exit (exit code 70), and its supervisor must restart it.
    #[error("the scheduler's loop `{name}` has made no progress for {secs} s")]
    Stuck { name: &'static str, secs: u64 },
    #[error("the scheduler's loop `{name}` ended: {why}")]
    LoopEnded { name: &'static str, why: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Handle to the state of a scheduler's loops.
#[derive(Debug, Clone, Default)]
pub struct Loops(Arc<Board>);

impl Loops {
    pub fn tell(&self, text: &mut Text) {
        self.0.tell(text);
    }
}

#[derive(Debug)]
pub struct Scheduler;

impl Scheduler {
    /// Runs the loops until `stop` is cancelled. Retries during database outages; the process should exit on an error.
    #[boxed]
    pub async fn run_loops(
        config: SchedulerConfig,
        cold: PgPool,
        hints: Hints,
        stop: CancellationToken,
    ) -> Result<(), SchedulerError> {
        let board = config.loops.0.clone();
        let config = Arc::new(config);
        // Also cancelled when this future is dropped or a loop fails, so that no loop outlives it.
        let stop = stop.child_token();
        let _end = stop.clone().drop_guard();
        let shared = Shared { config: config.clone(), cold, hints, board: board.clone(), stop: stop.clone() };
        let mut loops: JoinSet<&'static str> = JoinSet::new();
        loops.spawn(lookout::run_lookout(shared.clone()));
        loops.spawn(drive(runs::TimeOut::default(), shared.clone()));
        loops.spawn(drive(runs::Create::default(), shared.clone()));
        loops.spawn(drive(runs::Start::default(), shared.clone()));
        loops.spawn(drive(runs::Pace::default(), shared.clone()));
        loops.spawn(assets::listen(shared.clone()));
        loops.spawn(drive(assets::Assets::default(), shared.clone()));
        loops.spawn(drive(wake::Wake, shared.clone()));
        loops.spawn(drive(admit::Admit::default(), shared.clone()));
        loops.spawn(drive(deadlines::Deadlines::default(), shared.clone()));
        loops.spawn(drive(mend::Mend::default(), shared.clone()));
        loops.spawn(retire::run_retire_loop(shared.clone()));
        loops.spawn(drive(upkeep::Upkeep::default(), shared));
        let result = tokio::select! {
            stuck = board.watch(config.stuck_after) => Err(stuck),
            ended = loops.join_next() => match ended {
                Some(Ok(_)) | None => Ok(()),
                Some(Err(error)) => Err(SchedulerError::LoopEnded { name: "unknown", why: error.to_string() }),
            },
        };
        if let Err(error) = &result {
            tracing::error!(%error, "the scheduler gives up");
        }
        stop.cancel();
        let farewell = async { while loops.join_next().await.is_some() {} };
        if tokio::time::timeout(config.farewell, farewell).await.is_err() {
            loops.abort_all();
        }
        result
    }
}
