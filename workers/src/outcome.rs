//! Converts the result of a task function to the outcome that is recorded. Performs no I/O.

use crate::logs::LogLine;
use crate::mask;
use crate::offer::Offer;
use chrono::{DateTime, Utc};
use orch_core::alert::{NewAlert, TryAsks, TryEnd, of_question, of_try};
use orch_core::branch;
use orch_core::retry::{logical_date_key, retry_delay};
use orch_sdk::task::{LogLevel, TaskError};
use orch_spec::TaskSpec;
use orch_spec::approval::Question;
use orch_spec::elements::element_count;
use orch_spec::state::{RunType, TaskState};
use orch_store::step::{Claimed, EndedTry, Failure, NewWait, NextTry, Touched};
use serde_json::{Map, Value};
use std::borrow::Cow;
use uuid::Uuid;

#[derive(Debug)]
pub(crate) enum Finish {
    /// The task function returned a value. `stored` is true if the value is already in the database.
    Gave {
        value: Value,
        text: String,
        stored: bool,
        touched: Option<Box<Touched>>,
    },
    /// A sensor's poke did not find what the sensor waits for.
    NotYet,
    /// The attempt is suspended until a wait ends.
    Deferred {
        wait: Box<NewWait>,
        /// Message for the log.
        words: String,
    },
    Error {
        error: TaskError,
        kind: Option<&'static str>,
    },
    /// A condition on the mapped element is false.
    ConditionUnmet,
    /// The outcome is already determined. If `recorded` is true, it has also been committed, together with the
    /// attempt's completion steps.
    Decided {
        ended: Box<EndedTry>,
        recorded: bool,
    },
    /// The attempt was stopped on request. Its state was recorded together with the request.
    Stopped,
}

impl Finish {
    /// Masks secrets. The result may be read later by users with fewer permissions than the task function.
    pub(crate) fn masked(mut self) -> Self {
        let Some(masker) = mask::masker() else { return self };
        let clean = |text: &mut String| {
            if let Cow::Owned(masked) = masker.mask(text) {
                *text = masked;
            }
        };
        match &mut self {
            Finish::Error { error: TaskError::Retryable { causes } | TaskError::Fatal { causes }, .. } => {
                causes.iter_mut().for_each(clean);
            }
            Finish::Error { error: TaskError::Skipped { reason }, .. } => clean(reason),
            Finish::Error { error: TaskError::Deferred { .. }, .. }
            | Finish::Gave { .. }
            | Finish::NotYet
            | Finish::Deferred { .. }
            | Finish::ConditionUnmet
            | Finish::Decided { .. }
            | Finish::Stopped => {}
        }
        self
    }

    /// Returns the last line of the attempt's log, or `None` if there is nothing to report.
    pub(crate) fn in_words(&self) -> Option<LogLine> {
        let (level, event) = match self {
            Finish::Error { error: TaskError::Retryable { causes } | TaskError::Fatal { causes }, .. } => {
                (LogLevel::Error, causes.join(": "))
            }
            Finish::Error { error: TaskError::Skipped { reason }, .. } => {
                (LogLevel::Info, format!("skipped: {reason}"))
            }
            Finish::Deferred { words, .. } => (LogLevel::Info, words.clone()),
            Finish::Decided { ended, .. } => (LogLevel::Error, ended.failure.as_ref()?.causes.join(": ")),
            Finish::Stopped => (LogLevel::Warning, "it was told to stop".into()),
            Finish::Error { error: TaskError::Deferred { .. }, .. }
            | Finish::Gave { .. }
            | Finish::NotYet
            | Finish::ConditionUnmet => return None,
        };
        Some(LogLine::new(level, "orch", event, Map::new()))
    }
}

const DEFAULT_RETRY_DELAY_MS: u64 = 300_000;

/// Returns the delay before the retry if this attempt fails.
pub(crate) fn retry_delay_ms(offer: &Offer, claimed: &Claimed, logical_date: Option<DateTime<Utc>>) -> u64 {
    let plan = &offer.version.plan;
    let spec = &plan.spec.tasks[usize::from(claimed.lease.task)];
    let o = &spec.options;
    let delay = retry_delay(
        o.retry_delay_ms.unwrap_or(DEFAULT_RETRY_DELAY_MS),
        o.retry_backoff.unwrap_or(0.0),
        o.max_retry_delay_ms,
        &plan.spec.dag_id,
        &spec.task_id,
        &logical_date_key(logical_date),
        u32::try_from(claimed.try_no).unwrap_or(1),
    );
    u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
}

/// Default interval between two pokes of a waiting attempt.
pub(crate) const DEFAULT_POLL_MS: u64 = 60_000;

/// Returns the outcome to record. Calls `retry_in_ms` only if a retry follows.
pub(crate) fn ended(
    offer: &Offer,
    claimed: &Claimed,
    (rev, run_type): (i32, RunType),
    finish: Finish,
    retry_in_ms: impl FnOnce() -> u64,
) -> Option<EndedTry> {
    let plan = &offer.version.plan;
    let (task, index) = (claimed.lease.task, claimed.lease.map_index);
    let spec = &plan.spec.tasks[usize::from(task)];
    let mut end = EndedTry { rev, try_no: claimed.try_no, ..EndedTry::new(claimed.lease, TaskState::Success) };
    let next = |attempt: Uuid, wake_in_ms: u64| NextTry {
        attempt,
        wake_in_ms: i64::try_from(wake_in_ms).unwrap_or(i64::MAX),
        version: offer.version.id,
        queue: offer.version.place(task),
        wait: None,
        priority: run_type.priority(plan.task(task).priority),
    };
    match finish {
        Finish::Stopped => return None,
        Finish::Decided { ended, .. } => return Some(EndedTry { rev, ..*ended }),
        Finish::Gave { value, text, stored, touched } => {
            if plan.list_slots.contains_key(&task) {
                match element_count(&value) {
                    Some(len) => end.list_len = Some(i32::try_from(len).unwrap_or(i32::MAX)),
                    None => return ended(offer, claimed, (rev, run_type), no_list(spec, &value), retry_in_ms),
                }
            }
            match branch::skips(plan, task, index, &value) {
                Ok(skips) => end.skip = skips,
                Err(cause) => {
                    let error = TaskError::Fatal { causes: vec![cause] };
                    return ended(offer, claimed, (rev, run_type), Finish::Error { error, kind: None }, retry_in_ms);
                }
            }
            end.touched = touched;
            if !stored && !value.is_null() {
                end.outputs.push((orch_store::output::RETURN_VALUE.into(), text.into()));
            }
        }
        Finish::NotYet => {
            end.state = TaskState::UpForReschedule;
            end.next = Some(next(claimed.lease.attempt, spec.options.poll_every_ms.unwrap_or(DEFAULT_POLL_MS)));
        }
        Finish::Deferred { wait, .. } => {
            end.state = if wait.asks.is_some() { TaskState::AwaitingInput } else { TaskState::Deferred };
            // At least 1 ms, so that the next attempt is in the state `waiting` and cannot be claimed yet.
            end.next = Some(NextTry {
                wake_in_ms: wait.wake_in_ms.max(1),
                wait: Some(wait),
                ..next(claimed.lease.attempt, 1)
            });
        }
        Finish::Error { error: TaskError::Deferred { .. }, .. } => {
            let error = TaskError::Fatal { causes: vec!["it cannot be deferred here".into()] };
            return ended(offer, claimed, (rev, run_type), Finish::Error { error, kind: None }, retry_in_ms);
        }
        Finish::ConditionUnmet | Finish::Error { error: TaskError::Skipped { .. }, .. } => {
            end.state = TaskState::Skipped;
        }
        Finish::Error { error: TaskError::Retryable { causes }, kind } if claimed.try_no <= claimed.max_tries => {
            end.state = TaskState::UpForRetry;
            end.next = Some(next(Uuid::now_v7(), retry_in_ms()));
            end.failure = Some(Failure::new(kind.unwrap_or("retryable"), causes));
        }
        Finish::Error { error: TaskError::Retryable { causes }, kind } => {
            end.state = TaskState::Failed;
            end.failure = Some(Failure::new(kind.unwrap_or("retryable"), causes));
        }
        Finish::Error { error: TaskError::Fatal { causes }, kind } => {
            end.state = TaskState::Failed;
            end.failure = Some(Failure::new(kind.unwrap_or("fatal"), causes));
        }
    }
    end.alerts = match question_of(&end) {
        Some(question) => asks(&plan.spec.dag_id, spec, claimed, question),
        None => of_try(
            &plan.spec.dag_id,
            spec,
            TryEnd {
                attempt: claimed.lease.attempt,
                try_number: claimed.try_no,
                map_index: index,
                state: end.state,
                causes: end.failure.as_ref().map_or(&[], |failure| &failure.causes),
            },
        ),
    };
    Some(end)
}

/// Returns the question that the attempt asks users, as JSON text with masked secrets.
fn question_of(end: &EndedTry) -> Option<&str> {
    let wait = end.next.as_ref()?.wait.as_deref()?;
    wait.asks.as_ref()?;
    wait.condition.as_ref().map(|(_, question)| question.as_str())
}

fn asks(dag_id: &str, spec: &TaskSpec, claimed: &Claimed, question: &str) -> Vec<NewAlert> {
    if spec.callbacks.on_awaiting_input.is_empty() {
        return Vec::new();
    }
    // The question was validated when the task function asked it.
    let Ok(question) = serde_json::from_str::<Question>(question) else { return Vec::new() };
    let asks = TryAsks {
        attempt: claimed.lease.attempt,
        lease_no: claimed.lease.lease_no,
        try_number: claimed.try_no,
        map_index: claimed.lease.map_index,
        question: &question,
    };
    of_question(dag_id, spec, asks)
}

fn no_list(spec: &TaskSpec, value: &Value) -> Finish {
    let what = if value.is_null() { "nothing" } else { "a single value" };
    let cause = format!(
        "`{}` returned {what}, but a task is mapped over its output\nhint: return a list or an object",
        spec.task_id
    );
    Finish::Error { error: TaskError::Fatal { causes: vec![cause] }, kind: None }
}
