//! The worker's pulse: on a thread, a runtime and a connection of its own, so that nothing a body does can stop it.
//!
//! Before the database could call this worker lost, the worker itself stops: when no beat has succeeded for most of a
//! lease by the monotonic clock, its bodies are ended. Whoever takes their work over may start at once.

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

/// Share of the lease after which a worker that cannot reach the database stops itself.
const FENCE_AT: f64 = 0.8;
/// News the driver has not heard yet.
const UNHEARD: usize = 16;

/// What the driver hears from the heartbeat.
pub(crate) struct Pulse {
    orders: mpsc::Receiver<Beaten>,
    lost: CancellationToken,
    told: watch::Sender<HeartbeatOrder>,
    state: Arc<State>,
}

/// What a heartbeat brought.
pub(crate) struct Beaten {
    pub(crate) stop_orders: Vec<StopOrder>,
    /// Something waits that this worker could run.
    pub(crate) ready_waiting: bool,
    pub(crate) default_pool_has_size: bool,
}

/// What the driver tells the heartbeat.
#[derive(Default)]
struct State {
    running: AtomicUsize,
    /// Attempts that were told to stop and have.
    obeyed: Mutex<Vec<Uuid>>,
}

/// What a pulse says to the database. A trait for the same reason as `store::hot::Hot`: the simulation beats too.
pub trait Heart: Send {
    /// Renews the lease; `draining`: this worker takes nothing new from now on.
    fn beat(
        &mut self,
        running: usize,
        obeyed: &[Uuid],
        draining: bool,
    ) -> impl Future<Output = StoreResult<HeartbeatAnswer>> + Send;

    /// Gives back what this worker still has.
    fn good_bye(&mut self) -> impl Future<Output = StoreResult<()>> + Send;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeartbeatOrder {
    Run,
    Drain,
    /// Release what is left and say good-bye.
    End,
}

impl Pulse {
    /// Orders to stop single tries, and that something waits; an error when the heart has stopped.
    pub(crate) async fn next(&mut self) -> StoreResult<Beaten> {
        self.orders.recv().await.ok_or(StoreError::WorkerLost)
    }

    pub(crate) fn try_next(&mut self) -> Option<Beaten> {
        self.orders.try_recv().ok()
    }

    /// This worker may not go on, whatever it is waiting for.
    pub(crate) fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// The worker is done: what it still has goes back at once instead of after a lease.
    pub(crate) fn end(&self) {
        self.told.send_replace(HeartbeatOrder::End);
    }

    pub(crate) fn draining(&self) {
        self.told.send_if_modified(|told| std::mem::replace(told, HeartbeatOrder::Drain) == HeartbeatOrder::Run);
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

/// The beating itself: whoever owns it polls `beat` beside the driver, on a thread of its own or, simulated, as a task.
pub(crate) struct Beat<H> {
    heart: H,
    lease: Duration,
    worker: i32,
    /// Before the statement that last renewed the lease was sent.
    renewed: Instant,
    /// As the driver was last told.
    default_pool_has_size: Option<bool>,
    say: mpsc::Sender<Beaten>,
    lost: CancellationToken,
    hears: watch::Receiver<HeartbeatOrder>,
    state: Arc<State>,
    hints: Hints,
}

/// A pulse that begins to beat when `Beat::beat` is polled. `began`: before the worker was registered.
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
        // Armed before each beat: an order to stop that arrives during a beat leads to the next beat at once.
        let mut stop_ordered = std::pin::pin!(hints.on(Hint::Stop).notified());
        loop {
            let fence = self.renewed + self.lease.mul_f64(FENCE_AT);
            tokio::select! {
                biased; // all three may be cut short; the order only makes it the same each time
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
            // A connection that has fallen silent must not use up the time for another one.
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
                    // What a busy driver does not hear now comes again with the next beat.
                    if worth_telling {
                        match self.say.try_send(beaten) {
                            Ok(()) => self.default_pool_has_size = Some(default_pool_has_size),
                            Err(TrySendError::Full(_)) => {}
                            // The driver has ended while this beat was under way, and asks for nothing more.
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

    /// Ends the bodies, and gives back what the driver took when this worker was lost already: nobody would look for
    /// that soon.
    async fn give_up(&mut self) {
        self.lost.cancel();
        // An error: the driver is gone, as asked.
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

    /// Best effort: if the database does not hear it, the lease runs out by itself.
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

    /// Reports when each beat begins, and ends it when told to.
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
        // Given until the first beat begins: the task may not wait for it yet.
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
