//! Limits of the number of connections, in total and per address.

use crate::config::WebConfig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use orch_core::network::Network;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum number of connections; more wait in the kernel's backlog. The limit is lower if the process may open few
/// files, because it needs some for other purposes.
const MOST_CONNECTIONS: usize = 4_096;
const FEWEST_CONNECTIONS: usize = 64;

pub(super) fn most_connections() -> usize {
    // The usual soft limit of 1,024 files is meant for interactive programs. It is raised as far as the hard limit
    // allows.
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, hard)| {
        let wanted = hard.min(2 * MOST_CONNECTIONS as u64).max(soft);
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).map_or(soft, |()| wanted)
    });
    usize::try_from(files / 2).unwrap_or(MOST_CONNECTIONS).clamp(FEWEST_CONNECTIONS, MOST_CONNECTIONS)
}

/// By default, an address may have an eighth of all connections.
const SHARE: usize = 8;

/// Counts connections by address.
#[derive(Debug, Clone)]
pub(super) struct Places {
    each: usize,
    /// Trusted proxies have no limit, because all their clients share one address.
    proxies: Arc<[Network]>,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Permit for a connection, released on drop.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    of: Option<(Places, IpAddr)>,
}

impl Places {
    pub(super) fn new(config: &WebConfig, most: usize) -> Places {
        let each = match config.connections_per_address {
            0 => most / SHARE,
            each => each,
        };
        Places { each, proxies: config.trusted_proxies.clone().into(), taken: Arc::default() }
    }

    /// Returns `None` if the address has reached its limit.
    pub(super) fn take(&self, address: IpAddr) -> Option<ConnectionPermit> {
        if self.proxies.iter().any(|network| network.contains(address)) {
            return Some(ConnectionPermit { of: None });
        }
        let address = network_of(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_insert(0);
        if *count >= self.each {
            return None;
        }
        *count += 1;
        Some(ConnectionPermit { of: Some((self.clone(), address)) })
    }
}

/// Returns the /64 network of an IPv6 address, which a single client can use as a whole.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let Some((places, address)) = &self.of else { return };
        let mut taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_have_all_places_but_a_proxy_may() {
        let proxy = "10.0.0.1".parse().expect("a network");
        let config = WebConfig { trusted_proxies: vec![proxy], ..WebConfig::new("postgres://") };
        let places = Places::new(&config, 16);
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut held = vec![places.take(one).expect("the first"), places.take(one).expect("the second")];
        assert!(places.take(one).is_none() && places.take(other).is_some());
        let v6 = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        let of_network = [places.take(v6(1)), places.take(v6(2))];
        assert!(of_network.iter().all(Option::is_some) && places.take(v6(3)).is_none(), "a network counts as one");
        held.pop();
        assert!(places.take(one).is_some());
        let all: Vec<_> = (0..9).map(|_| places.take(IpAddr::from([10, 0, 0, 1]))).collect();
        assert!(all.iter().all(Option::is_some));
        drop((held, all, of_network));
        assert!(places.taken.lock().expect("no panic").is_empty(), "no client is remembered without a reason");
    }
}
