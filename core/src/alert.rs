//! Decides which alerts a transition creates, builds their messages and computes when a failed delivery is retried.
//! Pure functions of the DAG spec and of what happened.
//!
//! The key of an alert makes delivery idempotent: a transition that is applied twice creates the same key, so the alert
//! is stored once, and a receiver that gets an alert twice can recognize it by its key.

mod failed;
mod gather;
mod link;
mod words;

pub use failed::{FailedTask, FailedTasks, MAX_NAMED_FAILURES};
pub use gather::{Elements, FEW_ELEMENTS, gathered};
pub use link::path;
pub use words::{Message, message};

use chrono::{DateTime, Utc};
use orch_spec::approval::Question;
use orch_spec::state::{RunState, TaskState, UnknownWord};
use orch_spec::text::Text;
use orch_spec::{DagSpec, Deadline, Notifier, TaskSpec, duration_words, words};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// Maximum length of the reason in an alert, in characters. Longer reasons are truncated.
const MOST_REASON_CHARS: usize = 1_000;
/// Maximum length of the question in an alert, in characters. The page where users answer shows the whole text.
const MOST_BODY_CHARS: usize = 4_000;
/// Delay after the first failed delivery. It doubles with each failure, up to `LONGEST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// Time window in which ended elements of a mapped task are combined into one alert. If their run finishes earlier, the
/// alert is sent then.
pub const GATHER_FOR: Duration = Duration::from_secs(10);
/// Maximum interval between two alerts about one mapped task. The interval doubles up to this maximum, so 10,000
/// elements that fail over a day cause about 150 messages.
pub const LONGEST_GATHER: Duration = Duration::from_mins(10);
/// Age after which an undelivered alert is dropped, because it is no longer useful.
pub const GIVE_UP_AFTER: Duration = Duration::from_hours(24);

words! {
    AlertKind {
        RunSuccess = 1 "run_success",
        RunFailed = 2 "run_failed",
        TaskSuccess = 3 "task_success",
        TaskFailed = 4 "task_failed",
        TaskRetry = 5 "task_retry",
        TaskSkipped = 6 "task_skipped",
        DeadlineMissed = 7 "deadline_missed",
        AssetStale = 8 "asset_stale",
        CheckFailed = 9 "check_failed",
        /// A user sends a test message through a notifier.
        Test = 10 "test",
        /// A task attempt asks users a question and waits for their answer.
        TaskAwaitingInput = 11 "task_awaiting_input",
        /// A stream, capture or mirror fails repeatedly, or waits until a user restarts it.
        StreamStopped = 12 "stream_stopped",
    }
}

words! {
    AlertState {
        /// The alert must still be sent, possibly after a failed delivery.
        Waiting = 1 "waiting",
        Sent = 2 "sent",
        /// The alert could not be delivered within `GIVE_UP_AFTER`.
        Failed = 3 "failed",
    }
}

/// Facts about the event that an alert reports. The caller masks secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dag_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map_index: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub try_number: Option<i16>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Error message or another explanation of the event.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// URI of the asset, if the alert is about an asset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<AlertQuestion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<StoppedStream>,
    /// Public URL of the web server, which links start with. The sender sets it. If it is empty, links are paths.
    #[serde(skip)]
    pub address: String,
    /// Elements of a mapped task that are combined into this alert. `None` if the alert is about a single instance or
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elements: Option<Elements>,
    /// The failed tasks of a failed run. The sender reads them when it claims the alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedTasks>,
}

impl Facts {
    /// Returns the number of ended task attempts that the alert combines.
    pub fn count(&self) -> i64 {
        self.elements.as_ref().map_or(1, |elements| elements.count)
    }

    /// Returns the map indexes that the alert lists. If the alert combines many elements, these are only the first few.
    pub fn map_indexes(&self) -> Vec<i32> {
        let few = self.elements.as_ref().map(|elements| elements.first.clone());
        few.unwrap_or_else(|| self.map_index.into_iter().collect())
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoppedStream {
    pub name: String,
    /// Topic that the stream reads. Empty for a capture, which reads a database.
    pub topic: String,
    /// Records that the stream could not publish, such as `partition 0, offsets 17 to 20`. Empty if the stream failed
    /// before it read a record.
    pub records: String,
    /// Number of failures since the stream's last commit.
    pub failures: u32,
    /// True if orch does not retry the stream automatically, so a user must restart it.
    pub waits_for_restart: bool,
}

impl StoppedStream {
    /// Returns the command with which a user restarts the stream after fixing the cause.
    pub fn command(&self) -> String {
        format!("orch streams restart {}", self.name)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertQuestion {
    /// Id of the attempt that asks the question. The answer must contain this id.
    pub id: Uuid,
    pub subject: String,
    pub body: String,
    pub options: Vec<String>,
    /// Users who may answer the question. Empty if every user who may start runs can answer.
    pub assigned_users: Vec<String>,
    /// Deadline for the answer, by the database clock. The SQL statement that records the wait sets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NewAlert {
    pub key: String,
    pub kind: AlertKind,
    pub notifier: Notifier,
    pub facts: Facts,
    /// Key that identifies alerts of one run that are combined into a single alert. `None` if the alert is sent
    /// separately.
    pub gather: Option<String>,
}

#[derive(Debug, Clone, Copy)]
pub struct TryEnd<'a> {
    pub attempt: Uuid,
    pub try_number: i16,
    pub map_index: i32,
    pub state: TaskState,
    /// Messages of the error and its causes, outermost first.
    pub causes: &'a [Text],
}

/// Returns the alerts for the end of a task attempt. As in Airflow, an instance that never ran or that a user marked
/// causes no alerts.
pub fn of_try(dag_id: &str, task: &TaskSpec, end: TryEnd<'_>) -> Vec<NewAlert> {
    let of = &task.callbacks;
    let (kind, notifiers) = match end.state {
        TaskState::Success => (AlertKind::TaskSuccess, &of.on_success),
        TaskState::Failed => (AlertKind::TaskFailed, &of.on_failure),
        TaskState::UpForRetry => (AlertKind::TaskRetry, &of.on_retry),
        TaskState::Skipped => (AlertKind::TaskSkipped, &of.on_skipped),
        _ => return Vec::new(),
    };
    let facts = || Facts {
        dag_id: dag_id.into(),
        task_id: Some(task.task_id.clone()),
        map_index: (end.map_index >= 0).then_some(end.map_index),
        try_number: Some(end.try_number),
        state: end.state.to_string(),
        reason: shortened(&end.causes.join(": ")),
        ..Facts::default()
    };
    let mut alerts = each(notifiers, kind, &end.attempt.to_string(), facts);
    if end.map_index >= 0 {
        for (nth, alert) in alerts.iter_mut().enumerate().filter(|(_, alert)| !alert.notifier.each) {
            // The key contains the connection id, because another version of the DAG may have a different notifier at
            // this index.
            alert.gather = Some(format!("{kind}/{}/{nth}/{}", task.task_id, alert.notifier.connection));
        }
    }
    alerts
}

/// A task attempt that starts to wait for an answer from users.
#[derive(Debug, Clone, Copy)]
pub struct TryAsks<'a> {
    pub attempt: Uuid,
    /// Lease number of the attempt when it asks. The number changes after an answer, so a second question of the same
    /// attempt has its own alert.
    pub lease_no: i32,
    pub try_number: i16,
    pub map_index: i32,
    pub question: &'a Question,
}

/// Returns the alerts to create when an attempt starts to wait for users. No further alert is created when a worker
/// later resumes the wait.
pub fn of_question(dag_id: &str, task: &TaskSpec, asks: TryAsks<'_>) -> Vec<NewAlert> {
    let question = asks.question;
    let facts = || Facts {
        dag_id: dag_id.into(),
        task_id: Some(task.task_id.clone()),
        map_index: (asks.map_index >= 0).then_some(asks.map_index),
        try_number: Some(asks.try_number),
        state: TaskState::AwaitingInput.to_string(),
        reason: shortened(&question.subject),
        asked: Some(AlertQuestion {
            id: asks.attempt,
            subject: question.subject.clone(),
            body: question.body.as_deref().unwrap_or_default().chars().take(MOST_BODY_CHARS).collect(),
            options: question.options.clone(),
            assigned_users: question.assigned_users.clone(),
            until: None,
        }),
        ..Facts::default()
    };
    let of = format!("{}/{}", asks.attempt, asks.lease_no);
    each(&task.callbacks.on_awaiting_input, AlertKind::TaskAwaitingInput, &of, facts)
}

/// Returns the alerts of a run that failed because its timeout passed.
pub fn of_timed_out_run(spec: &DagSpec, run: Uuid, rev: i32) -> Vec<NewAlert> {
    let timeout = spec.run_timeout_ms.map(|ms| format!(" of {}", duration_words(ms))).unwrap_or_default();
    let mut alerts = of_run(spec, run, rev, RunState::Failed);
    alerts.iter_mut().for_each(|alert| alert.facts.reason = format!("it did not finish within its timeout{timeout}"));
    alerts
}

/// Returns the alerts for the end of a run. `rev` is the run's revision: a cleared run can end again at another
/// revision.
pub fn of_run(spec: &DagSpec, run: Uuid, rev: i32, state: RunState) -> Vec<NewAlert> {
    let (kind, notifiers) = match state {
        RunState::Success => (AlertKind::RunSuccess, &spec.callbacks.on_success),
        RunState::Failed => (AlertKind::RunFailed, &spec.callbacks.on_failure),
        RunState::Queued | RunState::Running => return Vec::new(),
    };
    let facts = || Facts { dag_id: spec.dag_id.clone(), state: state.to_string(), ..Facts::default() };
    each(notifiers, kind, &format!("{run}/{rev}"), facts)
}

pub fn of_deadline(dag_id: &str, (nth, deadline): (usize, &Deadline), run: Uuid, state: RunState) -> Vec<NewAlert> {
    let reason = format!("not over {}", deadline.words());
    let facts =
        || Facts { dag_id: dag_id.into(), state: state.to_string(), reason: reason.clone(), ..Facts::default() };
    each(&deadline.notify, AlertKind::DeadlineMissed, &format!("{run}/{nth}"), facts)
}

/// Returns the alerts for a stale asset that tasks of this DAG update. `since`, the start of the stale period, is part
/// of the alert's key, so each stale period has its own alert.
pub fn of_stale_asset(spec: &DagSpec, uri: &str, since: DateTime<Utc>) -> Vec<NewAlert> {
    let facts = || Facts {
        dag_id: spec.dag_id.clone(),
        state: "stale".into(),
        reason: format!("no update since {}", orch_spec::schedule::isoformat(since)),
        asset: Some(uri.into()),
        ..Facts::default()
    };
    let of = format!("{}/{}/{uri}", spec.dag_id, since.timestamp_micros());
    each(&spec.callbacks.on_stale, AlertKind::AssetStale, &of, facts)
}

/// Returns the alerts for a stopped stream. `epoch` is part of the alert's key, so each outage has its own alert.
pub fn of_stopped_stream(notifiers: &[Notifier], stream: &StoppedStream, epoch: i64, error: &str) -> Vec<NewAlert> {
    let facts = || Facts {
        state: if stream.waits_for_restart { "failed" } else { "retrying" }.into(),
        reason: shortened(error),
        stream: Some(stream.clone()),
        ..Facts::default()
    };
    each(notifiers, AlertKind::StreamStopped, &format!("{}/{epoch}", stream.name), facts)
}

#[derive(Debug, Clone)]
pub struct FailedCheck {
    pub id: i64,
    pub uri: String,
    pub name: String,
    pub outcome: String,
    pub bad: i64,
    pub rows: i64,
    pub task_id: String,
    pub map_index: i32,
    pub try_number: i16,
}

pub fn of_failed_check(spec: &DagSpec, check: &FailedCheck) -> Vec<NewAlert> {
    let facts = || Facts {
        dag_id: spec.dag_id.clone(),
        task_id: Some(check.task_id.clone()),
        map_index: (check.map_index >= 0).then_some(check.map_index),
        try_number: Some(check.try_number),
        state: check.outcome.clone(),
        reason: shortened(&format!("{}: {} of {} rows", check.name, check.bad, check.rows)),
        asset: Some(check.uri.clone()),
        ..Facts::default()
    };
    each(&spec.callbacks.on_failed_check, AlertKind::CheckFailed, &check.id.to_string(), facts)
}

/// Builds an alert with a test message, which shows whether a notifier works.
pub fn test(notifier: Notifier, id: Uuid, by: &str) -> NewAlert {
    let facts = Facts { reason: format!("{by} wanted to see whether it arrives"), ..Facts::default() };
    NewAlert { key: format!("test/{id}"), kind: AlertKind::Test, notifier, facts, gather: None }
}

/// Returns the delay before the next delivery of an alert after `tries` failed deliveries, given the alert's `age`.
/// `None` if no further delivery is attempted.
pub fn again_in(tries: i32, age: Duration) -> Option<Duration> {
    let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(0).min(16);
    let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
    (age + pause <= GIVE_UP_AFTER).then_some(pause)
}

fn each(notifiers: &[Notifier], kind: AlertKind, of: &str, facts: impl Fn() -> Facts) -> Vec<NewAlert> {
    let alert = |(nth, notifier): (usize, &Notifier)| NewAlert {
        key: format!("{kind}/{of}/{nth}"),
        kind,
        notifier: notifier.clone(),
        facts: facts(),
        gather: None,
    };
    notifiers.iter().enumerate().map(alert).collect()
}

/// Truncates a text and removes NUL characters, which Postgres cannot store.
fn shortened(text: &str) -> String {
    text.chars().filter(|letter| *letter != '\0').take(MOST_REASON_CHARS).collect()
}

#[cfg(test)]
mod content_tests;
#[cfg(test)]
mod tests;
