//! Results of the checks of a data contract, as they are stored and shown.

use crate::state::UnknownWord;
use crate::words;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Longer samples are truncated.
pub const MAX_SAMPLE_CHARS: usize = 2_000;

words! {
    /// Policy for data that fails a check.
    CheckPolicy {
        /// The task fails and publishes nothing.
        Fail = 1 "fail",
        /// The data is published anyway.
        Warn = 2 "warn",
        /// Bad rows are quarantined, and the others are published.
        Quarantine = 3 "quarantine",
    }
}

words! {
    CheckOutcome {
        Pass = 0 "pass",
        Warn = 1 "warn",
        Fail = 2 "fail",
        /// Bad rows were quarantined.
        Quarantined = 3 "quarantined",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Name of the check, such as `order_id is unique`.
    pub name: String,
    /// Type of the check: `schema`, `not_null`, `range`, `unique`, …
    pub kind: String,
    pub policy: CheckPolicy,
    pub outcome: CheckOutcome,
    /// Number of checked rows.
    pub rows: u64,
    /// Number of rows that fail the check.
    pub bad: u64,
    /// Violations that the check found, with the keys of some rows. Empty if there are none.
    pub sample: String,
}

impl CheckOutcome {
    /// Returns the outcome of a failed check with this policy.
    pub const fn of_bad(policy: CheckPolicy) -> CheckOutcome {
        match policy {
            CheckPolicy::Fail => CheckOutcome::Fail,
            CheckPolicy::Warn => CheckOutcome::Warn,
            CheckPolicy::Quarantine => CheckOutcome::Quarantined,
        }
    }
}
