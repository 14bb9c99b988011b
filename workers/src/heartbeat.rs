//! The worker's pulse: on a thread, a runtime and a connection of its own, so that nothing a body does can stop it.
//!
//! Before the database could call this worker lost, the worker itself stops: when no beat has succeeded for most of a
//! lease by the monotonic clock, its bodies are ended. Whoever takes their work over may start at once.

use crate::config::WorkerConfig;
use crate::offer::Offers;
use orch_store::hint::{Hint, Hints};
use orch_store::version::Versions;
use orch_store::worker::{self, NewWorker, StopOrder, WorkerState};
use orch_store::{StoreError, StoreResult, connect};
use sqlx::PgConnection;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Share of the lease after which a worker that cannot reach the database stops itself.
const FENCE_AT: f64 = 0.8;
/// News the driver has not heard yet.
const UNHEARD: usize = 16;

/// What the driver hears from the heartbeat.
pub(crate) struct Pulse {
    orders: mpsc::Receiver<Beaten>,
    told: watch::Sender<Told>,
    state: Arc<State>,
    lost: CancellationToken,
}

/// What a heartbeat brought.
pub(crate) struct Beaten {
    pub(crate) stop_orders: Vec<StopOrder>,
    /// Something waits that this worker could run.
    pub(crate) ready_waiting: bool,
}

/// What the driver tells the heartbeat.
#[derive(Default)]
struct State {
    running: AtomicUsize,
    /// Attempts that were told to stop and have.
    obeyed: Mutex<Vec<Uuid>>,
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
        hints: &Hints,
    ) -> StoreResult<(Heartbeat, Pulse)> {
        let new = NewWorker {
            name: config.name.clone(),
            hostname: hostname(),
            pid: std::process::id(),
            bundle: offers.bundle().to_string(),
            binary_version: env!("CARGO_PKG_VERSION").to_string(),
            queues: queues.to_vec(),
            versions: offers.ids(),
            slots: i32::try_from(config.slots).unwrap_or(i32::MAX),
            lease: config.lease,
        };
        let mut db = connect::one(&config.database_url, "orch worker heartbeat").await?;
        let began = Instant::now();
        let id = worker::register_worker(&mut db, &new).await?;
        drop(db); // the thread's own runtime has to own its connection
        let (told, hears) = watch::channel(Told::Run);
        let (say, orders) = mpsc::channel(UNHEARD);
        let state = Arc::new(State::default());
        let lost = CancellationToken::new();
        let beat = Beat {
            url: config.database_url.clone(),
            lease: config.lease,
            worker: id,
            began,
            say,
            state: state.clone(),
            lost: lost.clone(),
            said_draining: false,
            hints: hints.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("orch-heartbeat".into())
            .spawn(move || beat.run(hears))
            .map_err(|e| StoreError::from(sqlx::Error::Io(e)))?;
        let heartbeat = Heartbeat { worker: id, told: told.clone(), thread: Some(thread) };
        Ok((heartbeat, Pulse { orders, told, state, lost }))
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
    pub(crate) async fn next(&mut self) -> StoreResult<Beaten> {
        tokio::select! {
            biased;
            () = self.lost.cancelled() => Err(StoreError::WorkerLost),
            beaten = self.orders.recv() => beaten.ok_or(StoreError::WorkerLost),
        }
    }

    pub(crate) fn try_next(&mut self) -> Option<StoreResult<Beaten>> {
        if self.lost.is_cancelled() { Some(Err(StoreError::WorkerLost)) } else { self.orders.try_recv().ok().map(Ok) }
    }

    /// This worker may not go on, whatever it is at.
    pub(crate) fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    pub(crate) fn draining(&self) {
        self.told.send_if_modified(|told| std::mem::replace(told, Told::Drain) == Told::Run);
    }

    /// How many tries run, shown with the worker.
    pub(crate) fn running(&self, many: usize) {
        self.state.running.store(many, Ordering::Relaxed);
    }

    /// An attempt that was told to stop is over.
    pub(crate) fn obeyed(&self, attempt: Uuid) {
        self.state.obeyed.lock().expect("nothing panics while holding it").push(attempt);
    }
}

/// What the thread needs.
struct Beat {
    url: String,
    lease: Duration,
    worker: i32,
    /// Before the statement that last renewed the lease was sent.
    began: Instant,
    say: mpsc::Sender<Beaten>,
    state: Arc<State>,
    lost: CancellationToken,
    said_draining: bool,
    hints: Hints,
}

impl Beat {
    fn run(self, hears: watch::Receiver<Told>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.beat(hears)),
            Err(error) => tracing::error!(%error, "the heartbeat has no runtime"),
        }
    }

    async fn beat(mut self, mut hears: watch::Receiver<Told>) {
        let mut db: Option<PgConnection> = None;
        let mut renewed = self.began;
        let every = self.lease / 3;
        let hints = self.hints.clone();
        let mut next = renewed + every;
        loop {
            let fence = renewed + self.lease.mul_f64(FENCE_AT);
            tokio::select! {
                () = tokio::time::sleep_until(next.min(fence).into()) => {}
                () = hints.on(Hint::Stop).notified() => {}
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
                return self.give_up(db, hears).await;
            }
            let draining = *hears.borrow() == Told::Drain;
            let sent = Instant::now();
            // A connection that has fallen silent must not use up the time for another one.
            let limit = fence.saturating_duration_since(sent).min(every);
            match tokio::time::timeout(limit, self.once(&mut db, draining)).await {
                Ok(Ok(answer)) if answer.lost => {
                    tracing::error!(worker = self.worker, "the database has given this worker up");
                    return self.give_up(db, hears).await;
                }
                Ok(Ok(answer)) => {
                    renewed = sent;
                    next = sent + every;
                    let worth_telling = !answer.stop_orders.is_empty() || answer.ready_waiting;
                    let beaten = Beaten { stop_orders: answer.stop_orders, ready_waiting: answer.ready_waiting };
                    // What a busy driver does not hear now comes again with the next beat.
                    if worth_telling && matches!(self.say.try_send(beaten), Err(TrySendError::Closed(_))) {
                        return;
                    }
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a heartbeat failed");
                    db = None;
                    next = Instant::now() + Duration::from_millis(100).min(every);
                }
                Err(_) => {
                    tracing::warn!("a heartbeat had no answer");
                    (db, next) = (None, Instant::now());
                }
            }
        }
    }

    /// Ends the bodies, and gives back what the driver took when this worker was lost already: nobody would look for
    /// that soon.
    async fn give_up(&self, db: Option<PgConnection>, mut hears: watch::Receiver<Told>) {
        self.lost.cancel();
        // An error: the driver is gone, as asked.
        drop(hears.wait_for(|told| *told == Told::End).await);
        self.good_bye(db).await;
    }

    async fn once(&mut self, db: &mut Option<PgConnection>, draining: bool) -> StoreResult<worker::HeartbeatAnswer> {
        let mut connection = match db.take() {
            Some(connection) => connection,
            None => connect::one(&self.url, "orch worker heartbeat").await?,
        };
        if draining && !std::mem::replace(&mut self.said_draining, true) {
            worker::set_worker_state(&mut connection, self.worker, WorkerState::Draining).await?;
        }
        let running = i32::try_from(self.state.running.load(Ordering::Relaxed)).unwrap_or(i32::MAX);
        let obeyed = self.state.obeyed.lock().expect("nothing panics while holding it").clone();
        let answer = worker::heartbeat(&mut connection, self.worker, running, self.lease, &obeyed).await?;
        self.state.obeyed.lock().expect("nothing panics while holding it").retain(|attempt| !obeyed.contains(attempt));
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
            worker::release(&mut db, &mut Versions::default(), self.worker).await
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
