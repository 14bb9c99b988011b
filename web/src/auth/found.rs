//! Rows of logins and tokens, by the hash of the credential. Only rows that exist are kept: unknown credentials, of which a caller can
//! send any number, would evict the known ones.

use super::Hash;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Maximum age of an entry, after which changes of other servers apply.
const REMEMBERED_FOR: TimeDelta = TimeDelta::seconds(1);
const MAX_ROWS: usize = 10_000;

#[derive(Debug)]
pub(super) struct Found<T> {
    rows: Mutex<HashMap<Hash, FoundRow<T>>>,
}

#[derive(Debug)]
struct FoundRow<T> {
    /// When the row was read. `None` if it may have changed since.
    read_at: Option<DateTime<Utc>>,
    row: T,
}

impl<T> FoundRow<T> {
    fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        self.read_at.is_some_and(|at| (TimeDelta::zero()..REMEMBERED_FOR).contains(&(now - at)))
    }
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Found { rows: Mutex::default() }
    }
}

impl<T: Clone> Found<T> {
    fn rows(&self) -> MutexGuard<'_, HashMap<Hash, FoundRow<T>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the row if it was read within the last second.
    pub(super) fn fresh(&self, hash: &Hash, now: DateTime<Utc>) -> Option<T> {
        self.rows().get(hash).filter(|row| row.is_fresh(now)).map(|row| row.row.clone())
    }

    /// True if the last look-up of the credential found a row, however long ago.
    pub(super) fn knows(&self, hash: &Hash) -> bool {
        self.rows().contains_key(hash)
    }

    /// Keeps what a look-up found. A miss removes the row.
    pub(super) fn keep(&self, hash: Hash, now: DateTime<Utc>, row: Option<T>) {
        let mut rows = self.rows();
        let Some(row) = row else {
            rows.remove(&hash);
            return;
        };
        if rows.len() >= MAX_ROWS {
            rows.retain(|_, row| row.is_fresh(now));
        }
        if rows.len() >= MAX_ROWS {
            rows.clear();
        }
        rows.insert(hash, FoundRow { read_at: Some(now), row });
    }

    pub(super) fn forget(&self, hash: &Hash) {
        self.rows().remove(hash);
    }

    /// Makes the next request with each credential read its row again.
    pub(super) fn expire_all(&self) {
        self.rows().values_mut().for_each(|row| row.read_at = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> Hash {
        let mut hash = Hash::default();
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
