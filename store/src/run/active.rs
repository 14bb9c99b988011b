//! Computes the duration of a run from its active periods.

use chrono::{DateTime, TimeDelta, Utc};

/// Returns the duration of a run: the sum of its active periods, or `None` if the run has not started.
///
/// The first active period begins when the run starts, and a period ends when the run ends. If an ended run is cleared,
/// the next period begins: the clear resets `ended_at` and adds the time that has passed since then to `idle`. Time in
/// which every task waits, for example for a slot, a retry, a sensor or a user's answer, counts as active. A run that
/// has not ended is active until `now`.
///
/// The SQL function `active_seconds` computes the same value for runs that have ended.
pub fn active_time(
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    idle: TimeDelta,
    now: DateTime<Utc>,
) -> Option<TimeDelta> {
    let active = ended_at.unwrap_or(now) - started_at? - idle;
    Some(active.max(TimeDelta::zero()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_between_an_end_and_a_clear_is_not_counted() {
        let at = |minute: i64| DateTime::from_timestamp(1_800_000_000 + minute * 60, 0);
        let now = at(100).expect("a timestamp");
        let minutes = |started, ended, idle| {
            active_time(started, ended, TimeDelta::minutes(idle), now).map(|active| active.num_minutes())
        };
        assert_eq!(minutes(None, None, 0), None);
        assert_eq!(minutes(None, at(10), 0), None, "it ended before it started");
        assert_eq!(minutes(at(0), at(10), 0), Some(10));
        // The run ended after 10 minutes, was cleared 60 minutes later and then ran for 5 minutes.
        assert_eq!(minutes(at(0), at(75), 60), Some(15));
        assert_eq!(minutes(at(0), None, 60), Some(40), "it is still active");
        assert_eq!(minutes(at(101), None, 0), Some(0), "the clock of the database is ahead");
    }
}
