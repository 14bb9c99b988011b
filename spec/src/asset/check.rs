//! What a contract found of the data of an asset, as it is kept and shown.

use crate::state::UnknownWord;
use crate::words;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A longer sample is cut.
pub const MAX_SAMPLE_CHARS: usize = 2_000;

words! {
    /// What becomes of data that does not fit.
    CheckPolicy {
        /// Nothing is published, and the task fails.
        Fail = 1 "fail",
        /// It is published all the same.
        Warn = 2 "warn",
        /// The bad rows go aside, the others are published.
        Quarantine = 3 "quarantine",
    }
}

words! {
    /// How a check ended.
    CheckOutcome {
        Pass = 0 "pass",
        Warn = 1 "warn",
        Fail = 2 "fail",
        /// Rows were put aside.
        Quarantined = 3 "quarantined",
    }
}

/// One check of one lot of data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Which check: `order_id is unique`.
    pub name: String,
    /// What is checked: `schema`, `not_null`, `range`, `unique`, …
    pub kind: String,
    pub policy: CheckPolicy,
    pub outcome: CheckOutcome,
    /// Rows looked at.
    pub rows: u64,
    /// Those of them that do not fit.
    pub bad: u64,
    /// What was found, with some keys; empty where all is well.
    pub sample: String,
}

impl CheckOutcome {
    /// Of a check under this policy that found something.
    pub const fn of_bad(policy: CheckPolicy) -> CheckOutcome {
        match policy {
            CheckPolicy::Fail => CheckOutcome::Fail,
            CheckPolicy::Warn => CheckOutcome::Warn,
            CheckPolicy::Quarantine => CheckOutcome::Quarantined,
        }
    }
}
