//! Waiting for files where the worker runs that looks: one of the task's queue.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A file, or files whose names fit a pattern. Gives their paths, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileWait {
    /// `*` and `?` stand for letters of one name; `**` is no pattern.
    pub path: String,
    /// It has not been written to for so long.
    #[serde(default)]
    pub min_age_ms: u64,
    /// Its size stays the same for so long, at most 10 s: it is looked at twice.
    #[serde(default)]
    pub stable_ms: u64,
    #[serde(default)]
    pub min_bytes: u64,
}

/// Until a file, or one that fits the pattern, is there.
pub fn file(path: impl Into<String>) -> FileWait {
    FileWait { path: path.into(), min_age_ms: 0, stable_ms: 0, min_bytes: 0 }
}

impl FileWait {
    /// It has not been written to for so long.
    #[must_use]
    pub fn min_age(mut self, age: Duration) -> Self {
        self.min_age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Its size stays the same for so long, at most 10 s.
    #[must_use]
    pub fn stable_for(mut self, time: Duration) -> Self {
        self.stable_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self
    }

    #[must_use]
    pub fn min_bytes(mut self, bytes: u64) -> Self {
        self.min_bytes = bytes;
        self
    }
}
