//! Waiting for files on the machine of the worker that polls, which belongs to the queue of the task.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A file, or files whose names match a pattern. Returns their paths, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileWait {
    /// `*` and `?` match characters within one path segment; `**` is not supported.
    pub path: String,
    /// Minimum time since the last write, in milliseconds.
    #[serde(default)]
    pub min_age_ms: u64,
    /// Time in milliseconds during which the size must not change, at most 10 s. The file is checked twice.
    #[serde(default)]
    pub stable_ms: u64,
    #[serde(default)]
    pub min_bytes: u64,
}

/// Waits until the file, or one that matches the pattern, exists.
pub fn file(path: impl Into<String>) -> FileWait {
    FileWait { path: path.into(), min_age_ms: 0, stable_ms: 0, min_bytes: 0 }
}

impl FileWait {
    /// Sets the minimum time since the last write.
    #[must_use]
    pub fn min_age(mut self, age: Duration) -> Self {
        self.min_age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Sets the time during which the size must not change, at most 10 s.
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
