//! State that all scheduler loops share: wake-up signals, and when each loop last started or finished a round.

use crate::SchedulerError;
use chrono::{DateTime, Utc};
use orch_spec::metrics::Text;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(crate) struct Board {
    /// Wakes the lookout after a loop changed something, because other work may now be due earlier.
    pub(crate) look: Notify,
    pub(crate) time_out: Notify,
    pub(crate) create: Notify,
    pub(crate) start: Notify,
    pub(crate) pace: Notify,
    pub(crate) assets: Notify,
    pub(crate) wake: Notify,
    pub(crate) mend: Notify,
    pub(crate) admit: Notify,
    pub(crate) deadlines: Notify,
    pub(crate) upkeep: Notify,
    pub(crate) retire: Notify,
    /// Start of the current period without pauses, in which workers could renew their leases. `None` before the first
    /// poll.
    awake_since: Mutex<Option<DateTime<Utc>>>,
    /// True if the period without pauses has lasted at least `stale_after`. Only then may DAGs without a worker be
    /// marked stale.
    may_mark_stale: AtomicBool,
    /// Time at which a rate limit admits the next task. `None` if no task waits for a rate limit.
    gate_opens: Mutex<Option<Instant>>,
    progress: Mutex<BTreeMap<&'static str, Progress>>,
}

#[derive(Debug, Clone)]
struct Progress {
    rounds: u64,
    last: Instant,
    busy: bool,
    error: Option<String>,
}

impl Board {
    pub(crate) fn awake_since(&self) -> Option<DateTime<Utc>> {
        *self.awake_since.lock().expect("no panic while it is held")
    }

    pub(crate) fn set_awake_since(&self, since: DateTime<Utc>) {
        *self.awake_since.lock().expect("no panic while it is held") = Some(since);
    }

    pub(crate) fn may_mark_stale(&self) -> bool {
        self.may_mark_stale.load(Ordering::Relaxed)
    }

    pub(crate) fn set_may_mark_stale(&self, may: bool) {
        self.may_mark_stale.store(may, Ordering::Relaxed);
    }

    /// Returns the time until a rate limit admits the next task.
    pub(crate) fn gate_opens_in(&self) -> Option<Duration> {
        let opens = *self.gate_opens.lock().expect("no panic while it is held");
        opens.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Sets the time at which a rate limit admits the next task. Wakes the lookout if it may be sleeping for longer.
    pub(crate) fn set_gate_opens(&self, again_in: Option<Duration>) {
        let opens = again_in.map(|wait| Instant::now() + wait);
        *self.gate_opens.lock().expect("no panic while it is held") = opens;
        if again_in.is_some_and(|wait| wait < crate::lookout::WHILE_PARKED) {
            self.look.notify_one();
        }
    }

    /// Records that a loop started a round.
    pub(crate) fn begin(&self, name: &'static str) {
        let mut progress = self.progress.lock().expect("no panic while it is held");
        let entry = progress.entry(name).or_insert_with(|| Progress::new(false));
        (entry.busy, entry.last) = (true, Instant::now());
    }

    /// Records that a loop finished a round. `error` is set if the round failed.
    pub(crate) fn done(&self, name: &'static str, error: Option<String>) {
        let mut progress = self.progress.lock().expect("no panic while it is held");
        let rounds = progress.get(name).map_or(0, |p| p.rounds) + 1;
        progress.insert(name, Progress { rounds, error, ..Progress::new(false) });
    }

    /// Returns the state of all loops, which is stored with the scheduler's heartbeat and shown to users.
    pub(crate) fn to_json(&self) -> Value {
        let progress = self.progress.lock().expect("no panic while it is held");
        let loops = progress.iter().map(|(name, p)| {
            let mut entry =
                json!({ "rounds": p.rounds, "age_ms": u64::try_from(p.last.elapsed().as_millis()).unwrap_or(u64::MAX), "busy": p.busy });
            if let Some(error) = &p.error {
                entry["error"] = json!(error);
            }
            ((*name).to_string(), entry)
        });
        Value::Object(loops.collect::<Map<_, _>>())
    }

    /// Writes the metrics of all loops in the Prometheus format.
    pub(crate) fn tell(&self, text: &mut Text) {
        let progress = self.progress.lock().expect("no panic while it is held");
        let mut rounds = text.counter("orch_scheduler_rounds_total", "Rounds that a loop has done.");
        for (name, p) in &*progress {
            rounds.with(&[("loop", name)], p.rounds);
        }
        let mut busy = text.gauge("orch_scheduler_busy_seconds", "How long a loop has been at its round; 0: it waits.");
        for (name, p) in &*progress {
            let since = if p.busy { p.last.elapsed().as_secs_f64() } else { 0.0 };
            busy.with(&[("loop", name)], since);
        }
        let mut failing = text.gauge("orch_scheduler_failing", "1: the last round of a loop failed.");
        for (name, p) in &*progress {
            failing.with(&[("loop", name)], u8::from(p.error.is_some()));
        }
    }

    /// Waits until a loop has been busy with one round for longer than `most`, and returns the error.
    pub(crate) async fn watch(&self, most: Duration) -> SchedulerError {
        loop {
            tokio::time::sleep(most / 10).await;
            if let Some((name, age)) = self.stuck(most) {
                return SchedulerError::Stuck { name, secs: age.as_secs() };
            }
        }
    }

    fn stuck(&self, most: Duration) -> Option<(&'static str, Duration)> {
        let progress = self.progress.lock().expect("no panic while it is held");
        let busy = progress.iter().filter(|(_, p)| p.busy).map(|(name, p)| (*name, p.last.elapsed()));
        busy.filter(|(_, age)| *age > most).max_by_key(|(_, age)| *age)
    }
}

impl Progress {
    fn new(busy: bool) -> Progress {
        Progress { rounds: 0, last: Instant::now(), busy, error: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_stuck_only_while_it_is_busy() {
        let board = Board::default();
        board.begin("mend");
        board.begin("runs");
        board.done("runs", None);
        assert_eq!(board.stuck(Duration::ZERO).map(|s| s.0), Some("mend"));
        assert_eq!(board.stuck(Duration::from_mins(1)), None);
        board.done("mend", Some("why".into()));
        assert_eq!(board.stuck(Duration::ZERO), None);
        assert_eq!(board.to_json()["mend"]["error"], "why");
    }
}
