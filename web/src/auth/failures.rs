//! Brute-force protection: after five failed logins within 15 minutes, a user cannot log in from that address for a
//! while. After fifty from all addresses, the user can log in only from addresses that succeeded before.
//!
//! Each server counts separately. An attempt counts when it starts, so that concurrent attempts cannot exceed the
//! limit.

use chrono::{DateTime, TimeDelta, Utc};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const MAX_FAILURES: u32 = 5;
/// Maximum number of failures of one user name, from all addresses. A botnet has many addresses with five attempts
/// each.
const MAX_FAILURES_OF_NAME: u32 = 50;
const WINDOW: TimeDelta = TimeDelta::minutes(15);
/// Maximum number of keys. When the limit is reached, the key with the fewest failures is dropped.
const MAX_KEYS: usize = 10_000;
/// Maximum number of failed logins per window that this server records in the audit log. Otherwise, random names could
/// fill the database.
const MOST_NOTED: u32 = 1_000;
/// User names are never longer. Longer names are counted together.
const MOST_NAME_BYTES: usize = 250;

#[derive(Debug, Default)]
pub(super) struct Failures {
    seen: Mutex<SeenLogins>,
    noted: Mutex<Option<Attempts>>,
}

#[derive(Debug, Default)]
struct SeenLogins {
    of_address: Counts<(String, IpAddr)>,
    of_name: Counts<String>,
    /// Successful logins. Attackers at other addresses cannot lock these users out.
    succeeded: Counts<(String, IpAddr)>,
}

#[derive(Debug)]
struct Counts<K>(HashMap<K, Attempts>);

#[derive(Debug, Clone, Copy)]
struct Attempts {
    count: u32,
    first: DateTime<Utc>,
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Counts(HashMap::new())
    }
}

impl<K: Clone + Eq + Hash> Counts<K> {
    /// Returns the attempts of a key within the current window.
    fn get(&mut self, key: &K, now: DateTime<Utc>) -> &mut Attempts {
        if self.0.len() >= MAX_KEYS && !self.0.contains_key(key) {
            self.0.retain(|_, attempts| now - attempts.first < WINDOW);
            // With password spraying, each name has one failure. Such names must not evict a name that is under attack.
            let fewest = self.0.iter().min_by_key(|(_, attempts)| (attempts.count, attempts.first));
            if let Some(key) = fewest.filter(|_| self.0.len() >= MAX_KEYS).map(|(key, _)| key.clone()) {
                self.0.remove(&key);
            }
        }
        let attempts = self.0.entry(key.clone()).or_insert(Attempts { count: 0, first: now });
        if now - attempts.first >= WINDOW {
            *attempts = Attempts { count: 0, first: now };
        }
        attempts
    }
}

impl Failures {
    fn seen(&self) -> MutexGuard<'_, SeenLogins> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an attempt, or returns for how long further attempts are rejected.
    pub(super) fn begin(&self, name: &str, from: IpAddr, now: DateTime<Utc>) -> Result<(), Duration> {
        let key = key(name, from);
        let SeenLogins { of_address, of_name, succeeded } = &mut *self.seen();
        let wait = |attempts: &Attempts| Err((attempts.first + WINDOW - now).to_std().unwrap_or_default());
        let of_name = of_name.get(&key.0, now);
        if of_name.count >= MAX_FAILURES_OF_NAME && !succeeded.0.contains_key(&key) {
            return wait(of_name);
        }
        let of_address = of_address.get(&key, now);
        if of_address.count >= MAX_FAILURES {
            return wait(of_address);
        }
        of_address.count += 1;
        of_name.count += 1;
        Ok(())
    }

    /// Returns whether one more failure may be written to the audit log.
    pub(super) fn may_be_noted(&self, now: DateTime<Utc>) -> bool {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = noted.get_or_insert(Attempts { count: 0, first: now });
        if now - noted.first >= WINDOW {
            *noted = Attempts { count: 0, first: now };
        }
        noted.count = noted.count.saturating_add(1);
        noted.count <= MOST_NOTED
    }

    /// Removes a successful attempt from the counters.
    pub(super) fn forget(&self, name: &str, from: IpAddr, now: DateTime<Utc>) {
        let key = key(name, from);
        let SeenLogins { of_address, of_name, succeeded } = &mut *self.seen();
        of_address.0.remove(&key);
        if let Some(attempts) = of_name.0.get_mut(&key.0) {
            attempts.count = attempts.count.saturating_sub(1);
        }
        succeeded.get(&key, now).count += 1;
    }
}

fn key(name: &str, from: IpAddr) -> (String, IpAddr) {
    let name = if name.len() > MOST_NAME_BYTES { "" } else { name };
    let from = match from {
        // A single client can use all 2^64 addresses of an IPv6 /64 network.
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
        for _ in 0..MAX_FAILURES {
            assert_eq!(failures.begin("ada", here, now), Ok(()));
        }
        assert_eq!(failures.begin("ADA", here, now), Err(Duration::from_mins(15)));
        assert_eq!(failures.begin("ada", there, now), Ok(()), "another address counts for itself");
        assert_eq!(failures.begin("bob", here, now), Ok(()), "so does another user");
        assert_eq!(failures.begin("ada", here, now + WINDOW), Ok(()));
        let failures = Failures::default();
        let of_network = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
        let attempts = (1..=6).map(|host| failures.begin("ada", of_network(host), now).is_ok());
        assert_eq!(attempts.collect::<Vec<_>>(), [true, true, true, true, true, false], "one network is one place");
    }

    #[test]
    fn a_right_password_forgets_the_wrong_ones() {
        let (failures, now, here) = (Failures::default(), DateTime::<Utc>::default(), IpAddr::from([127, 0, 0, 1]));
        for _ in 0..2 * MAX_FAILURES_OF_NAME {
            assert_eq!(failures.begin("ada", here, now), Ok(()));
            failures.forget("ada", here, now);
        }
    }

    /// Simulates a botnet, which has a different address for each attempt.
    #[test]
    fn failures_of_one_name_from_all_addresses_are_counted_together() {
        let (failures, now) = (Failures::default(), DateTime::<Utc>::default());
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        let office = address(1_000_000);
        assert_eq!(failures.begin("ada", office, now), Ok(()));
        failures.forget("ada", office, now);
        let attempts = (0..100).filter(|number| failures.begin("ada", address(*number), now).is_ok());
        assert_eq!(attempts.count(), 50);
        (0..MAX_KEYS + 100).for_each(|number| _ = failures.begin(&format!("user{number}"), address(7), now));
        assert_eq!(failures.begin("ada", address(100), now), Err(Duration::from_mins(15)), "other names evict nothing");
        assert_eq!(failures.begin("ada", office, now), Ok(()), "the user can log in where this succeeded before");
        assert_eq!(failures.begin("ada", address(100), now + WINDOW), Ok(()));
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
        for i in 0..(MAX_KEYS + 10) {
            let at = now + TimeDelta::milliseconds(i as i64);
            assert_eq!(failures.begin(&format!("user{i}"), here, at), Ok(()));
        }
        assert_eq!(failures.seen().of_address.0.len(), MAX_KEYS);
    }
}
