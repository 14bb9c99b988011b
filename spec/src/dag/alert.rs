//! Notifiers and deadlines as data: who is notified about a DAG, its runs and its tasks. Other crates send the
//! messages.

use crate::state::UnknownWord;
use crate::words;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{fmt, str::FromStr};

/// A recipient of alerts, and the text of the messages.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Notifier {
    /// Id of the connection. Its type is the channel (e-mail, webhook, command), and it stores the address and the
    /// secrets.
    #[serde(default)]
    pub connection: String,
    /// Template with fields in braces (`template::FIELDS`). `None`: the default text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// For e-mail: recipients that replace the recipients of the connection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// For a mapped task: true to send one alert per element. Otherwise, elements that end within a short time share
    /// one alert.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub each: bool,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Callbacks {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_success: Vec<Notifier>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_failure: Vec<Notifier>,
    /// Only for tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_retry: Vec<Notifier>,
    /// Only for tasks: the task itself or a condition on its element caused the skip.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_skipped: Vec<Notifier>,
    /// Only for tasks: an attempt starts to wait for an answer from users.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_awaiting_input: Vec<Notifier>,
    /// Only for DAGs: an asset that one of its tasks updates is stale.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_stale: Vec<Notifier>,
    /// Only for DAGs: a check of one of its tasks failed or quarantined rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_failed_check: Vec<Notifier>,
}

impl Callbacks {
    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// Returns all notifiers of all events.
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
    /// Event from which a deadline counts.
    DeadlineFrom {
        /// The run was created.
        Queued = 1 "queued",
        /// The run started.
        Started = 2 "started",
        /// Logical date of the run. A run without one has no such deadline.
        LogicalDate = 3 "logical_date",
    }
}

/// A run that has not finished by then is late.
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
    /// Returns a text such as `1 h after it started`.
    pub fn words(&self) -> String {
        deadline_words(self.from, self.after_ms)
    }
}

/// Returns the text of a deadline, such as `1 h after it started`.
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
