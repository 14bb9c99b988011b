//! Limits on concurrent runs of a DAG, and what happens to a run that exceeds them, as data. `core/src/overlap.rs`
//! applies them.

use crate::state::UnknownWord;
use crate::words;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

words! {
    /// Policy for a run that exceeds a limit on concurrent runs.
    #[derive(Default)]
    Overlap {
        #[default]
        /// The run waits until the limit allows it.
        Queue = 0 "queue",
        /// The run finishes immediately, with all its tasks skipped.
        Skip = 1 "skip",
        /// The oldest running runs are cancelled, and the run starts.
        CancelRunning = 2 "cancel_running",
    }
}

impl Overlap {
    /// Returns true for the default, which is not stored.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
    pub fn is_usual(&self) -> bool {
        *self == Overlap::Queue
    }
}

/// Maximum number of concurrent runs of a DAG for each value of a param.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concurrency {
    /// Name of a param. Dots select fields of objects.
    pub key: String,
    pub most: u32,
}
