//! Rate limit by token bucket: one bucket per user, and one per address for unauthenticated callers. A request costs
//! one point, an expensive one more; points are refilled over time.

use crate::server::network_of;
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Capacity of a bucket in seconds of its rate, because pages send bursts of requests.
const BURST_SECS: f64 = 10.0;
/// Rate of an unauthenticated address, relative to the rate of a user.
const OF_NOBODY: f64 = 0.1;
/// Maximum number of buckets. Beyond it, full buckets are dropped, which has no effect, and if necessary all of them.
const MOST_BUCKETS: usize = 10_000;

/// Cost of most requests.
pub(crate) const CHEAP: u32 = 1;
/// Cost of requests that read or render much data or hash a password.
pub(crate) const DEAR: u32 = 10;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum RateLimitKey {
    User(Arc<str>),
    Address(IpAddr),
}

impl RateLimitKey {
    pub(crate) fn at(address: IpAddr) -> RateLimitKey {
        RateLimitKey::Address(network_of(address))
    }
}

#[derive(Debug)]
pub(crate) struct Limits {
    /// Points per second for a user. 0 means no limit.
    per_second: f64,
    buckets: Mutex<HashMap<RateLimitKey, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    points: f64,
    at: DateTime<Utc>,
}

impl Limits {
    pub(crate) fn new(per_second: u32) -> Limits {
        Limits { per_second: f64::from(per_second), buckets: Mutex::default() }
    }

    fn rate(&self, who: &RateLimitKey) -> f64 {
        match who {
            RateLimitKey::User(_) => self.per_second,
            RateLimitKey::Address(_) => self.per_second * OF_NOBODY,
        }
    }

    /// Returns points that were charged for a lookup that succeeded.
    pub(crate) fn give_back(&self, who: &RateLimitKey, cost: u32) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(who) {
            bucket.points = (bucket.points + f64::from(cost)).min(self.rate(who) * BURST_SECS);
        }
    }

    /// Takes points, or returns the time to wait for them.
    pub(crate) fn take(&self, who: &RateLimitKey, cost: u32, now: DateTime<Utc>) -> Result<(), Duration> {
        let rate = self.rate(who);
        if rate <= 0.0 {
            return Ok(());
        }
        let (most, cost) = (rate * BURST_SECS, f64::from(cost));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST_BUCKETS && !buckets.contains_key(who) {
            let is_full = |bucket: &Bucket| (now - bucket.at).as_seconds_f64() >= BURST_SECS;
            buckets.retain(|_, bucket| !is_full(bucket));
            if buckets.len() >= MOST_BUCKETS {
                buckets.clear();
            }
        }
        let bucket = buckets.entry(who.clone()).or_insert(Bucket { points: most, at: now });
        let passed = (now - bucket.at).as_seconds_f64().max(0.0);
        *bucket = Bucket { points: (bucket.points + passed * rate).min(most), at: now };
        // A request that costs more than the capacity takes the whole bucket.
        let cost = cost.min(most);
        if bucket.points < cost {
            return Err(Duration::from_secs_f64(((cost - bucket.points) / rate).max(0.001)));
        }
        bucket.points -= cost;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn a_burst_is_let_through_and_then_the_rate_counts() {
        let (limits, now) = (Limits::new(10), DateTime::<Utc>::default());
        let ada = RateLimitKey::User("ada".into());
        assert_eq!((0..100).filter(|_| limits.take(&ada, CHEAP, now).is_ok()).count(), 100);
        assert_eq!(limits.take(&ada, CHEAP, now), Err(Duration::from_millis(100)));
        assert_eq!(limits.take(&ada, DEAR, now), Err(Duration::from_secs(1)));
        assert!(limits.take(&RateLimitKey::User("bob".into()), CHEAP, now).is_ok(), "each has a bucket");
        assert!(limits.take(&ada, DEAR, now + TimeDelta::seconds(1)).is_ok());
        assert!(limits.take(&ada, CHEAP, now + TimeDelta::seconds(1)).is_err());
    }

    #[test]
    fn nobody_has_a_tenth_and_one_network_is_one_place() {
        let (limits, now) = (Limits::new(10), DateTime::<Utc>::default());
        let of_network = |host: u16| RateLimitKey::at(IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]));
        assert_eq!((0..20).filter(|host| limits.take(&of_network(*host), CHEAP, now).is_ok()).count(), 10);
        limits.give_back(&of_network(1), CHEAP);
        assert_eq!((0..5).filter(|host| limits.take(&of_network(*host), CHEAP, now).is_ok()).count(), 1);
        limits.give_back(&of_network(1), 1_000);
        assert_eq!((0..20).filter(|host| limits.take(&of_network(*host), CHEAP, now).is_ok()).count(), 10);
        assert!((0..1_000).all(|_| Limits::new(0).take(&of_network(1), DEAR, now).is_ok()), "no limit");
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let (limits, now) = (Limits::new(10), DateTime::<Utc>::default());
        for i in 0..u32::try_from(MOST_BUCKETS + 10).expect("they are few") {
            assert!(limits.take(&RateLimitKey::Address(IpAddr::from(i.to_be_bytes())), CHEAP, now).is_ok());
        }
        assert!(limits.buckets.lock().expect("no panic").len() <= MOST_BUCKETS);
    }
}
