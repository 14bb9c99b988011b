//! What tasks can wait for. A condition is a kind: it looks whether what some config asks for is there. Any worker whose
//! bundle knows the kind may look, as often as it likes, so a look changes nothing.

use super::{Awaited, BoxFuture, Connection, TaskResult};
use crate::wait::RunWait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What a look gives: `None` is "not yet". An error is looked at again, a fatal one ends the wait, a skip skips the task.
pub type ConditionResult = TaskResult<Option<Value>>;

/// One kind of condition. Those of a lake or a queue join by this trait: `dag("…").condition(MyCondition)`.
pub trait Condition: Send + Sync {
    /// Names it in `Awaited`.
    fn kind(&self) -> &str;

    /// Refuses a config that no look could make sense of; asked when a task begins to wait.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&self, _config: &Value) -> Result<(), String> {
        Ok(())
    }

    /// One look. Equal configs are looked at once for all who wait.
    fn poke(&self, config: Value, eyes: Arc<dyn Eyes>) -> BoxFuture<ConditionResult>;

    /// Many different looks with one question, answered in the same order. `None`: one by one, by `poke`.
    fn poke_together(
        &self,
        _configs: &[Value],
        _eyes: &Arc<dyn Eyes>,
    ) -> Option<BoxFuture<TaskResult<Vec<ConditionResult>>>> {
        None
    }
}

/// What a look may ask whoever looks.
pub trait Eyes: Send + Sync {
    /// Now, as good as this machine knows it.
    fn now(&self) -> DateTime<Utc>;

    /// A connection by its id; one that does not exist is a fatal error.
    fn connection(&self, id: &str) -> BoxFuture<TaskResult<Connection>>;

    fn variable(&self, key: &str) -> BoxFuture<TaskResult<Option<String>>>;

    /// How runs or tasks of other DAGs stand, in the order in which they were asked for.
    fn runs(&self, asked: Vec<RunWait>) -> BoxFuture<TaskResult<Vec<Option<RunSeen>>>>;

    /// Another condition, for those that are made of others.
    fn poke_awaited(&self, at: Awaited) -> BoxFuture<ConditionResult>;
}

/// A run, or a task of it, that somebody waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSeen {
    pub run_id: String,
    pub logical_date: Option<DateTime<Utc>>,
    /// Airflow's word: `success`, `failed`, `skipped`, …
    pub state: String,
    pub ended_at: Option<DateTime<Utc>>,
}

/// Kinds by name.
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

    /// Those of `other` win.
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
