//! A cache of logins and tokens by the hash of the credential, and of users by name. It contains only rows that exist:
//! a caller can cause any number of misses, which would evict them.

use chrono::{DateTime, TimeDelta, Utc};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Maximum age of an entry. Changes by other servers apply after this time.
const REMEMBERED_FOR: TimeDelta = TimeDelta::seconds(1);
const MAX_ROWS: usize = 10_000;

#[derive(Debug)]
pub(super) struct Found<K, T> {
    rows: Mutex<HashMap<K, FoundRow<T>>>,
}

#[derive(Debug)]
struct FoundRow<T> {
    /// Time of the last read. `None` if the row may have changed since.
    read_at: Option<DateTime<Utc>>,
    row: T,
}

impl<T> FoundRow<T> {
    fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        self.read_at.is_some_and(|at| (TimeDelta::zero()..REMEMBERED_FOR).contains(&(now - at)))
    }
}

impl<K, T> Default for Found<K, T> {
    fn default() -> Self {
        Found { rows: Mutex::default() }
    }
}

impl<K: Eq + Hash, T: Clone> Found<K, T> {
    fn rows(&self) -> MutexGuard<'_, HashMap<K, FoundRow<T>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the row if it was read within the last second.
    pub(super) fn fresh<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: DateTime<Utc>) -> Option<T>
    where
        K: Borrow<Q>,
    {
        self.rows().get(key).filter(|row| row.is_fresh(now)).map(|row| row.row.clone())
    }

    /// Returns whether the last lookup of this key found a row, regardless of its age.
    pub(super) fn knows(&self, key: &K) -> bool {
        self.rows().contains_key(key)
    }

    /// Stores the result of a lookup. A miss removes the row.
    pub(super) fn keep(&self, key: K, now: DateTime<Utc>, row: Option<T>) {
        let mut rows = self.rows();
        let Some(row) = row else {
            rows.remove(&key);
            return;
        };
        if rows.len() >= MAX_ROWS {
            rows.retain(|_, row| row.is_fresh(now));
        }
        if rows.len() >= MAX_ROWS {
            rows.clear();
        }
        rows.insert(key, FoundRow { read_at: Some(now), row });
    }

    pub(super) fn forget<Q: Eq + Hash + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.rows().remove(key);
    }

    /// Invalidates all entries, so that each row is read again when it is needed.
    pub(super) fn expire_all(&self) {
        self.rows().values_mut().for_each(|row| row.read_at = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        hash
    }

    #[test]
    fn misses_do_not_evict_rows() {
        let (found, now) = (Found::default(), DateTime::<Utc>::UNIX_EPOCH);
        found.keep(hash(0), now, Some("ada"));
        (1..3 * MAX_ROWS).for_each(|number| found.keep(hash(number), now, None));
        assert_eq!((found.fresh(&hash(0), now), found.rows().len()), (Some("ada"), 1));
        let later = now + REMEMBERED_FOR;
        assert_eq!((found.fresh(&hash(0), later), found.knows(&hash(0))), (None, true));
        found.expire_all();
        assert_eq!((found.fresh(&hash(0), now), found.knows(&hash(0))), (None, true));
        found.keep(hash(0), later, None);
        assert!(!found.knows(&hash(0)), "the row was deleted");
        (0..MAX_ROWS + 10).for_each(|number| found.keep(hash(number), now, Some("bob")));
        assert!(found.rows().len() <= MAX_ROWS);
    }
}
