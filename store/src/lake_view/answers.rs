//! Cache of query results. A key contains everything that a result depends on, including the snapshots that were read,
//! so results of older snapshots are never returned.

use super::LakeError;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OnceCell;

/// Hash of everything that a result depends on: the query, its parameters, and the current location of each table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnswerKey([u8; 32]);

impl AnswerKey {
    pub fn of(parts: &[&[u8]]) -> AnswerKey {
        let mut hash = Sha256::new();
        for part in parts {
            // Includes the length of each part, so that parts that are split differently have different hashes.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        AnswerKey(hash.finalize().into())
    }

    /// Returns the value for the HTTP header `ETag`.
    pub fn tag(&self) -> String {
        let [first, second] = [0, 8].map(|at| self.0[at..at + 8].try_into().map_or(0, u64::from_be_bytes));
        format!("\"{first:016x}{second:016x}\"")
    }
}

/// A result that can be cached. Must be cheap to clone.
pub trait Kept: Clone {
    /// Returns the approximate size of the result in bytes.
    fn size(&self) -> usize;
}

type ComputedAnswer<T> = Result<T, LakeError>;

/// LRU cache of query results, limited by their total size in bytes.
#[derive(Debug)]
pub struct Answers<T> {
    most_bytes: usize,
    room: Mutex<Room<T>>,
}

#[derive(Debug)]
struct Room<T> {
    entries: HashMap<AnswerKey, Entry<T>>,
    /// Total size of the cached results in bytes.
    bytes: usize,
    /// Logical clock of the LRU order, incremented by every lookup.
    tick: u64,
}

#[derive(Debug)]
struct Entry<T> {
    /// Empty while the result is being computed.
    answer: Arc<OnceCell<ComputedAnswer<T>>>,
    bytes: usize,
    used: u64,
}

impl<T: Kept> Answers<T> {
    pub fn new(most_bytes: usize) -> Answers<T> {
        Answers { most_bytes, room: Mutex::new(Room { entries: HashMap::new(), bytes: 0, tick: 0 }) }
    }

    fn room(&self) -> MutexGuard<'_, Room<T>> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the result for a key from the cache, or computes it. Concurrent callers share one computation and its
    /// result or error. If the caller that computes the result is dropped, one of the others starts again.
    pub async fn get(&self, key: AnswerKey, make: impl Future<Output = ComputedAnswer<T>>) -> ComputedAnswer<T> {
        let answer = {
            let mut room = self.room();
            room.tick += 1;
            let used = room.tick;
            let entry = room.entries.entry(key).or_insert_with(|| Entry { answer: Arc::default(), bytes: 0, used });
            entry.used = used;
            entry.answer.clone()
        };
        let made = answer.get_or_init(|| make).await.clone();
        self.room().settle(key, &answer, &made, self.most_bytes);
        made
    }

    /// Removes a result, so that the next lookup computes it again.
    pub fn forget(&self, key: AnswerKey) {
        let mut room = self.room();
        if let Some(entry) = room.entries.remove(&key) {
            room.bytes -= entry.bytes;
        }
    }

    /// Returns the result for a key, if it is cached.
    pub fn known(&self, key: AnswerKey) -> Option<T> {
        let mut room = self.room();
        room.tick += 1;
        let used = room.tick;
        let entry = room.entries.get_mut(&key)?;
        entry.used = used;
        entry.answer.get()?.as_ref().ok().cloned()
    }
}

impl<T: Kept> Room<T> {
    /// Adds the size of a new result to the total, and evicts the least recently used results. Errors are removed, so
    /// that the next caller computes the result again.
    fn settle(
        &mut self,
        key: AnswerKey,
        answer: &Arc<OnceCell<ComputedAnswer<T>>>,
        made: &ComputedAnswer<T>,
        most_bytes: usize,
    ) {
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| Arc::ptr_eq(&entry.answer, answer)) else { return };
        match made.as_ref().map(Kept::size) {
            Ok(size) if size <= most_bytes => {
                self.bytes += size - entry.bytes;
                entry.bytes = size;
            }
            _ => {
                self.entries.remove(&key);
            }
        }
        while self.bytes > most_bytes {
            let known = self.entries.iter().filter(|(_, entry)| entry.bytes > 0);
            let Some(oldest) = known.min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key) else { return };
            self.bytes -= self.entries.remove(&oldest).map_or(0, |entry| entry.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicUsize, Ordering};

    impl Kept for Arc<[u8]> {
        fn size(&self) -> usize {
            self.len()
        }
    }

    fn key(name: &str) -> AnswerKey {
        AnswerKey::of(&[name.as_bytes()])
    }

    async fn ask(
        answers: &Answers<Arc<[u8]>>,
        name: &str,
        made: &AtomicUsize,
        bytes: usize,
    ) -> ComputedAnswer<Arc<[u8]>> {
        let make = async {
            made.fetch_add(1, Ordering::Relaxed);
            // Lets other callers request the same key during the computation.
            tokio::task::yield_now().await;
            Ok(Arc::from(vec![b'x'; bytes]))
        };
        answers.get(key(name), make).await
    }

    #[tokio::test]
    async fn one_computation_serves_all_who_ask_meanwhile_and_later() {
        let (answers, made) = (Answers::new(100), AtomicUsize::new(0));
        let all = futures::future::join_all((0..50).map(|_| ask(&answers, "a", &made, 10))).await;
        assert!(all.into_iter().all(|answer| answer.unwrap().len() == 10));
        ask(&answers, "a", &made, 10).await.unwrap();
        assert_eq!(made.into_inner(), 1);
    }

    #[tokio::test]
    async fn what_was_not_asked_for_the_longest_makes_room() {
        let (answers, made) = (Answers::new(100), AtomicUsize::new(0));
        for name in ["a", "b", "a", "c"] {
            ask(&answers, name, &made, 40).await.unwrap();
        }
        assert_eq!(made.load(Ordering::Relaxed), 3);
        ask(&answers, "a", &made, 40).await.unwrap();
        assert_eq!(made.load(Ordering::Relaxed), 3, "`b` went");
        ask(&answers, "b", &made, 40).await.unwrap();
        assert_eq!(made.load(Ordering::Relaxed), 4);
        // A result larger than the cache is returned, but not cached.
        assert_eq!(ask(&answers, "large", &made, 101).await.unwrap().len(), 101);
        assert!(answers.room().bytes <= 100 && !answers.room().entries.contains_key(&key("large")));
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_who_wait_and_then_forgotten() {
        let answers: Answers<Arc<[u8]>> = Answers::new(100);
        let failed = || answers.get(key("a"), ready(Err(LakeError::Cancelled)));
        let (one, other) = tokio::join!(failed(), failed());
        assert_eq!((one, other), (Err(LakeError::Cancelled), Err(LakeError::Cancelled)));
        assert_eq!(answers.known(key("a")), None);
        let b: Arc<[u8]> = Arc::from(*b"b");
        assert_eq!(answers.get(key("a"), ready(Ok(b.clone()))).await, Ok(b.clone()));
        assert_eq!(answers.known(key("a")), Some(b));
        answers.forget(key("a"));
        assert_eq!((answers.known(key("a")), answers.room().bytes), (None, 0));
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_leaves_the_computation_to_the_next() {
        let answers: Answers<Arc<[u8]>> = Answers::new(100);
        let left = tokio::time::timeout(std::time::Duration::ZERO, answers.get(key("a"), pending()));
        assert!(left.await.is_err());
        let b: Arc<[u8]> = Arc::from(*b"b");
        assert_eq!(answers.get(key("a"), ready(Ok(b.clone()))).await, Ok(b));
    }

    #[test]
    fn parts_of_a_key_never_run_into_each_other() {
        assert_ne!(AnswerKey::of(&[b"ab", b"c"]), AnswerKey::of(&[b"a", b"bc"]));
        assert_ne!(AnswerKey::of(&[b"a"]), AnswerKey::of(&[b"a", b""]));
    }
}
