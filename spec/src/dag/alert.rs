//! Who is told of what becomes of a DAG, its runs and its tasks: notifiers and deadlines, as data. The telling itself is not
//! the core's.

use crate::state::UnknownWord;
use crate::words;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{fmt, str::FromStr};

/// Whom to tell, and in which words.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Notifier {
    /// Its type says how (e-mail, a webhook, a command); its address and its secrets stay there.
    #[serde(default)]
    pub connection: String,
    /// Words with fields in braces (`template::FIELDS`); the usual ones without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Of an e-mail: to these instead of those that the connection names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// Of a mapped task: told of each element by itself. Without it those that end near each other are one message.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub each: bool,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Who is told when something ends so.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Callbacks {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_success: Vec<Notifier>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_failure: Vec<Notifier>,
    /// Of tasks only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_retry: Vec<Notifier>,
    /// Of tasks only: the task itself, or a condition on its element, said so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_skipped: Vec<Notifier>,
    /// Of tasks only: a try asks people, and begins to wait for their answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_awaiting_input: Vec<Notifier>,
    /// Of DAGs only: an asset that one of its tasks updates is stale.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_stale: Vec<Notifier>,
    /// Of DAGs only: a check of one of its tasks ended as `fail` or put rows aside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_failed_check: Vec<Notifier>,
}

impl Callbacks {
    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// Every notifier, whatever it is for.
    pub fn all(&self) -> impl Iterator<Item = &Notifier> {
        self.lists().into_iter().flatten()
    }

    pub(crate) fn lists(&self) -> [&[Notifier]; 7] {
        [
            &self.on_success,
            &self.on_failure,
            &self.on_retry,
            &self.on_skipped,
            &self.on_awaiting_input,
            &self.on_stale,
            &self.on_failed_check,
        ]
    }
}

words! {
    /// What a deadline is counted from.
    DeadlineFrom {
        /// The run came to be.
        Queued = 1 "queued",
        /// It began.
        Started = 2 "started",
        /// The date it is for; a run without one has no such deadline.
        LogicalDate = 3 "logical_date",
    }
}

/// A run that is not over by then is late.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deadline {
    pub from: DeadlineFrom,
    pub after_ms: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<Notifier>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Deadline {
    /// `1 h after it started`.
    pub fn words(&self) -> String {
        deadline_words(self.from, self.after_ms)
    }
}

/// When a deadline is, counted from what.
pub fn deadline_words(from: DeadlineFrom, after_ms: u64) -> String {
    let from = match from {
        DeadlineFrom::Queued => "it was queued",
        DeadlineFrom::Started => "it started",
        DeadlineFrom::LogicalDate => "its logical date",
    };
    format!("{} after {from}", duration_words(after_ms))
}

/// Returns a duration in its largest whole unit, such as `90 s` or `2 h`.
pub fn duration_words(ms: u64) -> String {
    match ms {
        ms if ms % 3_600_000 == 0 && ms > 0 => format!("{} h", ms / 3_600_000),
        ms if ms % 60_000 == 0 && ms > 0 => format!("{} min", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}
