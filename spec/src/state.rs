//! The states of tasks and runs: Airflow's names, and the numbers that a ledger stores.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Declares an enum whose words and numbers are part of the stored format. Never reuse or renumber one.
#[macro_export]
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[repr(i16)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant = $code,)+ }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }

            pub const fn code(self) -> i16 {
                self as i16
            }

            pub const fn from_code(code: i16) -> Option<$name> {
                match code { $($code => Some($name::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word {
                    $($word => Ok($name::$variant),)+
                    _ => Err(UnknownWord { kind: stringify!($name), word: word.into(), known: $name::WORDS }),
                }
            }
        }
    };
}

words! {
    /// State of a task instance. `None` (Airflow's null, "no status") means undecided.
    TaskState {
        None = 0 "none",
        /// Ready, but held by a limit or a window.
        Scheduled = 1 "scheduled",
        /// A worker can claim the instance. In a ledger it means in flight: queued, running or waiting for the next
        /// attempt.
        Queued = 2 "queued",
        Running = 3 "running",
        Restarting = 4 "restarting",
        Success = 5 "success",
        Failed = 6 "failed",
        Skipped = 7 "skipped",
        UpstreamFailed = 8 "upstream_failed",
        UpForRetry = 9 "up_for_retry",
        UpForReschedule = 10 "up_for_reschedule",
        Deferred = 11 "deferred",
        AwaitingInput = 12 "awaiting_input",
        Removed = 13 "removed",
    }
}

words! {
    RunState {
        Queued = 0 "queued",
        Running = 1 "running",
        Success = 2 "success",
        Failed = 3 "failed",
    }
}

words! {
    /// Why a run exists.
    RunType {
        Manual = 0 "manual",
        Scheduled = 1 "scheduled",
        Backfill = 2 "backfill",
        AssetTriggered = 3 "asset_triggered",
        OperatorTriggered = 4 "operator_triggered",
        AssetMaterialization = 5 "asset_materialization",
    }
}

words! {
    /// Origin of the request for a run.
    TriggeredBy {
        RestApi = 0 "rest_api",
        Cli = 1 "cli",
        Ui = 2 "ui",
        Timetable = 3 "timetable",
        Operator = 4 "operator",
        Asset = 5 "asset",
        Backfill = 6 "backfill",
        Test = 7 "test",
    }
}

impl TaskState {
    /// Returns true if nothing more happens unless a user clears the instance.
    pub const fn is_finished(self) -> bool {
        matches!(
            self,
            TaskState::Success
                | TaskState::Failed
                | TaskState::Skipped
                | TaskState::UpstreamFailed
                | TaskState::Removed
        )
    }

    /// Returns true if a leaf that ends in this state fails the run.
    pub const fn is_failed(self) -> bool {
        matches!(self, TaskState::Failed | TaskState::UpstreamFailed)
    }
}

/// Priority deduction for backfill runs. Two sums of weights never differ by more.
const FOR_THE_PAST: i32 = 2_000_000_000;

impl RunType {
    /// Returns the priority of a task in such a run. `of_task` is the priority that its DAG sets.
    pub const fn priority(self, of_task: i32) -> i32 {
        match self {
            RunType::Backfill => of_task.saturating_sub(FOR_THE_PAST),
            _ => of_task,
        }
    }
}

impl RunState {
    pub const fn is_finished(self) -> bool {
        matches!(self, RunState::Success | RunState::Failed)
    }
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("`{word}` is no {kind}: one of {}", known.join(", "))]
pub struct UnknownWord {
    pub kind: &'static str,
    pub word: String,
    pub known: &'static [&'static str],
}
