//! Setters of task options, in the three places that take them: a call, the defaults of a DAG and a group. The list
//! of options is the table in `spec/src/dag/task_options.rs`.

use crate::Call;
use orch_spec::{Isolation, Limit as LimitSpec, OnLost, Options, TriggerRule, WeightRule, task_options};
use std::time::Duration;

/// Default options of all tasks of a DAG: `dag(…).defaults(defaults().retries(1))`.
#[derive(Debug, Clone, Default)]
#[must_use = "give them to a dag: `dag(…).defaults(defaults().retries(1))`"]
pub struct Defaults {
    pub(crate) options: Options,
}

/// Creates a set of defaults: `defaults().retries(1).retry_delay(mins(5))`.
pub fn defaults() -> Defaults {
    Defaults::default()
}

/// The name of a group, its description and the default options of its tasks.
#[derive(Debug, Clone)]
#[must_use = "give it to `d.group(…)` or `d.map_group(…)`"]
pub struct Group {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) options: Options,
}

/// Creates a group with its own options: `d.group(group("silver").pool("spark"), |g| …)`. Without options, use a
/// plain name.
pub fn group(name: &str) -> Group {
    Group { name: name.into(), doc: String::new(), options: Options::default() }
}

impl Group {
    /// Sets the description of the group in the UI.
    pub fn doc(mut self, text: &str) -> Self {
        self.doc = text.into();
        self
    }
}

impl From<&str> for Group {
    fn from(name: &str) -> Self {
        group(name)
    }
}

impl From<String> for Group {
    fn from(name: String) -> Self {
        group(&name)
    }
}

/// Generates a setter for one of the three places. `at` is the path to the options there.
macro_rules! setter {
    ($at:tt, $about:literal, $key:ident: Delay, $field:ident: $stored:ty) => {
        setter!(@ $at, $about, $key, $field, time: Duration, whole_ms(time));
    };
    ($at:tt, $about:literal, $key:ident: Time, $field:ident: $stored:ty) => {
        setter!(@ $at, $about, $key, $field, time: Duration, whole_ms(time));
    };
    ($at:tt, $about:literal, $key:ident: Name, $field:ident: $stored:ty) => {
        setter!(@ $at, $about, $key, $field, name: impl Into<String>, name.into());
    };
    ([$($at:ident).+], $about:literal, $key:ident: Limits, $field:ident: $stored:ty) => {
        /// Adds a shared limit. Every limit of a task must have a free slot before the task starts.
        pub fn limit(mut self, limit: Limit) -> Self {
            self.$($at).+.$field.get_or_insert_default().push(limit.spec);
            self
        }
    };
    ($at:tt, $about:literal, $key:ident: $form:ident, $field:ident: $stored:ty) => {
        setter!(@ $at, $about, $key, $field, value: $stored, value);
    };
    (@ [$($at:ident).+], $about:literal, $key:ident, $field:ident, $value:ident: $given:ty, $kept:expr) => {
        #[doc = $about]
        pub fn $key(mut self, $value: $given) -> Self {
            self.$($at).+.$field = Some($kept);
            self
        }
    };
}

macro_rules! setters {
    ($(#[doc = $about:literal] $key:ident: $form:ident, $field:ident: $stored:ty;)+) => {
        impl Defaults {
            $(setter!([options], $about, $key: $form, $field: $stored);)+
        }
        impl Group {
            $(setter!([options], $about, $key: $form, $field: $stored);)+
        }
        impl<R> Call<'_, R> {
            $(setter!([draft.options], $about, $key: $form, $field: $stored);)+
        }
    };
}
task_options!(setters);

/// A limit that is shared by all tasks that name it, across DAGs: `.limit(limit("crm", 3))`.
#[derive(Debug, Clone)]
#[must_use = "give it to a task: `.limit(limit(\"crm\", 3))`"]
pub struct Limit {
    spec: LimitSpec,
}

/// Allows at most `most` concurrent tasks with this limit.
pub fn limit(name: &str, most: u32) -> Limit {
    Limit { spec: LimitSpec { name: name.into(), most, key: None, per_ms: None, extra: serde_json::Map::new() } }
}

impl Limit {
    /// Counts separately for each value at this path of the run's params (`"customer"`, `"order.region"`).
    pub fn key(mut self, path: &str) -> Self {
        self.spec.key = Some(path.into());
        self
    }

    /// Limits the number of starts within this time, instead of concurrent tasks. Each retry counts again.
    pub fn per(mut self, time: Duration) -> Self {
        self.spec.per_ms = Some(whole_ms(time));
        self
    }
}

/// Saturates at `u64::MAX`: the start-up check rejects times that are too long.
pub(crate) fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hours, mins, secs};

    /// Without `..`, a new option does not compile here until it has a setter.
    #[test]
    fn every_option_has_a_setter() {
        let all = defaults()
            .retries(1)
            .retry_delay(mins(5))
            .retry_backoff(2.0)
            .max_retry_delay(hours(1))
            .timeout(mins(1))
            .pool("mysql")
            .pool_slots(2)
            .queue("large")
            .priority(7)
            .weight_rule(WeightRule::Absolute)
            .trigger_rule(TriggerRule::AllDone)
            .max_active(3)
            .max_active_over_runs(4)
            .limit(limit("crm", 3).key("customer").per(mins(1)))
            .poll_every(secs(9))
            .depends_on_past(true)
            .wait_for_downstream(true)
            .isolation(Isolation::Process)
            .memory_mb(512)
            .on_lost(OnLost::Fail)
            .on_failure_fail_run(true)
            .owner("ann");
        let Options {
            retries: Some(1),
            retry_delay_ms: Some(300_000),
            retry_backoff: Some(2.0),
            max_retry_delay_ms: Some(3_600_000),
            timeout_ms: Some(60_000),
            pool: Some(_),
            pool_slots: Some(2),
            queue: Some(_),
            priority: Some(7),
            weight_rule: Some(WeightRule::Absolute),
            trigger_rule: Some(TriggerRule::AllDone),
            max_active: Some(3),
            max_active_over_runs: Some(4),
            limits: Some(limits),
            poll_every_ms: Some(9_000),
            depends_on_past: Some(true),
            wait_for_downstream: Some(true),
            isolation: Some(Isolation::Process),
            memory_mb: Some(512),
            on_lost: Some(OnLost::Fail),
            on_failure_fail_run: Some(true),
            owner: Some(_),
        } = all.options
        else {
            panic!("a setter stores something else: {all:?}");
        };
        let crm = LimitSpec {
            name: "crm".into(),
            most: 3,
            key: Some("customer".into()),
            per_ms: Some(60_000),
            extra: serde_json::Map::new(),
        };
        assert_eq!(limits, [crm]);
    }
}
