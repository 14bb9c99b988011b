//! Heartbeat over Postgres: registers the worker, then sends heartbeats from a separate thread with its own runtime and
//! connection.

use super::{Heart, Pulse, pulse};
use crate::config::WorkerConfig;
use crate::offer::Offers;
use orch_store::hint::{Hint, Hints};
use orch_store::locks::Locks;
use orch_store::version::Versions;
use orch_store::worker::{self, HeartbeatAnswer, NewWorker, WorkerState};
use orch_store::{StoreError, StoreResult, connect};
use sqlx::PgConnection;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) struct Heartbeat {
    worker: i32,
    thread: std::thread::JoinHandle<()>,
}

impl Heartbeat {
    /// Registers this worker with a new id and starts the heartbeat.
    pub(crate) async fn begin(
        config: &WorkerConfig,
        offers: &Offers,
        queues: &[i32],
        hints: &Hints,
    ) -> StoreResult<(Heartbeat, Pulse)> {
        let new = NewWorker {
            name: config.name.clone(),
            hostname: hostname(),
            pid: std::process::id(),
            bundle: offers.bundle().to_string(),
            binary_version: env!("CARGO_PKG_VERSION").to_string(),
            queues: queues.to_vec(),
            versions: offers.claimed(),
            slots: i32::try_from(config.slots).unwrap_or(i32::MAX),
            lease: config.lease,
        };
        let mut db = connect::one(&config.database_url, "orch worker heartbeat").await?;
        let began = Instant::now();
        let worker = worker::register_worker(&mut db, &new).await?;
        // Without this hint, schedulers could sleep past the end of the new lease.
        hints.give(Hint::Due);
        drop(db); // the thread's own runtime must own its connection
        let url = config.database_url.clone();
        let heart = PgHeart { url, lease: config.lease, worker, db: None, said_draining: false };
        let (pulse, beat) = pulse(heart, worker, config.lease, began, hints);
        let thread = std::thread::Builder::new()
            .name("orch-heartbeat".into())
            .spawn(move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(beat.beat()),
                Err(error) => tracing::error!(%error, "the heartbeat has no runtime"),
            })
            .map_err(|e| StoreError::from(sqlx::Error::Io(e)))?;
        Ok((Heartbeat { worker, thread }, pulse))
    }

    pub(crate) fn worker(&self) -> i32 {
        self.worker
    }

    /// Waits until the heartbeat has ended. `Pulse::end` must be called before.
    pub(crate) async fn ended(self) {
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the heartbeat thread panicked");
        }
    }
}

struct PgHeart {
    url: String,
    lease: Duration,
    worker: i32,
    /// Database connection. `None` after an error, because a broken connection must not be reused.
    db: Option<PgConnection>,
    said_draining: bool,
}

impl PgHeart {
    async fn connection(&mut self) -> StoreResult<PgConnection> {
        match self.db.take() {
            Some(connection) => Ok(connection),
            None => connect::one(&self.url, "orch worker heartbeat").await,
        }
    }
}

impl Heart for PgHeart {
    async fn beat(&mut self, running: usize, obeyed: &[Uuid], draining: bool) -> StoreResult<HeartbeatAnswer> {
        let mut db = self.connection().await?;
        if draining && !self.said_draining {
            worker::set_worker_state(&mut db, self.worker, WorkerState::Draining).await?;
            self.said_draining = true;
        }
        let running = i32::try_from(running).unwrap_or(i32::MAX);
        let answer = worker::heartbeat(&mut db, self.worker, running, self.lease, obeyed).await?;
        self.db = Some(db);
        Ok(answer)
    }

    async fn good_bye(&mut self) -> StoreResult<()> {
        let mut db = self.connection().await?;
        worker::release(&mut db, &Locks::begin().runs(), &mut Versions::default(), self.worker).await?;
        Ok(())
    }
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "localhost".into(), |name| name.trim().into())
}
