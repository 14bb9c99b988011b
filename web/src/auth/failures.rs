//! Logins that failed: after five within a quarter of an hour, a user cannot log in from that address for a while.
//!
//! Each server counts its own. An attempt counts when it begins, so that many at once are not more than five.

use chrono::{DateTime, TimeDelta, Utc};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const MOST_FAILURES: u32 = 5;
const WINDOW: TimeDelta = TimeDelta::minutes(15);
/// Users and addresses remembered; with more, the ones that failed longest ago are forgotten.
const MOST_KEYS: usize = 10_000;
/// In the audit log, by all clients of this server together within a window: names without end must not fill the database.
const MOST_NOTED: u32 = 1_000;
/// Longer names are no users; they are counted together.
const MOST_NAME_BYTES: usize = 250;

#[derive(Debug, Default)]
pub(super) struct Failures {
    seen: Mutex<HashMap<(String, IpAddr), Attempts>>,
    noted: Mutex<Option<Attempts>>,
}

#[derive(Debug, Clone, Copy)]
struct Attempts {
    count: u32,
    first: DateTime<Utc>,
}

impl Failures {
    /// Counts an attempt, or says how long there may be none.
    pub(super) fn begin(&self, name: &str, from: IpAddr, now: DateTime<Utc>) -> Result<(), Duration> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST_KEYS {
            seen.retain(|_, attempts| now - attempts.first < WINDOW);
        }
        if seen.len() >= MOST_KEYS {
            let oldest = seen.iter().min_by_key(|(_, attempts)| attempts.first).map(|(key, _)| key.clone());
            oldest.and_then(|key| seen.remove(&key));
        }
        let attempts = seen.entry(key(name, from)).or_insert(Attempts { count: 0, first: now });
        if now - attempts.first >= WINDOW {
            *attempts = Attempts { count: 0, first: now };
        }
        if attempts.count >= MOST_FAILURES {
            return Err((attempts.first + WINDOW - now).to_std().unwrap_or_default());
        }
        attempts.count += 1;
        Ok(())
    }

    /// Whether one more failure goes into the audit log.
    pub(super) fn may_be_noted(&self, now: DateTime<Utc>) -> bool {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = noted.get_or_insert(Attempts { count: 0, first: now });
        if now - noted.first >= WINDOW {
            *noted = Attempts { count: 0, first: now };
        }
        noted.count = noted.count.saturating_add(1);
        noted.count <= MOST_NOTED
    }

    /// The attempt was no failure.
    pub(super) fn forget(&self, name: &str, from: IpAddr) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(name, from));
    }
}

fn key(name: &str, from: IpAddr) -> (String, IpAddr) {
    let name = if name.len() > MOST_NAME_BYTES { "" } else { name };
    let from = match from {
        // Whoever has one address of a network of IPv6 has all 2^64 of them.
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    };
    (name.to_lowercase(), from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_attempt_waits_for_the_end_of_the_window() {
        let (failures, now) = (Failures::default(), DateTime::<Utc>::default());
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 0, 0, 1]));
        for _ in 0..MOST_FAILURES {
            assert_eq!(failures.begin("ada", here, now), Ok(()));
        }
        assert_eq!(failures.begin("ADA", here, now), Err(Duration::from_mins(15)));
        assert_eq!(failures.begin("ada", there, now), Ok(()), "another address counts for itself");
        assert_eq!(failures.begin("bob", here, now), Ok(()), "so does another user");
        assert_eq!(failures.begin("ada", here, now + WINDOW), Ok(()));
        let of_network = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
        let attempts = (1..=6).map(|host| failures.begin("ada", of_network(host), now).is_ok());
        assert_eq!(attempts.collect::<Vec<_>>(), [true, true, true, true, true, false], "one network is one place");
    }

    #[test]
    fn a_right_password_forgets_the_wrong_ones() {
        let (failures, now, here) = (Failures::default(), DateTime::<Utc>::default(), IpAddr::from([127, 0, 0, 1]));
        for _ in 0..20 {
            assert_eq!(failures.begin("ada", here, now), Ok(()));
            failures.forget("ada", here);
        }
    }

    #[test]
    fn so_many_failures_are_noted_in_a_window_whatever_their_names() {
        let (failures, now) = (Failures::default(), DateTime::<Utc>::default());
        let noted = |at| (0..2 * MOST_NOTED).filter(|_| failures.may_be_noted(at)).count();
        assert_eq!([now, now + WINDOW - TimeDelta::seconds(1), now + WINDOW].map(noted), [1_000, 0, 1_000]);
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let (failures, now, here) = (Failures::default(), DateTime::<Utc>::default(), IpAddr::from([127, 0, 0, 1]));
        for i in 0..(MOST_KEYS + 10) {
            let at = now + TimeDelta::milliseconds(i as i64);
            assert_eq!(failures.begin(&format!("user{i}"), here, at), Ok(()));
        }
        assert_eq!(failures.seen.lock().expect("no panic").len(), MOST_KEYS);
    }
}
