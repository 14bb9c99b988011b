//! How far an attempt is: the last word counts, and a body that says it with every row costs two stores.

use orch_store::progress::Progress as Said;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// In the log it stands so often while it changes, and at the end.
const LINE_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    rows: AtomicU64,
    bytes: AtomicU64,
    /// When the last word was said, after the beginning.
    said_ms: AtomicU64,
    /// When the last line was written.
    line_ms: AtomicU64,
    /// Somebody said something that was not taken yet.
    is_new: AtomicBool,
}

impl Default for Progress {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Progress {
            began: Instant::now(),
            rows: zero(),
            bytes: zero(),
            said_ms: zero(),
            line_ms: zero(),
            is_new: AtomicBool::new(false),
        }
    }
}

impl Progress {
    /// `Some`: it is time for a line.
    pub(super) fn say(&self, rows: u64, bytes: u64) -> Option<Said> {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.rows.store(rows, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.said_ms.store(now_ms.max(1), Ordering::Relaxed);
        self.is_new.store(true, Ordering::Release);
        let last = self.line_ms.load(Ordering::Relaxed);
        let is_due = u128::from(now_ms - last.min(now_ms)) >= LINE_EVERY.as_millis();
        // Of many threads that say so at the same time one writes the line.
        let mine = is_due && self.line_ms.compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        mine.then(|| self.last())
    }

    /// What was said since the last call.
    pub(super) fn take(&self) -> Option<Said> {
        self.is_new.swap(false, Ordering::AcqRel).then(|| self.last())
    }

    /// For the end of the log, if anything was ever said.
    pub(super) fn last_line(&self) -> Option<Said> {
        (self.said_ms.load(Ordering::Relaxed) > 0).then(|| self.last())
    }

    fn last(&self) -> Said {
        let read = |number: &AtomicU64| i64::try_from(number.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        Said { rows: read(&self.rows), bytes: read(&self.bytes), after_ms: read(&self.said_ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_taken_once() {
        let progress = Progress::default();
        assert!(progress.take().is_none() && progress.last_line().is_none());
        assert!(progress.say(1, 10).is_none(), "it is too early for a line");
        progress.say(2, 20);
        let taken = progress.take().expect("something was said");
        assert_eq!((taken.rows, taken.bytes), (2, 20));
        assert!(progress.take().is_none());
        assert_eq!(progress.last_line().expect("it was said").rows, 2);
    }
}
