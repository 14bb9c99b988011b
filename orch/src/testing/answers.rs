//! Ends of waits in a test: scripted ones, and for questions to users the engine's rules for timeouts.

use crate::{Answer, Deferral, OnTimeout, Question, TaskError, WaitEnd};
use chrono::{DateTime, TimeDelta};
use orch_spec::approval::{ANSWER, ApprovalInput};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

pub(super) fn scripted(deferral: &Deferral, wish: Option<&WaitEnd>, clock: Duration) -> Result<WaitEnd, TaskError> {
    if deferral.until.kind != ANSWER {
        return Ok(wish.cloned().unwrap_or(WaitEnd::Met(Value::Null)));
    }
    let question = read::<Question>(&deferral.until.config)?;
    question.check().map_err(TaskError::fatal)?;
    let (given, by) = match wish {
        Some(WaitEnd::Met(given)) => {
            let given = question.answered(read::<ApprovalInput>(given)?);
            (given.map_err(|refused| TaskError::fatal(refused.to_string()))?, Some("test".to_string()))
        }
        Some(other) if !matches!(other, WaitEnd::TimedOut(_)) => return Ok(other.clone()),
        _ => match question.fallback() {
            Some(given) => (given, None),
            None => return Ok(WaitEnd::TimedOut(OnTimeout::Fail)),
        },
    };
    let answer = Answer {
        chosen_options: given.chosen_options,
        params_input: given.params_input,
        responded_at: DateTime::UNIX_EPOCH + TimeDelta::from_std(clock).unwrap_or_default(),
        timed_out: by.is_none(),
        responded_by_user: by,
    };
    Ok(WaitEnd::Met(value(&answer)?))
}

fn read<T: for<'de> Deserialize<'de>>(value: &Value) -> Result<T, TaskError> {
    T::deserialize(value).map_err(|error| TaskError::fatal(error.to_string()))
}

fn value(of: &impl Serialize) -> Result<Value, TaskError> {
    serde_json::to_value(of).map_err(|error| TaskError::fatal(error.to_string()))
}
