//! Nobody is taken for dead because everybody slept. When the scheduler, the database or the whole machine stood still,
//! the workers' leases ran out without anybody being able to renew them: they get one lease more.

use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// Watches the database's clock from look to look.
#[derive(Debug, Default)]
pub(crate) struct PauseDetector {
    last: Option<DateTime<Utc>>,
    /// Nobody is taken for lost before.
    patient_until: Option<DateTime<Utc>>,
}

impl PauseDetector {
    /// `now` and `server_started` are the database's. `planned`: how long this scheduler meant to sleep since the last
    /// look. Whether silent workers may be taken for lost.
    pub(crate) fn may_reap(
        &mut self,
        now: DateTime<Utc>,
        server_started: DateTime<Utc>,
        planned: Duration,
        lease: Duration,
    ) -> bool {
        let delta = |d: Duration| TimeDelta::from_std(d).unwrap_or(TimeDelta::MAX);
        let gap = self.last.replace(now).map(|last| now - last);
        // A worker beats thrice in a lease, so no lease runs out in a third of it and what was planned.
        if gap.is_some_and(|gap| gap > delta(planned) + delta(lease / 3) || gap < TimeDelta::zero()) {
            tracing::info!(?gap, "this scheduler or its database stood still: workers get another lease");
            self.patient_until = Some(now + delta(lease));
        }
        now >= server_started + delta(lease) && self.patient_until.is_none_or(|until| now >= until)
    }
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
    fn a_steady_scheduler_may_reap_at_once() {
        let mut detector = PauseDetector::default();
        assert!([0, 5, 10, 14].into_iter().all(|t| detector.may_reap(at(t), at(-100), LOOK, LEASE)));
    }

    #[test]
    fn after_a_pause_everybody_gets_one_lease() {
        let mut detector = PauseDetector::default();
        assert!(detector.may_reap(at(0), at(-100), LOOK, LEASE));
        let asked = [600, 605, 610, 614, 615].map(|t| detector.may_reap(at(t), at(-100), LOOK, LEASE));
        assert_eq!(asked, [false, false, false, false, true]);
    }

    #[test]
    fn after_a_restart_of_the_server_everybody_gets_one_lease() {
        let mut detector = PauseDetector::default();
        assert!(!detector.may_reap(at(0), at(-14), LOOK, LEASE));
        assert!(detector.may_reap(at(1), at(-14), LOOK, LEASE));
    }

    #[test]
    fn a_clock_that_is_set_back_kills_nobody() {
        let mut detector = PauseDetector::default();
        detector.may_reap(at(0), at(-9_999), LOOK, LEASE);
        assert!(!detector.may_reap(at(-3_600), at(-9_999), LOOK, LEASE));
    }
}
