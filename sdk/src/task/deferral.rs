//! A task that waits without a slot: it ends a call of itself with a deferral, and is called again when what it waits
//! for is there. What it waits for is data, so that it outlives the process, and any worker can look.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::time::Duration;

use super::error::Stop;
use super::{TaskResult, fatal};

/// What is waited for: a kind of condition, and what belongs to that kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Awaited {
    pub kind: String,
    #[serde(default)]
    pub config: Value,
}

impl Awaited {
    /// # Panics
    /// When the config is no JSON: a map whose keys are no text.
    pub fn new(kind: impl Into<String>, config: impl Serialize) -> Self {
        let config = serde_json::to_value(config).expect("a config has names and values");
        Awaited { kind: kind.into(), config }
    }
}

/// What happens when it did not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// The task fails, whatever retries are left.
    #[default]
    Fail,
    /// The task is skipped.
    Skip,
    /// The body is called and told so.
    Resume,
}

impl OnTimeout {
    pub const fn as_str(self) -> &'static str {
        match self {
            OnTimeout::Fail => "fail",
            OnTimeout::Skip => "skip",
            OnTimeout::Resume => "resume",
        }
    }
}

/// What a task waits for, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deferral {
    pub until: Awaited,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Between two looks; the task's `poll_every`, else a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poke_ms: Option<u64>,
    #[serde(default)]
    pub on_timeout: OnTimeout,
    /// What the next call of the body is told beside the answer.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub carried: Value,
}

impl Deferral {
    /// It is waited for so long; without this for ever.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout_ms = Some(ms(limit));
        self
    }

    /// So long between two looks.
    #[must_use]
    pub fn poke_every(mut self, pause: Duration) -> Self {
        self.poke_ms = Some(ms(pause));
        self
    }

    /// When it does not come in time the task is skipped, not failed.
    #[must_use]
    pub fn soft_fail(mut self) -> Self {
        self.on_timeout = OnTimeout::Skip;
        self
    }

    /// When it does not come in time the body is called all the same, and `resumed` says so.
    #[must_use]
    pub fn resume_on_timeout(mut self) -> Self {
        self.on_timeout = OnTimeout::Resume;
        self
    }

    /// Given back to the next call of the body: how far it is, for example.
    ///
    /// # Panics
    /// When it is no JSON.
    #[must_use]
    pub fn carry(mut self, what: impl Serialize) -> Self {
        self.carried = serde_json::to_value(what).expect("what is carried is JSON");
        self
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl From<Awaited> for Deferral {
    fn from(until: Awaited) -> Self {
        Deferral { until, timeout_ms: None, poke_ms: None, on_timeout: OnTimeout::Fail, carried: Value::Null }
    }
}

/// Ends this call of the body; it is called again when the condition holds, and finds it with `ctx.resumed()`. Until then
/// the task takes no slot: `return Err(defer(wait::file("/in/orders.csv").timeout(hours(2))))`.
pub fn defer(what: impl Into<Deferral>) -> anyhow::Error {
    Stop::Defer(Box::new(what.into())).into()
}

/// How a wait ended, for the next call of the body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resumed {
    pub end: WaitEnd,
    /// What the call before carried over.
    #[serde(default)]
    pub carried: Value,
}

/// How a wait ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitEnd {
    /// The condition held, and gave this.
    Met(Value),
    TimedOut(OnTimeout),
    /// Looking failed: too often, or `for_good`.
    Failed {
        cause: String,
        for_good: bool,
    },
    /// The condition says that there is nothing to wait for.
    Skipped(String),
}

impl Resumed {
    /// What the condition gave.
    pub fn value(&self) -> Option<&Value> {
        match &self.end {
            WaitEnd::Met(value) => Some(value),
            _ => None,
        }
    }

    /// # Errors
    /// A fatal error when the condition gave something else, or nothing.
    pub fn value_as<T: DeserializeOwned>(&self) -> TaskResult<T> {
        let value = self.value().unwrap_or(&Value::Null);
        T::deserialize(value)
            .map_err(|e| fatal(format!("what was waited for is not a `{}`: {e}", std::any::type_name::<T>())))
    }

    pub fn is_timed_out(&self) -> bool {
        matches!(self.end, WaitEnd::TimedOut(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskError;
    use serde_json::json;

    #[test]
    fn a_deferral_is_data_below_any_context() {
        use anyhow::Context;
        let wish = Deferral::from(Awaited::new("file", json!({ "path": "/x" })));
        let wish = wish.timeout(Duration::from_mins(1)).soft_fail().carry(2);
        let error = Err::<(), _>(defer(wish.clone())).context("while loading").expect_err("it is one");
        let stored = serde_json::to_value(TaskError::from(error)).expect("it is data");
        assert_eq!(
            stored,
            json!({ "kind": "deferred", "deferral": { "until": { "kind": "file", "config": { "path": "/x" } },
                "timeout_ms": 60_000, "on_timeout": "skip", "carried": 2 } })
        );
        let back: TaskError = serde_json::from_value(stored).expect("it reads back");
        assert_eq!(back, TaskError::Deferred { deferral: Box::new(wish) });
    }

    #[test]
    fn what_a_wait_gave_has_a_type() {
        let met = Resumed { end: WaitEnd::Met(json!([1, 2])), carried: Value::Null };
        assert_eq!(met.value_as::<Vec<u32>>().expect("it fits"), [1, 2]);
        assert!(met.value_as::<String>().is_err() && !met.is_timed_out());
        let late = Resumed { end: WaitEnd::TimedOut(OnTimeout::Resume), carried: json!(1) };
        assert!(late.is_timed_out() && late.value().is_none());
    }
}
