//! The worker's heartbeat. It has its own thread, runtime and connection, so that no task function can block it.
//!
//! A worker stops itself before the database can declare it lost: if no heartbeat has succeeded for most of the lease
//! time (on the monotonic clock), the worker ends its attempts. Another worker can then start them immediately.

mod thread;

pub(crate) use thread::Heartbeat;

use orch_store::hint::{Hint, Hints};
use orch_store::worker::{HeartbeatAnswer, StopOrder};
use orch_store::{StoreError, StoreResult};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Fraction of the lease time after which a worker without a successful heartbeat stops itself.
const FENCE_AT: f64 = 0.8;
/// Maximum number of heartbeat results that the main loop has not received yet.
const UNHEARD: usize = 16;

/// Handle with which the worker's main loop (the driver) controls the heartbeat.
pub(crate) struct Pulse {
    orders: mpsc::Receiver<Beaten>,
    lost: CancellationToken,
    told: watch::Sender<HeartbeatOrder>,
    state: Arc<State>,
}

/// Result of a heartbeat.
pub(crate) struct Beaten {
    pub(crate) stop_orders: Vec<StopOrder>,
    /// True if a task is waiting that this worker could run.
    pub(crate) ready_waiting: bool,
    pub(crate) default_pool_has_size: bool,
}

/// State shared by the worker's main loop and the heartbeat.
#[derive(Default)]
struct State {
    running: AtomicUsize,
    /// Attempts that have stopped because a stop was requested.
    obeyed: Mutex<Vec<Uuid>>,
}

/// Database operations of the heartbeat. This is a trait so that the simulation can implement it.
pub trait Heart: Send {
    /// Renews the lease. If `draining` is true, this worker claims no new attempts.
    fn beat(
        &mut self,
        running: usize,
        obeyed: &[Uuid],
        draining: bool,
    ) -> impl Future<Output = StoreResult<HeartbeatAnswer>> + Send;

    /// Releases all attempts that this worker still holds.
    fn good_bye(&mut self) -> impl Future<Output = StoreResult<()>> + Send;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeartbeatOrder {
    Run,
    Drain,
    /// Release all attempts and stop the heartbeat.
    End,
}

impl Pulse {
    /// Waits for the next heartbeat result. Returns an error when the heartbeat has stopped.
    pub(crate) async fn next(&mut self) -> StoreResult<Beaten> {
        self.orders.recv().await.ok_or(StoreError::WorkerLost)
    }

    pub(crate) fn try_next(&mut self) -> Option<Beaten> {
        self.orders.try_recv().ok()
    }

    /// Returns a token that is cancelled when the lease is lost, even while the main loop waits for the database.
    pub(crate) fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Stops the heartbeat and releases the worker's attempts immediately, instead of when the lease expires.
    pub(crate) fn end(&self) {
        self.told.send_replace(HeartbeatOrder::End);
    }

    pub(crate) fn draining(&self) {
        self.told.send_if_modified(|told| std::mem::replace(told, HeartbeatOrder::Drain) == HeartbeatOrder::Run);
    }

    /// Sets the number of running attempts, which users see in the list of workers.
    pub(crate) fn running(&self, many: usize) {
        self.state.running.store(many, Ordering::Relaxed);
    }

    /// Records that an attempt has stopped because a stop was requested.
    pub(crate) fn obeyed(&self, attempt: Uuid) {
        self.state.obeyed.lock().expect("nothing panics while holding it").push(attempt);
    }
}

/// The heartbeat loop. It runs concurrently with the main loop: on its own thread, or as a task in the simulation.
pub(crate) struct Beat<H> {
    heart: H,
    lease: Duration,
    worker: i32,
    /// Time immediately before the last successful lease renewal was sent.
    renewed: Instant,
    /// Last value that was sent to the main loop.
    default_pool_has_size: Option<bool>,
    say: mpsc::Sender<Beaten>,
    lost: CancellationToken,
    hears: watch::Receiver<HeartbeatOrder>,
    state: Arc<State>,
    hints: Hints,
}

/// Creates a heartbeat that starts when `Beat::beat` is polled. `began` is a time before the worker's registration.
pub(crate) fn pulse<H: Heart>(
    heart: H,
    worker: i32,
    lease: Duration,
    began: Instant,
    hints: &Hints,
) -> (Pulse, Beat<H>) {
    let (told, hears) = watch::channel(HeartbeatOrder::Run);
    let (say, orders) = mpsc::channel(UNHEARD);
    let state = Arc::new(State::default());
    let lost = CancellationToken::new();
    let pulse = Pulse { orders, lost: lost.clone(), told, state: state.clone() };
    (
        pulse,
        Beat {
            heart,
            lease,
            worker,
            renewed: began,
            default_pool_has_size: None,
            say,
            lost,
            hears,
            state,
            hints: hints.clone(),
        },
    )
}

impl<H: Heart> Beat<H> {
    pub(crate) async fn beat(mut self) {
        let every = self.lease / 3;
        let hints = self.hints.clone();
        let mut next = self.renewed + every;
        // Armed before each heartbeat, so that a stop request during one triggers the next one immediately.
        let mut stop_ordered = std::pin::pin!(hints.on(Hint::Stop).notified());
        loop {
            let fence = self.renewed + self.lease.mul_f64(FENCE_AT);
            tokio::select! {
                biased; // all three are cancel-safe; the fixed order makes runs reproducible
                changed = self.hears.changed() => {
                    if changed.is_err() || *self.hears.borrow() == HeartbeatOrder::End {
                        return self.good_bye().await;
                    }
                }
                () = tokio::time::sleep_until(next.min(fence)) => {}
                () = &mut stop_ordered => stop_ordered.set(hints.on(Hint::Stop).notified()),
            }
            if Instant::now() >= fence {
                tracing::error!(
                    worker = self.worker,
                    "no heartbeat has reached the database: this worker stops itself"
                );
                return self.give_up().await;
            }
            let sent = Instant::now();
            // Limit the time for an unresponsive connection, to leave time for opening a new one.
            let limit = fence.saturating_duration_since(sent).min(every);
            match tokio::time::timeout(limit, self.once()).await {
                Ok(Ok(answer)) if answer.lost => {
                    tracing::error!(worker = self.worker, "the database has given this worker up");
                    return self.give_up().await;
                }
                Ok(Ok(answer)) => {
                    self.renewed = sent;
                    next = sent + every;
                    let HeartbeatAnswer { stop_orders, ready_waiting, default_pool_has_size, .. } = answer;
                    let changed = self.default_pool_has_size != Some(default_pool_has_size);
                    let worth_telling = !stop_orders.is_empty() || ready_waiting || changed;
                    let beaten = Beaten { stop_orders, ready_waiting, default_pool_has_size };
                    // If the main loop is too busy to receive the result, the next heartbeat sends it again.
                    if worth_telling {
                        match self.say.try_send(beaten) {
                            Ok(()) => self.default_pool_has_size = Some(default_pool_has_size),
                            Err(TrySendError::Full(_)) => {}
                            // The main loop has ended during this heartbeat and expects no more results.
                            Err(TrySendError::Closed(_)) => return self.good_bye().await,
                        }
                    }
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a heartbeat failed");
                    next = Instant::now() + Duration::from_millis(100).min(every);
                }
                Err(_) => {
                    tracing::warn!("a heartbeat had no answer");
                    next = Instant::now();
                }
            }
        }
    }

    /// Ends all attempts and releases those that were claimed after the lease was lost, which would otherwise be
    /// detected late.
    async fn give_up(&mut self) {
        self.lost.cancel();
        // An error means that the main loop has ended, which is equivalent to the order to end.
        drop(self.hears.wait_for(|told| *told == HeartbeatOrder::End).await);
        self.good_bye().await;
    }

    async fn once(&mut self) -> StoreResult<HeartbeatAnswer> {
        let draining = *self.hears.borrow() == HeartbeatOrder::Drain;
        let running = self.state.running.load(Ordering::Relaxed);
        let obeyed = self.state.obeyed.lock().expect("nothing panics while holding it").clone();
        let answer = self.heart.beat(running, &obeyed, draining).await?;
        self.state.obeyed.lock().expect("nothing panics while holding it").retain(|attempt| !obeyed.contains(attempt));
        Ok(answer)
    }

    /// Best effort: if the release fails, the lease expires by itself.
    async fn good_bye(&mut self) {
        match tokio::time::timeout(self.lease / 3, self.heart.good_bye()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what this worker held is free when its lease ends"),
            Err(_) => tracing::warn!("what this worker held is free when its lease ends"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Semaphore;
    use tokio::task::JoinSet;

    /// Reports the start of each heartbeat, and completes it when the test permits.
    struct Slow {
        began: mpsc::Sender<Instant>,
        may_end: Arc<Semaphore>,
    }

    impl Heart for Slow {
        async fn beat(&mut self, _: usize, _: &[Uuid], _: bool) -> StoreResult<HeartbeatAnswer> {
            self.began.send(Instant::now()).await.expect("the test listens");
            self.may_end.acquire().await.expect("it is open").forget();
            Ok(HeartbeatAnswer::default())
        }

        async fn good_bye(&mut self) -> StoreResult<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_order_to_stop_that_arrives_during_a_beat_leads_to_the_next_beat() {
        let (hints, may_end) = (Hints::new(), Arc::new(Semaphore::new(0)));
        let (began, mut beats) = mpsc::channel(1);
        let heart = Slow { began, may_end: may_end.clone() };
        let (pulse, beat) = pulse(heart, 1, Duration::from_mins(3), Instant::now(), &hints);
        let mut beating = JoinSet::new();
        beating.spawn(beat.beat());
        // Repeat until the first heartbeat starts, because the task may not be listening yet.
        let first = async {
            loop {
                hints.give(Hint::Stop);
                if let Ok(first) = tokio::time::timeout(Duration::from_millis(10), beats.recv()).await {
                    return first;
                }
            }
        };
        first.await.expect("it beats");
        hints.give(Hint::Stop);
        may_end.add_permits(1);
        let next = tokio::time::timeout(Duration::from_secs(20), beats.recv()).await;
        assert!(next.is_ok_and(|next| next.is_some()), "the next beat comes before a third of the lease");
        may_end.add_permits(1);
        pulse.end();
        beating.join_all().await;
    }
}
