//! Counters of a worker since its process started, exported as metrics.

use orch_spec::metrics::Text;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counters that the worker and its metrics share. Clones use the same counters.
#[derive(Debug, Clone, Default)]
pub struct Tally(std::sync::Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    began: AtomicU64,
    ended: AtomicU64,
    running: AtomicUsize,
}

impl Tally {
    pub(crate) fn begins(&self) {
        self.0.began.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn ends(&self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn runs(&self, running: usize) {
        self.0.running.store(running, Ordering::Relaxed);
    }

    /// Writes the metrics of a worker that has `slots` slots.
    pub fn tell(&self, text: &mut Text, slots: usize) {
        let Counts { began, ended, running } = &*self.0;
        text.counter("orch_worker_tries_started_total", "Tries that this worker has started.")
            .is(began.load(Ordering::Relaxed));
        text.counter("orch_worker_tries_ended_total", "Tries that ended on this worker, however they did.")
            .is(ended.load(Ordering::Relaxed));
        text.gauge("orch_worker_running", "Tasks that this worker runs.").is(running.load(Ordering::Relaxed));
        text.gauge("orch_worker_slots", "Tasks that this worker may run at the same time.").is(slots);
    }
}
