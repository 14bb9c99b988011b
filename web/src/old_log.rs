//! A log that went to an archive, in words for people and as a line for programs.

use orch_store::rollover::LogStorage;
use serde_json::{Value, json};
use std::fmt::{Display, Formatter, Result};

/// Tells the line from those of the task.
const LOGGER: &str = "orch.archive";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OldLog {
    /// It was read from the archive.
    Read { place: String },
    /// This server was not told of an archive.
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

    /// Before the first line of the log, as Airflow says where it found one.
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
