//! Answers that are kept: each under what it depends on, so that one of an older snapshot is never found again.

use bytes::Bytes;
use orch_store::lake_view::LakeError;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OnceCell;

/// What an answer depends on: the endpoint, the format, the values, and where each of its tables is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

impl Key {
    pub(crate) fn of(parts: &[&[u8]]) -> Key {
        let mut hash = Sha256::new();
        for part in parts {
            // With their lengths: parts never run into each other.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Key(hash.finalize().into())
    }

    /// For the header `ETag`.
    pub(crate) fn tag(&self) -> String {
        let [first, second] = [0, 8].map(|at| self.0[at..at + 8].try_into().map_or(0, u64::from_be_bytes));
        format!("\"{first:016x}{second:016x}\"")
    }
}

/// A body, ready to be sent.
pub(crate) type Body = Bytes;
type Made = Result<Body, LakeError>;

/// At most so many bytes of bodies; those that were not asked for the longest go first.
pub(crate) struct Answers {
    most_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<Key, Entry>,
    /// Of all bodies that are there.
    bytes: usize,
    /// Grows with every question.
    tick: u64,
}

struct Entry {
    /// Empty while it is computed.
    body: Arc<OnceCell<Made>>,
    bytes: usize,
    used: u64,
}

impl Answers {
    pub(crate) fn new(most_bytes: usize) -> Answers {
        Answers { most_bytes, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer under a key. All who ask for it while it is computed wait for the same computation and hear how it ended; if
    /// the caller that began it goes away, another one begins anew.
    pub(crate) async fn get(&self, key: Key, make: impl Future<Output = Made>) -> Made {
        let body = {
            let mut kept = self.kept();
            kept.tick += 1;
            let used = kept.tick;
            let entry = kept.entries.entry(key).or_insert_with(|| Entry { body: Arc::default(), bytes: 0, used });
            entry.used = used;
            entry.body.clone()
        };
        let made = body.get_or_init(|| make).await.clone();
        self.kept().settle(key, &body, &made, self.most_bytes);
        made
    }
}

impl Kept {
    /// Counts a body that has come, and makes room. What failed is forgotten: the next one asks again.
    fn settle(&mut self, key: Key, body: &Arc<OnceCell<Made>>, made: &Made, most_bytes: usize) {
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| Arc::ptr_eq(&entry.body, body)) else { return };
        match made {
            Ok(body) if body.len() <= most_bytes => {
                self.bytes += body.len() - entry.bytes;
                entry.bytes = body.len();
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

    fn key(name: &str) -> Key {
        Key::of(&[name.as_bytes()])
    }

    async fn ask(answers: &Answers, name: &str, made: &AtomicUsize, bytes: usize) -> Made {
        let make = async {
            made.fetch_add(1, Ordering::Relaxed);
            // Others come meanwhile.
            tokio::task::yield_now().await;
            Ok(Bytes::from(vec![b'x'; bytes]))
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
        // Larger than all there is room for: answered, and not kept.
        assert_eq!(ask(&answers, "large", &made, 101).await.unwrap().len(), 101);
        assert!(answers.kept().bytes <= 100 && !answers.kept().entries.contains_key(&key("large")));
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_who_wait_and_then_forgotten() {
        let answers = Answers::new(100);
        let failed = || answers.get(key("a"), ready(Err(LakeError::Cancelled)));
        let (one, other) = tokio::join!(failed(), failed());
        assert_eq!((one, other), (Err(LakeError::Cancelled), Err(LakeError::Cancelled)));
        assert_eq!(answers.get(key("a"), ready(Ok(Bytes::from("b")))).await, Ok(Bytes::from("b")));
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_leaves_the_computation_to_the_next() {
        let answers = Answers::new(100);
        let left = tokio::time::timeout(std::time::Duration::ZERO, answers.get(key("a"), pending()));
        assert!(left.await.is_err());
        assert_eq!(answers.get(key("a"), ready(Ok(Bytes::from("b")))).await, Ok(Bytes::from("b")));
    }

    #[test]
    fn parts_of_a_key_never_run_into_each_other() {
        assert_ne!(Key::of(&[b"ab", b"c"]), Key::of(&[b"a", b"bc"]));
        assert_ne!(Key::of(&[b"a"]), Key::of(&[b"a", b""]));
    }
}
