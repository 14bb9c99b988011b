//! The worker's pulse: on a thread, a runtime and a connection of its own, so that nothing a body does can stop it.
//!
//! Before the database could call this worker lost, the worker itself stops: when no beat has succeeded for most of a
//! lease by the monotonic clock, its bodies are ended. Whoever takes their work over may start at once.

use crate::config::WorkerConfig;
use crate::offer::Offers;
use orch_store::worker::{self, NewWorker, StopOrder, WorkerState};
use orch_store::{StoreError, StoreResult, connect};
use sqlx::PgConnection;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Share of the lease after which a worker that cannot reach the database stops itself.
const FENCE_AT: f64 = 0.8;

/// What the driver hears from the heartbeat.
pub(crate) struct Pulse {
    orders: mpsc::UnboundedReceiver<StoreResult<Vec<StopOrder>>>,
    told: watch::Sender<Told>,
    running: Arc<AtomicUsize>,
}

/// The heartbeat's handle.
pub(crate) struct Heartbeat {
    worker: i32,
    told: watch::Sender<Told>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Run,
    Drain,
    /// Release what is left and say good-bye; `true`: cleanly, nothing runs here any more.
    End,
}

impl Heartbeat {
    /// Registers a new incarnation of this worker and begins to beat.
    pub(crate) async fn begin(
        config: &WorkerConfig,
        offers: &Offers,
        queues: &[i32],
    ) -> StoreResult<(Heartbeat, Pulse)> {
        let new = NewWorker {
            name: config.name.clone(),
            hostname: hostname(),
            pid: i32::try_from(std::process::id()).unwrap_or(0),
            bundle: offers.bundle().to_string(),
            binary_version: env!("CARGO_PKG_VERSION").to_string(),
            queues: queues.to_vec(),
            versions: offers.ids(),
            slots: i32::try_from(config.slots).unwrap_or(i32::MAX),
        };
        let mut db = connect::one(&config.database_url, "orch worker heartbeat").await?;
        let began = Instant::now();
        let id = worker::register_worker(&mut db, &new, config.lease).await?;
        drop(db); // the thread's own runtime has to own its connection
        let (told, hears) = watch::channel(Told::Run);
        let (say, orders) = mpsc::unbounded_channel();
        let running = Arc::new(AtomicUsize::new(0));
        let beat = Beat {
            url: config.database_url.clone(),
            lease: config.lease,
            worker: id,
            began,
            say,
            running: running.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("orch-heartbeat".into())
            .spawn(move || beat.run(hears))
            .map_err(|e| StoreError::from(sqlx::Error::Io(e)))?;
        let heartbeat = Heartbeat { worker: id, told: told.clone(), thread: Some(thread) };
        Ok((heartbeat, Pulse { orders, told, running }))
    }

    pub(crate) fn worker(&self) -> i32 {
        self.worker
    }

    /// Says good-bye: what this worker still held goes back at once instead of after a lease.
    pub(crate) async fn end(mut self) {
        self.told.send_replace(Told::End);
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the heartbeat thread panicked");
            }
        }
    }
}

impl Pulse {
    /// Orders to stop single tries; an error when this worker may not go on.
    pub(crate) async fn next(&mut self) -> StoreResult<Vec<StopOrder>> {
        self.orders.recv().await.unwrap_or(Err(StoreError::WorkerLost))
    }

    pub(crate) fn try_next(&mut self) -> Option<StoreResult<Vec<StopOrder>>> {
        self.orders.try_recv().ok()
    }

    pub(crate) fn draining(&self) {
        self.told.send_if_modified(|told| std::mem::replace(told, Told::Drain) == Told::Run);
    }

    /// How many tries run, shown with the worker.
    pub(crate) fn running(&self, many: usize) {
        self.running.store(many, Ordering::Relaxed);
    }
}

/// What the thread needs.
struct Beat {
    url: String,
    lease: Duration,
    worker: i32,
    /// Before the statement that last renewed the lease was sent.
    began: Instant,
    say: mpsc::UnboundedSender<StoreResult<Vec<StopOrder>>>,
    running: Arc<AtomicUsize>,
}

impl Beat {
    fn run(self, hears: watch::Receiver<Told>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.beat(hears)),
            Err(error) => tracing::error!(%error, "the heartbeat has no runtime"),
        }
    }

    async fn beat(self, mut hears: watch::Receiver<Told>) {
        let mut db: Option<PgConnection> = None;
        let mut renewed = self.began;
        let every = self.lease / 3;
        let mut next = renewed + every;
        loop {
            let fence = renewed + self.lease.mul_f64(FENCE_AT);
            tokio::select! {
                () = tokio::time::sleep_until(next.min(fence).into()) => {}
                changed = hears.changed() => {
                    if changed.is_err() || *hears.borrow() == Told::End {
                        return self.good_bye(db).await;
                    }
                }
            }
            if Instant::now() >= fence {
                tracing::error!(
                    worker = self.worker,
                    "no heartbeat has reached the database: this worker stops itself"
                );
                drop(self.say.send(Err(StoreError::WorkerLost)));
                return;
            }
            let draining = *hears.borrow() == Told::Drain;
            let sent = Instant::now();
            let limit = fence.saturating_duration_since(sent);
            match tokio::time::timeout(limit, self.once(&mut db, draining)).await {
                Ok(Ok(answer)) if answer.lost => {
                    tracing::error!(worker = self.worker, "the database has given this worker up");
                    drop(self.say.send(Err(StoreError::WorkerLost)));
                    return;
                }
                Ok(Ok(answer)) => {
                    renewed = sent;
                    next = sent + every;
                    if (!answer.stop_orders.is_empty() || answer.ready_waiting)
                        && self.say.send(Ok(answer.stop_orders)).is_err()
                    {
                        return;
                    }
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a heartbeat failed");
                    db = None;
                    next = Instant::now() + Duration::from_millis(100).min(every);
                }
                Err(_) => db = None, // the fence is near: the next round sees it
            }
        }
    }

    async fn once(&self, db: &mut Option<PgConnection>, draining: bool) -> StoreResult<worker::HeartbeatAnswer> {
        let mut connection = match db.take() {
            Some(connection) => connection,
            None => connect::one(&self.url, "orch worker heartbeat").await?,
        };
        let running = i32::try_from(self.running.load(Ordering::Relaxed)).unwrap_or(i32::MAX);
        let state = if draining { WorkerState::Draining } else { WorkerState::Running };
        let answer = worker::heartbeat(&mut connection, self.worker, running, state, self.lease).await?;
        *db = Some(connection);
        Ok(answer)
    }

    /// Best effort: if the database does not hear it, the lease runs out by itself.
    async fn good_bye(&self, db: Option<PgConnection>) {
        let bye = async {
            let mut db = match db {
                Some(db) => db,
                None => connect::one(&self.url, "orch worker heartbeat").await?,
            };
            worker::release(&mut db, self.worker).await
        };
        match tokio::time::timeout(self.lease / 3, bye).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what this worker held is free when its lease ends"),
            Err(_) => tracing::warn!("what this worker held is free when its lease ends"),
        }
    }
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "localhost".into(), |name| name.trim().into())
}
