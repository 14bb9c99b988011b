//! Conditions that tasks wait for. A condition is a kind that polls whether the thing in a config exists. Any worker
//! whose bundle has the kind may poll, and as often as it likes, so a poll must not change anything.

use super::{Awaited, BoxFuture, Connection, TaskResult};
use crate::wait::RunWait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The result of a poll. `None` means "not yet". Errors are retried, a fatal error ends the wait, and a skip skips the
/// task.
pub type ConditionResult = TaskResult<Option<Value>>;

/// A kind of condition. Bundles add their own, for example for a lake or a queue: `dag("…").condition(MyCondition)`.
pub trait Condition: Send + Sync {
    /// Returns the name of the kind, as used in `Awaited`.
    fn kind(&self) -> &str;

    /// Rejects a config that can never be polled. Called when a task starts to wait.
    ///
    /// # Errors
    /// Returns what is wrong with the config.
    fn check(&self, _config: &Value) -> Result<(), String> {
        Ok(())
    }

    /// Polls once. Equal configs are polled once for all waiting tasks.
    fn poke(&self, config: Value, eyes: Arc<dyn Eyes>) -> BoxFuture<ConditionResult>;

    /// Polls many different configs with one query and returns the results in the same order. `None` if `poke` must be
    /// called for each config.
    fn poke_together(
        &self,
        _configs: &[Value],
        _eyes: &Arc<dyn Eyes>,
    ) -> Option<BoxFuture<TaskResult<Vec<ConditionResult>>>> {
        None
    }
}

/// The requests that a poll can make to its worker.
pub trait Eyes: Send + Sync {
    /// Returns the current time of this machine's clock.
    fn now(&self) -> DateTime<Utc>;

    /// Returns a connection by its id, or a fatal error if it does not exist.
    fn connection(&self, id: &str) -> BoxFuture<TaskResult<Connection>>;

    fn variable(&self, key: &str) -> BoxFuture<TaskResult<Option<String>>>;

    /// Returns the state of runs, or of their tasks, in the order of `asked`. `None` if there is no such run.
    fn runs(&self, asked: Vec<RunWait>) -> BoxFuture<TaskResult<Vec<Option<RunSeen>>>>;

    /// Polls another condition, for conditions that combine others.
    fn poke_awaited(&self, at: Awaited) -> BoxFuture<ConditionResult>;
}

/// State of a run or of one of its tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSeen {
    pub run_id: String,
    pub logical_date: Option<DateTime<Utc>>,
    /// State as named by Airflow: `success`, `failed`, `skipped`, …
    pub state: String,
    pub ended_at: Option<DateTime<Utc>>,
}

/// Conditions by kind.
#[derive(Clone, Default)]
pub struct Conditions {
    kinds: BTreeMap<String, Arc<dyn Condition>>,
}

impl Conditions {
    #[must_use]
    pub fn with(mut self, condition: Arc<dyn Condition>) -> Self {
        self.kinds.insert(condition.kind().to_string(), condition);
        self
    }

    /// Adds the conditions of `other`, which replace conditions of the same kind.
    pub fn extend(&mut self, other: &Conditions) {
        self.kinds.extend(other.kinds.iter().map(|(kind, condition)| (kind.clone(), condition.clone())));
    }

    pub fn get(&self, kind: &str) -> Option<&Arc<dyn Condition>> {
        self.kinds.get(kind)
    }

    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }
}

impl fmt::Debug for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.kinds.keys()).finish()
    }
}
