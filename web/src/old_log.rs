//! Notes about archived logs, for users and as a log line for programs.

use orch_store::rollover::LogStorage;
use serde_json::{Value, json};
use std::fmt::{Display, Formatter, Result};

/// Logger name that distinguishes this line from those of the task.
const LOGGER: &str = "orch.archive";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OldLog {
    /// The log was read from the archive.
    Read { place: String },
    /// No archive is configured for this server.
    Away { place: String },
}

impl OldLog {
    pub(crate) fn of(kept: LogStorage) -> Option<OldLog> {
        match kept {
            LogStorage::Here => None,
            LogStorage::Recalled { place } => Some(OldLog::Read { place }),
            LogStorage::Away { place } => Some(OldLog::Away { place }),
        }
    }

    /// Returns the line that precedes the log. Airflow also reports where it found a log.
    pub(crate) fn line(&self) -> Value {
        let (level, place) = match self {
            OldLog::Read { place } => ("info", place),
            OldLog::Away { place } => ("error", place),
        };
        json!({ "event": self.to_string(), "level": level, "logger": LOGGER, "place": place })
    }
}

impl Display for OldLog {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            OldLog::Read { place } => write!(f, "This log is old: it was read from the archive, {place}."),
            OldLog::Away { place } => {
                write!(f, "This log is old and went to {place}; this server was not told of an archive (ORCH_ARCHIVE).")
            }
        }
    }
}
