//! Deferrals: a task that waits without a slot. It ends the call of its function with a deferral and is called again
//! when the condition holds. The condition is data, so it survives the process, and any worker can poll it.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::time::Duration;

use super::error::Stop;
use super::{TaskResult, fatal};

/// The condition that a task waits for: its kind and the config of that kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Awaited {
    pub kind: String,
    #[serde(default)]
    pub config: Value,
}

impl Awaited {
    /// Creates a condition. Panics if the config is not JSON, such as a map whose keys are not strings.
    pub fn new(kind: impl Into<String>, config: impl Serialize) -> Self {
        let config = serde_json::to_value(config).expect("a config has names and values");
        Awaited { kind: kind.into(), config }
    }
}

/// The action when the wait times out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// The task fails, even if retries are left.
    #[default]
    Fail,
    Skip,
    /// The function is called and can see the timeout in `resumed`.
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

/// A condition with the options of the wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deferral {
    pub until: Awaited,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Poll interval. Default: the task's `poll_every`, else one minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poke_ms: Option<u64>,
    #[serde(default)]
    pub on_timeout: OnTimeout,
    /// Data for the next call of the function.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub carried: Value,
}

impl Deferral {
    /// Limits the wait. Without a timeout, the task waits forever.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout_ms = Some(ms(limit));
        self
    }

    /// Sets the poll interval.
    #[must_use]
    pub fn poke_every(mut self, pause: Duration) -> Self {
        self.poke_ms = Some(ms(pause));
        self
    }

    /// Skips the task if the wait times out, instead of failing it.
    #[must_use]
    pub fn soft_fail(mut self) -> Self {
        self.on_timeout = OnTimeout::Skip;
        self
    }

    /// Calls the function even if the wait times out; `resumed` then contains the timeout.
    #[must_use]
    pub fn resume_on_timeout(mut self) -> Self {
        self.on_timeout = OnTimeout::Resume;
        self
    }

    /// Passes data to the next call of the function, for example its progress.
    ///
    /// # Panics
    /// Panics if the data is not JSON.
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

/// Ends this call of the task function. It is called again when the condition holds, and gets the result from
/// `ctx.resumed()`. Until then the task needs no slot:
/// `return Err(defer(wait::file("/in/orders.csv").timeout(hours(2))))`.
pub fn defer(what: impl Into<Deferral>) -> anyhow::Error {
    Stop::Defer(Box::new(what.into())).into()
}

/// The end of a wait, for the next call of the function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resumed {
    pub end: WaitEnd,
    /// The data that the previous call carried over.
    #[serde(default)]
    pub carried: Value,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitEnd {
    /// The condition held and returned this value.
    Met(Value),
    TimedOut(OnTimeout),
    /// Polling failed too often, or with a fatal error (`for_good`).
    Failed {
        cause: String,
        for_good: bool,
    },
    /// The condition skipped the task, for this reason.
    Skipped(String),
}

impl Resumed {
    /// Returns the value of the condition, if it held.
    pub fn value(&self) -> Option<&Value> {
        match &self.end {
            WaitEnd::Met(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the value of the condition as a `T`, or a fatal error if there is none or it does not fit.
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
