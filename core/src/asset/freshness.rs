//! Decides whether an asset is fresh, stale or has no freshness limit.

use chrono::{DateTime, TimeDelta, Utc};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The asset has no freshness limit.
    Unpromised,
    Fresh {
        until: DateTime<Utc>,
    },
    Stale {
        since: DateTime<Utc>,
    },
}

/// Returns the freshness of an asset. The time `first_seen` counts as an update, so that a new asset is not stale
/// immediately.
pub fn freshness(
    within_ms: Option<u64>,
    first_seen: DateTime<Utc>,
    last_event: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Freshness {
    let Some(within) = within_ms else { return Freshness::Unpromised };
    let within = i64::try_from(within).ok().and_then(TimeDelta::try_milliseconds);
    let until = within.and_then(|within| last_event.unwrap_or(first_seen).checked_add_signed(within));
    match until {
        Some(until) if until < now => Freshness::Stale { since: until },
        Some(until) => Freshness::Fresh { until },
        None => Freshness::Fresh { until: DateTime::<Utc>::MAX_UTC },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("in range")
    }

    /// Checks the freshness of an asset with a limit of two hours that was first seen at second 0.
    fn check(last_event: Option<i64>, now: i64, expected: Freshness) {
        let found = freshness(Some(2 * 3_600_000), at(0), last_event.map(at), at(now));
        assert_eq!(found, expected, "last event {last_event:?}, now {now}");
    }

    #[test]
    fn an_asset_is_stale_when_its_time_is_over() {
        check(Some(HOUR), 2 * HOUR, Freshness::Fresh { until: at(3 * HOUR) });
        check(Some(HOUR), 3 * HOUR, Freshness::Fresh { until: at(3 * HOUR) });
        check(Some(HOUR), 3 * HOUR + 1, Freshness::Stale { since: at(3 * HOUR) });
        check(Some(9 * HOUR), 3 * HOUR, Freshness::Fresh { until: at(11 * HOUR) });
    }

    #[test]
    fn one_that_was_never_updated_has_its_time_from_when_it_was_first_seen() {
        check(None, HOUR, Freshness::Fresh { until: at(2 * HOUR) });
        check(None, 5 * HOUR, Freshness::Stale { since: at(2 * HOUR) });
    }

    #[test]
    fn without_a_promise_nothing_is_stale() {
        assert_eq!(freshness(None, at(0), None, at(i64::from(i32::MAX))), Freshness::Unpromised);
        let ever = freshness(Some(u64::MAX), at(0), None, at(HOUR));
        assert!(matches!(ever, Freshness::Fresh { .. }), "{ever:?}");
    }
}
