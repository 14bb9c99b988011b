//! The main loop of a worker. It is the only code in the worker that changes runs.
//!
//! One round trip to the database records the ended attempts, updates the state of their runs (the ledgers), makes
//! successors ready and claims the next attempts. If another process has changed a run's row in the meantime, the
//! outcome is recorded and folded (applied to the ledger) under a row lock. Outcomes of attempts that this worker no
//! longer owns are rejected by the fencing token and dropped. After a lost connection, attempts continue as long as the
//! lease is valid (see `resume`).

mod lanes;
mod memory;
mod record;
mod resume;
mod step;

use crate::{
    body::{self, PastReader, Shared},
    boxed, conditions,
    config::WorkerConfig,
    heartbeat::{Beaten, Heartbeat, Pulse},
    job::Job,
    logs, mask,
    offer::Offers,
    outcome::Finish,
    queues::QueueIds,
    retire,
    secrets::Secrets,
    watch::{Outlook, Watch},
};
use futures::FutureExt;
use lanes::Lanes;
use memory::Memory;
use orch_sdk::task::{Conditions, Connection};
use orch_spec::Isolation;
use orch_store::hint::{Hint, Hints};
use orch_store::hot::{Hot, PgHot};
use orch_store::step::{Claimed, EndedTry, Lease};
use orch_store::worker::StopOrder;
use orch_store::{Policy, StoreError, StoreResult, connect};
use resume::Backoff;
use sqlx::PgPool;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Claim interval without a hint (a NOTIFY wake-up signal). The heartbeat reports waiting attempts sooner.
const POLL: Duration = Duration::from_mins(1);
/// Minimum interval between claims while a worker continues with attempts that it made ready itself. Claiming more
/// often makes each step more expensive.
const CLAIM_EVERY: Duration = Duration::from_millis(1);
/// Maximum number of attempts that run completion steps (statements committed with their outcome) concurrently.
/// Connections are opened on demand and are separate from the pool, because these steps may change the session.
const COMPLETION_CONNECTIONS: u32 = 2;
/// Maximum time that a worker continues with attempts that it made ready itself. Later attempts go to the shared queue.
const CONTINUE: Duration = Duration::from_millis(100);
/// Retry delay after a failed update of the worker's row.
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// Maximum number of ended attempts that one statement records.
const MOST_ENDED: usize = 1024;

struct HeldTry {
    claimed: Claimed,
    kind: Isolation,
    cancel: CancellationToken,
    stop: Option<StopOrder>,
}

pub(crate) struct Driver<S> {
    config: WorkerConfig,
    offers: Arc<Offers>,
    /// Notified when this worker offers new DAG versions.
    joined: tokio::sync::watch::Receiver<u64>,
    lanes: Lanes,
    version_ids: Arc<[i32]>,
    worker: i32,
    store: S,
    memory: Memory,
    shared: Arc<Shared>,
    held: HashMap<Uuid, HeldTry>,
    bodies: JoinSet<()>,
    done: mpsc::Sender<(Uuid, Finish)>,
    ended: mpsc::Receiver<(Uuid, Finish)>,
    /// Time since which this worker has run attempts that it made ready itself, without queueing them.
    continuing: Option<Instant>,
    claimed_at: Instant,
    /// Upper bound for the priority of the attempts that waited for a slot at the last claim.
    urgency: i32,
    /// True if the last step put its own ready attempts into the queue because more urgent attempts waited, and claimed
    /// none.
    made_way: bool,
    hints: Hints,
    /// Attempts that have stopped because a stop was requested.
    obeyed: Vec<Uuid>,
    /// Attempts that users cleared while they ran, and that have stopped since.
    restarted: Vec<Lease>,
    /// Outcomes sent in a statement that may or may not have been executed before the connection failed.
    unsure: Vec<EndedTry>,
    /// Runs whose recorded outcomes are not applied to the run state yet.
    unfolded: Vec<Uuid>,
    /// True if waiting tasks must be admitted because slots became free or new tasks wait for slots.
    admit: bool,
    /// End of the grace period for running attempts. `None` until this worker is stopping.
    deadline: Option<Instant>,
}

/// Runs a worker until `stop`, then drains it: it claims no new attempts, running attempts get the grace period, and
/// unfinished attempts are released for other workers.
#[boxed]
pub async fn drive_worker(
    config: WorkerConfig,
    offers: Arc<Offers>,
    cold: PgPool,
    hints: Hints,
    stop: CancellationToken,
) -> StoreResult<()> {
    let (shipper, shipping) = logs::shipping(cold.clone());
    let secrets = secrets(&config, &cold)?;
    let shared = Arc::new(Shared {
        recent: crate::inputs::Recent::default(),
        past: PastReader::of(cold.clone()),
        cold,
        completions: connect::pool(&config.database_url, "orch worker completions", COMPLETION_CONNECTIONS)?,
        shipper,
        outlook: Outlook { conditions: Arc::new(known_conditions(&offers)), secrets },
        hints: hints.clone(),
        process_memory_mb: config.process_memory_mb,
        is_trial: config.is_trial,
    });
    let stop_shipping = CancellationToken::new();
    let mut shipping_task = JoinSet::new();
    shipping_task.spawn(shipping.ship_until_stopped(stop_shipping.clone()));
    let mut backoff = Backoff::of(std::process::id());
    let result = loop {
        match life(&config, &offers, &shared, &hints, &stop).await {
            Ok(()) => break Ok(()),
            Err(error) if error.policy() == Policy::Stop => break Err(error),
            Err(error) if stop.is_cancelled() => break Err(error),
            Err(error) => {
                tracing::warn!(%error, cause = ?std::error::Error::source(&error).map(ToString::to_string), "the worker begins again");
                tokio::select! { () = tokio::time::sleep(backoff.next()) => {}, () = stop.cancelled() => {} }
            }
        }
    };
    stop_shipping.cancel();
    while shipping_task.join_next().await.is_some() {}
    result
}

/// Writes newly offered DAG versions to the worker's row. Other processes read the row to find a worker for a task.
async fn tell_joined(cold: PgPool, offers: Arc<Offers>, worker: i32, hints: Hints) {
    let mut joined = offers.joined();
    // The row may lack versions that were added during the registration of this worker.
    joined.mark_changed();
    while joined.changed().await.is_ok() {
        let told = async {
            let mut db = cold.acquire().await?;
            orch_store::worker::set_versions(&mut db, worker, &offers.claimed()).await
        };
        if let Err(error) = told.await {
            tracing::warn!(%error, "what this worker offers could not be told");
            tokio::time::sleep(TELL_AGAIN).await;
            joined.mark_changed();
        }
        hints.give(Hint::Ready);
    }
}

/// Returns the built-in conditions and the conditions of the bundle.
fn known_conditions(offers: &Offers) -> Conditions {
    let mut all = conditions::builtin();
    all.extend(offers.conditions());
    all
}

/// Creates the lookup of connections and variables, and masks the worker's own password in logs.
fn secrets(config: &WorkerConfig, cold: &PgPool) -> StoreResult<Secrets> {
    let own = Connection::from_uri("database", &config.database_url).map(|own| own.secrets()).unwrap_or_default();
    mask::learn_for_good(own);
    Secrets::beside(&config.secrets, &config.database_url, cold).map_err(|error| StoreError::corrupt(error.to_string()))
}

/// Runs a worker from its registration until it stops or loses its lease.
async fn life(
    config: &WorkerConfig,
    offers: &Arc<Offers>,
    shared: &Arc<Shared>,
    hints: &Hints,
    stop: &CancellationToken,
) -> StoreResult<()> {
    let mut store = PgHot::connect(&config.database_url, "orch worker").await?;
    let queues = QueueIds::of(&mut store.db, &config.queues).await?;
    let (heartbeat, pulse) = Heartbeat::begin(config, offers, &queues.all(), hints).await?;
    let mut watching = JoinSet::new();
    let watch = Watch::new(&shared.cold, heartbeat.worker(), &queues, &shared.outlook, hints);
    watching.spawn(watch.watch_until_stopped(stop.clone()));
    watching.spawn(tell_joined(shared.cold.clone(), offers.clone(), heartbeat.worker(), hints.clone()));
    watching.spawn(retire::when_asked(
        shared.cold.clone(),
        offers.clone(),
        heartbeat.worker(),
        (hints.clone(), stop.clone()),
    ));
    let driver = Driver::new(config, offers, shared, hints, &queues, heartbeat.worker(), store);
    let result = driver.live(pulse, stop).await;
    watching.shutdown().await;
    shared.recent.forget_all();
    heartbeat.ended().await;
    result
}

impl<S: Hot> Driver<S> {
    pub(crate) fn new(
        config: &WorkerConfig,
        offers: &Arc<Offers>,
        shared: &Arc<Shared>,
        hints: &Hints,
        queues: &QueueIds,
        worker: i32,
        mut store: S,
    ) -> Self {
        let joined = offers.joined();
        offers.all().iter().for_each(|offer| store.know(offer.version.clone()));
        // Each held attempt sends one outcome, so with this capacity a send never waits.
        let (done, ended) = mpsc::channel((config.slots + config.process_slots).max(1));
        Driver {
            config: config.clone(),
            offers: offers.clone(),
            joined,
            lanes: Lanes::new(config, queues, offers.have(Isolation::Process)),
            version_ids: offers.claimed().into(),
            worker,
            store,
            memory: Memory::default(),
            shared: shared.clone(),
            held: HashMap::new(),
            bodies: JoinSet::new(),
            done,
            ended,
            continuing: None,
            claimed_at: Instant::now(),
            urgency: i32::MIN,
            made_way: false,
            hints: hints.clone(),
            obeyed: Vec::new(),
            restarted: Vec::new(),
            unsure: Vec::new(),
            unfolded: Vec::new(),
            admit: false,
            deadline: None,
        }
    }

    /// Runs the loop until `stop`, or until the lease is lost. All attempts have ended when it returns.
    pub(crate) async fn live(mut self, mut pulse: Pulse, stop: &CancellationToken) -> StoreResult<()> {
        // The loop may be waiting for a database that does not respond. Attempts must still end when the lease is lost.
        let lost = pulse.lost();
        let result = tokio::select! {
            biased;
            () = lost.cancelled() => Err(StoreError::WorkerLost),
            result = self.drive(&mut pulse, stop) => result,
        };
        // Other workers may now run these attempts. End them here before this process can claim them again.
        self.held.values().for_each(|held| held.cancel.cancel());
        self.bodies.abort_all();
        while self.bodies.join_next().await.is_some() {}
        pulse.end();
        result
    }

    async fn drive(&mut self, pulse: &mut Pulse, stop: &CancellationToken) -> StoreResult<()> {
        let mut finished: VecDeque<(Uuid, Finish)> = VecDeque::new();
        let hints = self.hints.clone();
        let ready = hints.on(Hint::Ready);
        loop {
            let mut woken = std::pin::pin!(ready.notified());
            woken.as_mut().enable(); // armed before ended attempts are read
            while let Ok(end) = self.ended.try_recv() {
                finished.push_back(end);
            }
            self.take_joined();
            let stopping = self.stopping(stop, pulse);
            if stopping && self.held.is_empty() && finished.is_empty() {
                return Ok(());
            }
            if self.deadline.is_some_and(|at| Instant::now() >= at) {
                tracing::info!(released = self.held.len(), "the grace period is over");
                return Ok(());
            }
            let full = self.lanes.are_full();
            let nothing_to_say = finished.is_empty() && self.restarted.is_empty() && self.unfolded.is_empty();
            if nothing_to_say && (stopping || !self.lanes.want_more()) {
                tokio::select! {
                    biased;
                    end = self.ended.recv() => finished.extend(end),
                    beaten = pulse.next() => self.beaten(beaten?, pulse),
                    () = &mut woken, if !full && !stopping => self.lanes.expect_more(),
                    () = stop.cancelled(), if !stopping => {}
                    () = sleep_until(self.deadline), if stopping => {}
                    () = tokio::time::sleep(POLL), if !full && !stopping => self.lanes.expect_more(),
                }
                while let Ok(end) = self.ended.try_recv() {
                    finished.push_back(end);
                }
                if finished.is_empty() && self.restarted.is_empty() && !self.lanes.want_more() {
                    continue;
                }
            }
            while let Some(beaten) = pulse.try_next() {
                self.beaten(beaten, pulse);
            }
            let batch: Vec<_> = finished.drain(..finished.len().min(MOST_ENDED)).collect();
            match self.step(batch, stopping).await {
                Ok(next) => next.into_iter().try_for_each(|job| self.start(job))?,
                Err(error) => self.resume(error, pulse, stop).await?,
            }
            // Claimed attempts start first, so that they do not wait for the admission of other attempts.
            if let Err(error) = self.let_in().await {
                self.resume(error, pulse, stop).await?;
            }
            self.obeyed.drain(..).for_each(|attempt| pulse.obeyed(attempt));
            pulse.running(self.held.len());
            self.offers.set_held(self.held.len());
            self.config.tally.runs(self.held.len());
            // A hint that arrived during the step may announce an attempt that became ready after the claim.
            if woken.now_or_never().is_some() {
                self.lanes.expect_more();
            }
        }
    }

    /// Applies changes of the offered DAG versions: claims new versions from now on, and stops claiming versions that a
    /// retiring worker leaves to other workers. The hint to claim again has already been sent.
    fn take_joined(&mut self) {
        if !self.joined.has_changed().unwrap_or(false) {
            return;
        }
        self.joined.mark_unchanged();
        self.offers.all().iter().for_each(|offer| self.store.know(offer.version.clone()));
        self.version_ids = self.offers.claimed().into();
        self.lanes.expect_more();
    }

    fn stopping(&mut self, stop: &CancellationToken, pulse: &Pulse) -> bool {
        let stopping = stop.is_cancelled();
        if stopping && self.deadline.is_none() {
            self.deadline = Some(Instant::now() + self.config.grace);
            pulse.draining();
        }
        stopping
    }

    fn start(&mut self, job: Job) -> StoreResult<()> {
        let attempt = job.claimed.lease.attempt;
        if self.held.contains_key(&attempt) {
            // This attempt was taken away and claimed again, so this worker was declared lost without noticing.
            return Err(StoreError::WorkerLost);
        }
        let kind = job.offer.version.plan.task(job.claimed.lease.task).isolation;
        self.lanes.begin(kind);
        self.config.tally.begins();
        self.held.insert(attempt, HeldTry { claimed: job.claimed, kind, cancel: job.cancel.clone(), stop: None });
        let (shared, done) = (self.shared.clone(), self.done.clone());
        self.bodies.spawn(async move {
            let finish = body::run_body(&job, &shared).await;
            // The send fails only if the loop has ended. The outcome must not be recorded then.
            drop(done.send((attempt, finish)).await);
        });
        // Remove finished futures a few at a time. They fail only if they are aborted.
        while self.bodies.try_join_next().is_some() {}
        Ok(())
    }

    /// Handles the result of a heartbeat: waiting attempts, and requests to stop attempts.
    fn beaten(&mut self, beaten: Beaten, pulse: &Pulse) {
        self.store.set_default_pool(beaten.default_pool_has_size);
        if beaten.ready_waiting {
            self.lanes.expect_more();
        }
        for order in beaten.stop_orders {
            match self.held.get_mut(&order.lease.attempt) {
                Some(held) => {
                    held.stop = Some(order);
                    held.cancel.cancel();
                }
                // The attempt ended between the clear and the stop request. The trigger rule of its task must be
                // evaluated again.
                None if order.why == "restarted" => {
                    self.obeyed.push(order.lease.attempt);
                    self.restarted.push(order.lease);
                }
                None => pulse.obeyed(order.lease.attempt),
            }
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
