//! What a contract found of the data of an asset, as it is kept and shown.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A longer sample is cut.
pub const MAX_SAMPLE_CHARS: usize = 2_000;

/// What becomes of data that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckPolicy {
    /// Nothing is published, and the task fails.
    Fail,
    /// It is published all the same.
    Warn,
    /// The bad rows go aside, the others are published.
    Quarantine,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    Pass,
    Warn,
    Fail,
    /// Rows were put aside.
    Quarantined,
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

/// No word of this kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} of checks called `{word}`")]
pub struct UnknownCheckWord {
    what: &'static str,
    word: String,
}

macro_rules! words {
    ($type:ident, $what:literal, $($variant:ident = $word:literal),+) => {
        impl $type {
            pub const fn as_str(self) -> &'static str {
                match self { $( $type::$variant => $word, )+ }
            }
        }

        impl FromStr for $type {
            type Err = UnknownCheckWord;

            fn from_str(word: &str) -> Result<Self, UnknownCheckWord> {
                match word {
                    $( $word => Ok($type::$variant), )+
                    _ => Err(UnknownCheckWord { what: $what, word: word.into() }),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words!(CheckPolicy, "policy", Fail = "fail", Warn = "warn", Quarantine = "quarantine");
words!(CheckOutcome, "outcome", Pass = "pass", Warn = "warn", Fail = "fail", Quarantined = "quarantined");

impl CheckOutcome {
    /// The outcome of a check under this policy, some of whose rows did not fit.
    pub const fn of_bad(policy: CheckPolicy) -> CheckOutcome {
        match policy {
            CheckPolicy::Fail => CheckOutcome::Fail,
            CheckPolicy::Warn => CheckOutcome::Warn,
            CheckPolicy::Quarantine => CheckOutcome::Quarantined,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for policy in [CheckPolicy::Fail, CheckPolicy::Warn, CheckPolicy::Quarantine] {
            assert_eq!(policy.as_str().parse(), Ok(policy));
            assert_ne!(CheckOutcome::of_bad(policy), CheckOutcome::Pass);
        }
        for outcome in [CheckOutcome::Pass, CheckOutcome::Warn, CheckOutcome::Fail, CheckOutcome::Quarantined] {
            assert_eq!(outcome.to_string().parse(), Ok(outcome));
        }
        let unknown = "passed".parse::<CheckOutcome>().expect_err("it is another word");
        assert_eq!(unknown.to_string(), "there is no outcome of checks called `passed`");
    }
}
