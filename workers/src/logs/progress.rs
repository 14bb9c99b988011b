//! Progress of an attempt: the most recent report of processed rows and bytes. A report is a few atomic stores, cheap
//! enough to be made for every row.

use orch_store::progress::Progress as Said;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Interval of progress lines in a log while the progress changes. The log also ends with a progress line.
const LINE_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    rows: AtomicU64,
    bytes: AtomicU64,
    /// Milliseconds from the attempt's start to the last report. 0 if nothing was reported.
    said_ms: AtomicU64,
    /// Milliseconds from the attempt's start to the last progress line.
    line_ms: AtomicU64,
    /// True if the last report has not been shipped yet.
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
    /// Records a report. Returns the progress if a progress line is due.
    pub(super) fn say(&self, rows: u64, bytes: u64) -> Option<Said> {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.rows.store(rows, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.said_ms.store(now_ms.max(1), Ordering::Relaxed);
        self.is_new.store(true, Ordering::Release);
        let last = self.line_ms.load(Ordering::Relaxed);
        let is_due = u128::from(now_ms - last.min(now_ms)) >= LINE_EVERY.as_millis();
        // If several threads report at the same time, only one of them writes the line.
        let mine = is_due && self.line_ms.compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        mine.then(|| self.last())
    }

    /// Returns the progress if it was reported since the last call.
    pub(super) fn take(&self) -> Option<Said> {
        self.is_new.swap(false, Ordering::AcqRel).then(|| self.last())
    }

    /// Returns the progress for the last line of the log, or `None` if no progress was reported.
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
