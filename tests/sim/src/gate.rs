//! Gates suspend the threads of a simulated process. While a gate is closed, messages that were sent still arrive and
//! time passes.

use crate::database::pause;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The gates of a process: one for its driver and task functions, one for its heartbeat thread (pulse).
#[derive(Clone, Default)]
pub(crate) struct Gates {
    pub(crate) driver: Arc<Gate>,
    pub(crate) pulse: Arc<Gate>,
    unaware: Arc<AtomicBool>,
}

/// Time for the two threads to exchange what they know after a thaw.
const HEARD: Duration = Duration::from_millis(1);

impl Gates {
    pub(crate) fn freeze(&self, why: PauseReason) {
        self.unaware.store(true, Ordering::Relaxed);
        self.driver.close(why);
        self.pulse.close(why);
    }

    /// Thaws the process: one thread resumes after the other.
    pub(crate) async fn thaw(&self, driver_first: bool, between: Duration) {
        let both = [&self.driver, &self.pulse];
        let [first, second] = if driver_first { both } else { [both[1], both[0]] };
        first.open(PauseReason::Frozen);
        pause(between).await;
        // If the process was frozen again in the meantime, both threads stay frozen.
        if !first.stands(PauseReason::Frozen) {
            second.open(PauseReason::Frozen);
        }
        self.come_to().await;
    }

    /// Blocks the driver for `time`, starting immediately. The heartbeat thread continues.
    pub(crate) fn busy(self, time: Duration) -> impl Future<Output = ()> {
        self.unaware.store(true, Ordering::Relaxed);
        self.driver.close(PauseReason::Busy);
        async move {
            pause(time).await;
            self.driver.open(PauseReason::Busy);
            self.come_to().await;
        }
    }

    /// Unblocks the driver.
    pub(crate) fn be_idle(&self) {
        self.driver.open(PauseReason::Busy);
    }

    /// Returns true if the process is suspended or has just resumed, so it may not have noticed that it was given up.
    pub(crate) fn is_unaware(&self) -> bool {
        self.unaware.load(Ordering::Relaxed)
    }

    async fn come_to(&self) {
        pause(HEARD).await;
        let still = |gate: &Gate| !gate.standing().why.is_empty();
        if !still(&self.driver) && !still(&self.pulse) {
            self.unaware.store(false, Ordering::Relaxed);
        }
    }
}

/// The reason why a thread is suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PauseReason {
    /// The process is frozen.
    Frozen,
    /// A task function blocks the thread.
    Busy,
    /// The process is frozen permanently.
    Gone,
}

/// Suspends a thread while it is closed.
#[derive(Default)]
pub(crate) struct Gate(Mutex<Standing>);

#[derive(Default)]
struct Standing {
    why: BTreeSet<PauseReason>,
    wake: Vec<Waker>,
}

impl Gate {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().expect("nothing panics while holding it")
    }

    fn close(&self, why: PauseReason) {
        self.standing().why.insert(why);
    }

    /// Removes a reason. The gate opens when none is left.
    fn open(&self, why: PauseReason) {
        let mut standing = self.standing();
        standing.why.remove(&why);
        if standing.why.is_empty() {
            let wake = std::mem::take(&mut standing.wake);
            drop(standing);
            wake.into_iter().for_each(Waker::wake);
        }
    }

    fn stands(&self, why: PauseReason) -> bool {
        self.standing().why.contains(&why)
    }

    fn lets(&self, cx: &Context<'_>) -> bool {
        let mut standing = self.standing();
        let open = standing.why.is_empty();
        if !open {
            standing.wake.push(cx.waker().clone());
        }
        open
    }
}

/// A future that makes progress only while its gate is open.
pub(crate) struct Gated<F> {
    gate: Arc<Gate>,
    work: Pin<Box<F>>,
}

pub(crate) fn gated<F: Future>(gate: &Arc<Gate>, work: F) -> Gated<F> {
    Gated { gate: gate.clone(), work: Box::pin(work) }
}

impl<F: Future> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if self.gate.lets(cx) { self.work.as_mut().poll(cx) } else { Poll::Pending }
    }
}
