//! Cache of recently found connections and variables. Missing values are not cached, because a user may just have added
//! them.

use orch_sdk::task::Connection;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lifetime of a cache entry, and therefore the delay until a changed password takes effect.
const KEPT: Duration = Duration::from_secs(5);
/// Maximum number of cached connections, and of cached variables.
const MOST: usize = 1_000;

#[derive(Default)]
pub(super) struct Cache {
    connections: Mutex<HashMap<String, (Instant, Connection)>>,
    variables: Mutex<HashMap<String, (Instant, String)>>,
}

impl Cache {
    pub(super) fn connection(&self, id: &str) -> Option<Connection> {
        get(&self.connections, id)
    }

    pub(super) fn keep_connection(&self, found: &Connection) {
        keep(&self.connections, &found.id, found.clone());
    }

    pub(super) fn variable(&self, key: &str) -> Option<String> {
        get(&self.variables, key)
    }

    pub(super) fn keep_variable(&self, key: &str, found: &str) {
        keep(&self.variables, key, found.to_string());
    }
}

type TimedCache<T> = Mutex<HashMap<String, (Instant, T)>>;

fn get<T: Clone>(kept: &TimedCache<T>, key: &str) -> Option<T> {
    open(kept).get(key).filter(|(at, _)| at.elapsed() < KEPT).map(|(_, value)| value.clone())
}

fn keep<T>(kept: &TimedCache<T>, key: &str, value: T) {
    let mut kept = open(kept);
    if kept.len() >= MOST {
        kept.retain(|_, (at, _)| at.elapsed() < KEPT);
    }
    if kept.len() < MOST {
        kept.insert(key.into(), (Instant::now(), value));
    }
}

fn open<T>(kept: &TimedCache<T>) -> MutexGuard<'_, HashMap<String, (Instant, T)>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
