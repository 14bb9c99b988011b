//! How many runs of a DAG may run at the same time, and what becomes of one for which there is no place: as data. What follows is
//! decided in `core/src/overlap.rs`.

use crate::state::UnknownWord;
use crate::words;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

words! {
    /// What becomes of a run for which there is no place.
    #[derive(Default)]
    Overlap {
        #[default]
        /// It waits until there is one.
        Queue = 0 "queue",
        /// It does not run: it is over at once, with all its tasks skipped.
        Skip = 1 "skip",
        /// The oldest of those that run are cancelled for it.
        CancelRunning = 2 "cancel_running",
    }
}

impl Overlap {
    /// It need not be written down.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
    pub fn is_usual(&self) -> bool {
        *self == Overlap::Queue
    }
}

/// At most so many runs of a DAG at the same time for each value that its params have there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concurrency {
    /// The name of a param; dots lead into objects.
    pub key: String,
    pub most: u32,
}
