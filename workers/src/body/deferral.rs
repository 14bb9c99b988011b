//! Deferral: a task function waits without occupying a slot. The wait is a database row, whose condition a watcher
//! polls. The result of the wait is passed to the next call of the task function, or ends the attempt.

use super::Shared;
use crate::clock;
use crate::job::Job;
use crate::logs::{AttemptLog, LogLine};
use crate::mask;
use crate::outcome::{DEFAULT_POLL_MS, Finish};
use crate::watch;
use orch_sdk::task::{Conditions, Deferral, LogLevel, OnTimeout, Resumed, TaskError, WaitEnd};
use orch_sdk::wait::{self, Wake};
use orch_spec::TaskSpec;
use orch_spec::approval::{ANSWER, Question};
use orch_spec::text::{MOST_DEPTH, clean_json, is_too_deep};
use orch_store::step::{NewWait, Request};
use serde_json::Map;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// Maximum size of a wait's condition in bytes, and of its attached value. Both are in rows that are read often.
const MOST_BYTES: usize = 64 * 1024;
/// Minimum interval between two pokes.
const FASTEST_MS: u64 = 100;

/// Returns the result of the wait that preceded this call. Returns `Err` if the result ends the attempt.
pub(super) async fn resumed(job: &Job, shared: &Shared, log: &Arc<AttemptLog>) -> Result<Option<Resumed>, Finish> {
    // No wait precedes the first call of an attempt.
    if job.claimed.lease.lease_no <= 1 {
        return Ok(None);
    }
    let found = shared.past.resumed(job.claimed.lease).await.map_err(|error| Finish::Error {
        error: TaskError::Retryable { causes: vec!["how its wait ended cannot be read".into(), error.to_string()] },
        kind: None,
    })?;
    let Some(resumed) = found else { return Ok(None) };
    let error = |error, kind| Err(Finish::Error { error, kind });
    match &resumed.end {
        WaitEnd::TimedOut(OnTimeout::Fail) => {
            error(TaskError::fatal("what it waited for was not there in time"), Some("timeout"))
        }
        WaitEnd::TimedOut(OnTimeout::Skip) => {
            error(TaskError::skipped("what it waited for was not there in time"), None)
        }
        WaitEnd::Failed { cause, for_good: true } => error(TaskError::fatal(format!("it cannot wait: {cause}")), None),
        WaitEnd::Failed { cause, for_good: false } => {
            error(TaskError::retryable(format!("it cannot wait: {cause}")), None)
        }
        WaitEnd::Skipped(reason) => error(TaskError::skipped(reason.clone()), None),
        WaitEnd::Met(_) => {
            log.say(&LogLine::new(LogLevel::Info, "orch", "resumed: what it waited for is there".into(), Map::new()));
            Ok(Some(resumed))
        }
        WaitEnd::TimedOut(OnTimeout::Resume) => {
            log.say(&LogLine::new(LogLevel::Info, "orch", "resumed: its time to wait is over".into(), Map::new()));
            Ok(Some(resumed))
        }
    }
}

/// Builds the wait that a task function requested.
pub(super) fn begin(deferral: &Deferral, spec: &TaskSpec, conditions: &Conditions) -> Finish {
    match new_wait(deferral, spec, conditions) {
        Ok((wait, words)) => Finish::Deferred { wait: Box::new(wait), words },
        Err(cause) => Finish::Error { error: TaskError::fatal(cause), kind: None },
    }
}

fn new_wait(deferral: &Deferral, spec: &TaskSpec, conditions: &Conditions) -> Result<(NewWait, String), String> {
    let now = clock::now();
    let (kind, config) = (&deferral.until.kind, &deferral.until.config);
    for (what, value) in [("what it waits for", config), ("what it carries over", &deferral.carried)] {
        if is_too_deep(value) {
            return Err(format!("{what} is nested more than {MOST_DEPTH} deep"));
        }
    }
    if kind == ANSWER {
        return asked(deferral, spec);
    }
    watch::check(conditions, &deferral.until)?;
    let wake = wait::wake(&deferral.until, now)?;
    let condition = match wake {
        Some(_) => None,
        None => Some((
            kind.as_str().into(),
            kept("what it waits for", &wait::settle(&deferral.until, now)?.config.to_string())?.into(),
        )),
    };
    let carried = (!deferral.carried.is_null()).then(|| kept("what it carries over", &deferral.carried.to_string()));
    let poke_ms = deferral.poke_ms.or(spec.options.poll_every_ms).unwrap_or(DEFAULT_POLL_MS).max(FASTEST_MS);
    let wait = NewWait {
        condition,
        wake_in_ms: match wake {
            Some(Wake::InMs(in_ms)) => ms(in_ms),
            _ => 0,
        },
        wake_at: match wake {
            Some(Wake::At(moment)) => Some(moment),
            _ => None,
        },
        poke_ms: ms(poke_ms),
        timeout_ms: deferral.timeout_ms.map(ms),
        on_timeout: deferral.on_timeout,
        carried: carried.transpose()?.map(Into::into),
        asks: None,
    };
    let limit = deferral.timeout_ms.map(|ms| format!(", at most {:?}", Duration::from_millis(ms)));
    let limit = limit.unwrap_or_default();
    let words = match wake {
        Some(Wake::At(moment)) => format!("deferred until {}{limit}", moment.to_rfc3339()),
        Some(Wake::InMs(in_ms)) => format!("deferred for {:?}{limit}", Duration::from_millis(in_ms)),
        None => {
            let every = Duration::from_millis(poke_ms);
            format!("deferred: it waits for `{kind}` {}, polled every {every:?}{limit}", shorten_config(config))
        }
    };
    Ok((wait, words))
}

fn ms(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).min(orch_spec::check::MAX_DURATION_MS as i64)
}

/// Builds a wait for a user's response to a question. No watcher polls it. Secrets in the question are masked.
fn asked(deferral: &Deferral, spec: &TaskSpec) -> Result<(NewWait, String), String> {
    let text = deferral.until.config.to_string();
    let text = kept("what it asks", &mask::mask(&text))?;
    let question: Question = serde_json::from_str(&text).map_err(|error| format!("it cannot ask this: {error}"))?;
    question.check().map_err(|problem| format!("it cannot ask this: {problem}"))?;
    let fallback = question.fallback().filter(|_| deferral.timeout_ms.is_some());
    let fallback = fallback.map(|given| serde_json::to_string(&given).map_err(|e| e.to_string())).transpose()?;
    let carried = (!deferral.carried.is_null()).then(|| kept("what it carries over", &deferral.carried.to_string()));
    let wait = NewWait {
        timeout_ms: deferral.timeout_ms.map(ms),
        on_timeout: deferral.on_timeout,
        carried: carried.transpose()?.map(Into::into),
        ..NewWait::for_answer(text, Request { task_id: spec.task_id.clone(), fallback: fallback.map(Into::into) })
    };
    let of = if question.assigned_users.is_empty() { "users".into() } else { question.assigned_users.join(", ") };
    let limit = deferral.timeout_ms.map(|ms| format!(", at most {:?}", Duration::from_millis(ms)));
    Ok((wait, format!("waiting for an answer from {of}: {}{}", question.subject, limit.unwrap_or_default())))
}

fn shorten_config(config: &serde_json::Value) -> String {
    const MOST: usize = 300;
    let text = config.to_string();
    if text.len() <= MOST { text } else { format!("{}…", &text[..text.floor_char_boundary(MOST)]) }
}

fn kept(what: &str, text: &str) -> Result<String, String> {
    if text.len() > MOST_BYTES {
        return Err(format!("{what} has {} bytes, more than {MOST_BYTES}", text.len()));
    }
    if matches!(clean_json(text), Cow::Owned(_)) {
        return Err(format!("{what} has a NUL character"));
    }
    Ok(text.to_string())
}

/// Handles a poke of a sensor that found nothing. The sensor's timeout covers all its pokes together.
pub(super) async fn not_yet(job: &Job, spec: &TaskSpec, shared: &Shared) -> Finish {
    let Some(timeout_ms) = spec.options.timeout_ms.filter(|_| spec.kind == "sensor") else { return Finish::NotYet };
    let limit = Duration::from_millis(timeout_ms);
    let pause = Duration::from_millis(spec.options.poll_every_ms.unwrap_or(DEFAULT_POLL_MS));
    match shared.past.running_for(job.claimed.lease).await {
        Ok(waited) if waited + pause > limit => Finish::Error {
            error: TaskError::fatal(format!("the sensor saw nothing in {limit:?}")),
            kind: Some("timeout"),
        },
        Ok(_) => Finish::NotYet,
        Err(error) => {
            tracing::warn!(%error, "how long a sensor has looked is not known");
            Finish::NotYet
        }
    }
}
