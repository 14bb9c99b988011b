//! The scheduler. Workers start the next tasks of a run themselves. A scheduler creates scheduled runs, wakes waiting
//! tasks, recovers the work of lost workers and does maintenance. Any number of schedulers can run concurrently.
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
use rounds::{Shared, Work as _, drive};
use sqlx::PgPool;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// A loop is stuck. The process must exit with code 70 so that its service manager restarts it.
    #[error("the scheduler's loop `{name}` has made no progress for {secs} s")]
    Stuck { name: &'static str, secs: u64 },
    #[error("the scheduler's loop `{name}` ended: {why}")]
    LoopEnded { name: &'static str, why: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Handle for reading the state of a scheduler's loops.
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
    /// Runs the loops until `stop` is cancelled. Retries after database outages. If it returns an error, the process
    /// should exit.
    #[boxed]
    pub async fn run_loops(
        config: SchedulerConfig,
        cold: PgPool,
        hints: Hints,
        stop: CancellationToken,
    ) -> Result<(), SchedulerError> {
        let board = config.loops.0.clone();
        let config = Arc::new(config);
        // Cancelled also when this future is dropped or a loop fails, so that no loop outlives this function.
        let stop = stop.child_token();
        let _end = stop.clone().drop_guard();
        let shared = Shared { config: config.clone(), cold, hints, board: board.clone(), stop: stop.clone() };
        let mut loops = LoopSet::default();
        loops.spawn("lookout", lookout::run_lookout(shared.clone()));
        loops.spawn(runs::TimeOut::NAME, drive(runs::TimeOut::default(), shared.clone()));
        loops.spawn(runs::Create::NAME, drive(runs::Create::default(), shared.clone()));
        loops.spawn(runs::Start::NAME, drive(runs::Start::default(), shared.clone()));
        loops.spawn(runs::Pace::NAME, drive(runs::Pace::default(), shared.clone()));
        loops.spawn("asset hints", assets::listen(shared.clone()));
        loops.spawn(assets::Assets::NAME, drive(assets::Assets::default(), shared.clone()));
        loops.spawn(wake::Wake::NAME, drive(wake::Wake, shared.clone()));
        loops.spawn(admit::Admit::NAME, drive(admit::Admit::default(), shared.clone()));
        loops.spawn(deadlines::Deadlines::NAME, drive(deadlines::Deadlines::default(), shared.clone()));
        loops.spawn(mend::Mend::NAME, drive(mend::Mend::default(), shared.clone()));
        loops.spawn("retire", retire::run_retire_loop(shared.clone()));
        loops.spawn(upkeep::Upkeep::NAME, drive(upkeep::Upkeep::default(), shared));
        let result = tokio::select! {
            stuck = board.watch(config.stuck_after) => Err(stuck),
            ended = loops.wait_for_end() => ended,
        };
        if let Err(error) = &result {
            tracing::error!(%error, "the scheduler gives up");
        }
        stop.cancel();
        let farewell = async { while loops.running.join_next().await.is_some() {} };
        if tokio::time::timeout(config.farewell, farewell).await.is_err() {
            loops.running.abort_all();
        }
        result
    }
}

/// The running loops of a scheduler. Tokio reports a panic only with the task id, so the names are stored by task id.
#[derive(Debug, Default)]
struct LoopSet {
    running: JoinSet<&'static str>,
    names: HashMap<Id, &'static str>,
}

impl LoopSet {
    fn spawn(&mut self, name: &'static str, work: impl Future<Output = &'static str> + Send + 'static) {
        let id = self.running.spawn(work).id();
        self.names.insert(id, name);
    }

    /// Waits until any loop ends.
    ///
    /// # Errors
    /// Returns `SchedulerError::LoopEnded` if the loop panicked.
    async fn wait_for_end(&mut self) -> Result<(), SchedulerError> {
        match self.running.join_next().await {
            Some(Ok(_)) | None => Ok(()),
            Some(Err(error)) => {
                let name = self.names.get(&error.id()).copied().unwrap_or("unknown");
                Err(SchedulerError::LoopEnded { name, why: error.to_string() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn broken() -> &'static str {
        tokio::task::yield_now().await;
        panic!("out of range")
    }

    #[tokio::test]
    async fn the_error_names_the_loop_that_panicked() {
        let mut loops = LoopSet::default();
        loops.spawn("lookout", std::future::pending::<&'static str>());
        loops.spawn("mend", broken());
        let error = loops.wait_for_end().await.unwrap_err().to_string();
        assert!(error.starts_with("the scheduler's loop `mend` ended: "), "{error}");
        assert!(error.contains("out of range"), "{error}");
    }
}
