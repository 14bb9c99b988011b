//! Detects pauses of the scheduler, the database or the machine. No worker can renew its lease during a pause, so after
//! a pause each worker gets one more lease period before it is declared lost (`worker::reap_since`).

use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// Minimum lease time that the detection assumes, because shorter pauses cannot be distinguished from a slow response.
/// Tests use leases this short.
const SHORTEST_LEASE: Duration = Duration::from_millis(300);

/// Detects pauses by comparing the database clock between polls.
#[derive(Debug, Default)]
pub(crate) struct PauseDetector {
    last: Option<DateTime<Utc>>,
    /// Database time at the end of the last pause.
    ended: Option<DateTime<Utc>>,
}

impl PauseDetector {
    /// Returns true if there was a pause since the last poll. `now` is the database time, `planned` is how long this
    /// scheduler intended to sleep, and `lease` is the shortest lease of a living worker.
    pub(crate) fn notices(&mut self, now: DateTime<Utc>, planned: Duration, lease: Duration) -> bool {
        let gap = self.last.replace(now).map(|last| now - last);
        // With three heartbeats per lease, no lease expires if the time between polls exceeds the planned sleep by at
        // most a third of the lease.
        let most = delta(planned.saturating_add(lease.max(SHORTEST_LEASE) / 3));
        let paused = gap.is_some_and(|gap| gap > most || gap < TimeDelta::zero());
        if paused {
            tracing::info!(?gap, "this scheduler or its database stood still: workers get another lease");
            self.ended = Some(now);
        }
        paused
    }

    /// Returns the start of the current period without pauses, in which workers could renew their leases. This is the
    /// end of the last pause or the start of the database server, whichever is later.
    pub(crate) fn awake_since(&self, server_started: DateTime<Utc>) -> DateTime<Utc> {
        self.ended.map_or(server_started, |ended| ended.max(server_started))
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);
    const LOOK: Duration = Duration::from_secs(5);

    fn at(secs: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + secs, 0).expect("a time")
    }

    #[test]
    fn a_steady_scheduler_notices_no_pause() {
        let mut detector = PauseDetector::default();
        assert!(![0, 5, 10, 14].into_iter().any(|t| detector.notices(at(t), LOOK, LEASE)));
        assert_eq!(detector.awake_since(at(-100)), at(-100));
    }

    #[test]
    fn after_a_pause_workers_count_as_awake_since_its_end() {
        let mut detector = PauseDetector::default();
        let noticed = [0, 600, 605].map(|t| detector.notices(at(t), LOOK, LEASE));
        assert_eq!(noticed, [false, true, false]);
        assert_eq!(detector.awake_since(at(-100)), at(600));
        assert_eq!(detector.awake_since(at(603)), at(603), "the server was restarted later");
    }

    #[test]
    fn a_pause_is_as_long_as_the_shortest_lease_makes_it() {
        let (mut short, mut long) = (PauseDetector::default(), PauseDetector::default());
        short.notices(at(0), LOOK, Duration::from_secs(6));
        long.notices(at(0), LOOK, LEASE);
        assert!(short.notices(at(8), LOOK, Duration::from_secs(6)));
        assert!(!long.notices(at(8), LOOK, LEASE));
    }

    #[test]
    fn a_clock_that_is_set_back_is_a_pause() {
        let mut detector = PauseDetector::default();
        detector.notices(at(0), LOOK, LEASE);
        assert!(detector.notices(at(-3_600), LOOK, LEASE));
    }
}
