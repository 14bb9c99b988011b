//! Which alerts a transition leaves, in which words, and when the next try to send one follows: pure functions of a DAG's
//! structure and of what happened.
//!
//! An alert is known by its key. The same transition, told twice, leaves the same key, so it is shown once; whoever receives
//! one twice knows it by that.

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

/// A longer reason is cut.
const MOST_REASON_CHARS: usize = 1_000;
/// A longer body of a question is cut: it is read where it is answered.
const MOST_BODY_CHARS: usize = 4_000;
/// The first pause after a try that failed; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// Elements that end within so long are told of together; sooner when their run is over.
pub const GATHER_FOR: Duration = Duration::from_secs(10);
/// The pause between two messages of one task doubles up to this: 10,000 elements that fail over a day are some 150 messages.
pub const LONGEST_GATHER: Duration = Duration::from_mins(10);
/// Nobody wants to hear of it later than that.
pub const GIVE_UP_AFTER: Duration = Duration::from_hours(24);

words! {
    /// What an alert is about.
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
        /// Somebody wants to see whether a notifier works.
        Test = 10 "test",
        /// A try asks people, and begins to wait for their answer.
        TaskAwaitingInput = 11 "task_awaiting_input",
        /// A stream, capture or mirror keeps failing, or waits until a user restarts it.
        StreamStopped = 12 "stream_stopped",
    }
}

words! {
    /// Where an alert is on its way.
    AlertState {
        /// It is to be sent, perhaps again.
        Waiting = 1 "waiting",
        Sent = 2 "sent",
        /// Nobody took it for a day.
        Failed = 3 "failed",
    }
}

/// What happened, as far as it is told. Secrets are masked by whoever says it.
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
    /// Why, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Its URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<AlertQuestion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<StoppedStream>,
    /// Public URL of the web server, which links start with. The sender sets it. If it is empty, links are paths.
    #[serde(skip)]
    pub address: String,
    /// Several of a mapped task that are told of together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elements: Option<Elements>,
    /// The failed tasks of a failed run. The sender reads them when it claims the alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedTasks>,
}

impl Facts {
    /// Of how many ends they tell.
    pub fn count(&self) -> i64 {
        self.elements.as_ref().map_or(1, |elements| elements.count)
    }

    /// Of a mapped task: the elements they name, which may be a few of many.
    pub fn map_indexes(&self) -> Vec<i32> {
        let few = self.elements.as_ref().map(|elements| elements.first.clone());
        few.unwrap_or_else(|| self.map_index.into_iter().collect())
    }
}

/// A stream that stopped, and what helps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoppedStream {
    pub name: String,
    /// Empty for a capture, which reads a database.
    pub topic: String,
    /// The records that it could not publish, such as `partition 0, offsets 17 to 20`. Empty if it failed before it read any.
    pub records: String,
    /// Number of failures since its last commit.
    pub failures: u32,
    /// It is not retried: a user must act.
    pub waits_for_restart: bool,
}

impl StoppedStream {
    /// The command that continues the stream once the cause is removed.
    pub fn command(&self) -> String {
        format!("orch streams restart {}", self.name)
    }
}

/// What people are asked, as far as they are told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertQuestion {
    /// The try that asks: it is answered under this id.
    pub id: Uuid,
    pub subject: String,
    pub body: String,
    pub options: Vec<String>,
    /// Empty: whoever may start runs.
    pub assigned_users: Vec<String>,
    /// By when, as the clock of the database says; the statement that records the wait writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

/// One notifier is to be told one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAlert {
    pub key: String,
    pub kind: AlertKind,
    pub notifier: Notifier,
    pub facts: Facts,
    /// Of an element that is told of together with others: what they have in common within their run.
    pub gather: Option<String>,
}

/// The try of a task that ended.
#[derive(Debug, Clone, Copy)]
pub struct TryEnd<'a> {
    pub attempt: Uuid,
    pub try_number: i16,
    pub map_index: i32,
    pub state: TaskState,
    /// Outermost first.
    pub causes: &'a [Text],
}

/// What the end of a try leaves. Airflow's rule: only what ran calls back, so neither what was decided without running nor
/// what a person says.
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
            // With the connection: a run that goes over to another version may have another one at this place.
            alert.gather = Some(format!("{kind}/{}/{nth}/{}", task.task_id, alert.notifier.connection));
        }
    }
    alerts
}

/// A try that begins to wait for people.
#[derive(Debug, Clone, Copy)]
pub struct TryAsks<'a> {
    pub attempt: Uuid,
    /// Under which it asks: it has another one when it was answered, so a second question of a try is told too.
    pub lease_no: i32,
    pub try_number: i16,
    pub map_index: i32,
    pub question: &'a Question,
}

/// What the beginning of a wait for people leaves. Who takes the wait up later, or wakes it, begins none.
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

/// What a run that ended at this revision leaves: one that is cleared may end again, at another.
pub fn of_run(spec: &DagSpec, run: Uuid, rev: i32, state: RunState) -> Vec<NewAlert> {
    let (kind, notifiers) = match state {
        RunState::Success => (AlertKind::RunSuccess, &spec.callbacks.on_success),
        RunState::Failed => (AlertKind::RunFailed, &spec.callbacks.on_failure),
        RunState::Queued | RunState::Running => return Vec::new(),
    };
    let facts = || Facts { dag_id: spec.dag_id.clone(), state: state.to_string(), ..Facts::default() };
    each(notifiers, kind, &format!("{run}/{rev}"), facts)
}

/// A run was not over in time.
pub fn of_deadline(dag_id: &str, (nth, deadline): (usize, &Deadline), run: Uuid, state: RunState) -> Vec<NewAlert> {
    let reason = format!("not over {}", deadline.words());
    let facts =
        || Facts { dag_id: dag_id.into(), state: state.to_string(), reason: reason.clone(), ..Facts::default() };
    each(&deadline.notify, AlertKind::DeadlineMissed, &format!("{run}/{nth}"), facts)
}

/// An asset that tasks of this DAG update is stale; `since` tells this time from the next one.
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

/// The alerts of a stream that stopped. `epoch` distinguishes one outage from the next.
pub fn of_stopped_stream(notifiers: &[Notifier], stream: &StoppedStream, epoch: i64, error: &str) -> Vec<NewAlert> {
    let facts = || Facts {
        state: if stream.waits_for_restart { "failed" } else { "retrying" }.into(),
        reason: shortened(error),
        stream: Some(stream.clone()),
        ..Facts::default()
    };
    each(notifiers, AlertKind::StreamStopped, &format!("{}/{epoch}", stream.name), facts)
}

/// A check that did not pass, as it was kept.
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

/// Somebody tries a notifier.
pub fn test(notifier: Notifier, id: Uuid, by: &str) -> NewAlert {
    let facts = Facts { reason: format!("{by} wanted to see whether it arrives"), ..Facts::default() };
    NewAlert { key: format!("test/{id}"), kind: AlertKind::Test, notifier, facts, gather: None }
}

/// How long after its `tries`-th try, which failed, an alert is sent again; it came to be `age` ago. `None`: never.
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

/// Postgres stores no NUL.
fn shortened(text: &str) -> String {
    text.chars().filter(|letter| *letter != '\0').take(MOST_REASON_CHARS).collect()
}

#[cfg(test)]
mod content_tests;
#[cfg(test)]
mod tests;
