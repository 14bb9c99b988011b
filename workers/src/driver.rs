//! The main loop of a worker, and the only one that changes runs.
//!
//! Attempts that ended since the last round trip go into the next one, together with the ledgers that they change, the
//! attempts that become ready, and the claim of the next attempts. If another process changes the run's row first, the
//! outcome is recorded and folded (applied to the ledger) under the lock. An attempt that no longer belongs to this
//! worker is rejected by the fence and dropped. A lost connection loses nothing while the lease holds (`resume`).

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

/// Interval of claims without a hint. The heartbeat reports waiting attempts sooner.
const POLL: Duration = Duration::from_mins(1);
/// Interval of claims while a worker continues with its own work. Each claim makes a step more expensive.
const CLAIM_EVERY: Duration = Duration::from_millis(1);
/// Maximum number of attempts that commit something with their outcome at the same time. Connections are opened on
/// demand. They are separate from the pool, since steps of users may change the session.
const COMPLETION_CONNECTIONS: u32 = 2;
/// Maximum time that a worker continues with attempts that it made ready itself. After it, they queue with all others.
const CONTINUE: Duration = Duration::from_millis(100);
/// Pause after an error, before the worker's row is written again.
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// Maximum number of ended attempts recorded by one step.
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
    /// Notified when versions join.
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
    /// Time at which this worker started to continue with its own work without queueing it.
    continuing: Option<Instant>,
    claimed_at: Instant,
    /// Upper bound for the priority of attempts that were waiting for a slot at the last claim.
    urgency: i32,
    /// True if the last step queued its own work in favor of more urgent attempts, and claimed nothing.
    made_way: bool,
    hints: Hints,
    /// Attempts that have stopped after a stop order.
    obeyed: Vec<Uuid>,
    /// Attempts that were cleared while they ran and have stopped.
    restarted: Vec<Lease>,
    /// Outcomes of a step for which it is unknown whether the database executed it.
    unsure: Vec<EndedTry>,
    /// Runs with recorded outcomes that are not folded yet.
    unfolded: Vec<Uuid>,
    /// True if slots became free or tasks wait for slots.
    admit: bool,
    /// End of the grace period. `None` until this worker is stopping.
    deadline: Option<Instant>,
}

/// Runs a worker until `stop`, then drains it: it claims nothing new, running attempts get the grace period, and the
/// rest is released for other workers.
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

/// Writes the versions that joined to the worker's row, where other processes look up which worker can run a task.
async fn tell_joined(cold: PgPool, offers: Arc<Offers>, worker: i32, hints: Hints) {
    let mut joined = offers.joined();
    // The row may lack versions that joined during the registration of this incarnation.
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

/// Returns the built-in conditions and those of the bundle.
fn known_conditions(offers: &Offers) -> Conditions {
    let mut all = conditions::builtin();
    all.extend(offers.conditions());
    all
}

/// Returns the source of connections and variables, and masks the worker's own password in logs.
fn secrets(config: &WorkerConfig, cold: &PgPool) -> StoreResult<Secrets> {
    let own = Connection::from_uri("database", &config.database_url).map(|own| own.secrets()).unwrap_or_default();
    mask::learn_for_good(own);
    Secrets::beside(&config.secrets, &config.database_url, cold).map_err(|error| StoreError::corrupt(error.to_string()))
}

/// Runs one incarnation: from registration until the worker stops or is lost.
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
        // Each held attempt ends once, so a send never waits for capacity.
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

    /// Drives until `stop`, or until this worker may not continue. No attempt runs any more when it returns.
    pub(crate) async fn live(mut self, mut pulse: Pulse, stop: &CancellationToken) -> StoreResult<()> {
        // The driver may be waiting for a database that does not respond: its attempts must end anyway.
        let lost = pulse.lost();
        let result = tokio::select! {
            biased;
            () = lost.cancelled() => Err(StoreError::WorkerLost),
            result = self.drive(&mut pulse, stop) => result,
        };
        // Running attempts now belong to other workers: they must end before this process can claim them again.
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
            // After the claimed attempts have started, so that they do not wait for the admission of others.
            if let Err(error) = self.let_in().await {
                self.resume(error, pulse, stop).await?;
            }
            self.obeyed.drain(..).for_each(|attempt| pulse.obeyed(attempt));
            pulse.running(self.held.len());
            self.offers.set_held(self.held.len());
            self.config.tally.runs(self.held.len());
            // A hint that arrived during the step may announce an attempt that its claim did not see.
            if woken.now_or_never().is_some() {
                self.lanes.expect_more();
            }
        }
    }

    /// Applies changes of the offers: new versions are claimed from now on; versions that a retiring worker leaves to
    /// other workers are not. A hint has already been sent.
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
            // The attempt was taken away and claimed again: this worker was declared lost without noticing.
            return Err(StoreError::WorkerLost);
        }
        let kind = job.offer.version.plan.task(job.claimed.lease.task).isolation;
        self.lanes.begin(kind);
        self.config.tally.begins();
        self.held.insert(attempt, HeldTry { claimed: job.claimed, kind, cancel: job.cancel.clone(), stop: None });
        let (shared, done) = (self.shared.clone(), self.done.clone());
        self.bodies.spawn(async move {
            let finish = body::run_body(&job, &shared).await;
            // The driver is gone only if this incarnation has ended. The outcome must not be recorded then.
            drop(done.send((attempt, finish)).await);
        });
        // Finished futures are removed here, a few at a time. They fail only by being aborted.
        while self.bodies.try_join_next().is_some() {}
        Ok(())
    }

    /// Handles a heartbeat's response: waiting attempts, and orders to stop attempts.
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
                // The attempt ended between the clear and the order. Its trigger rule must still be evaluated again.
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
