//! The setters of a task's options, in all three places that take them: a call, the defaults of a DAG and a group. Which there are
//! says the table in `spec/src/dag/task_options.rs`.

use crate::Call;
use orch_spec::{Isolation, Limit as LimitSpec, OnLost, Options, TriggerRule, WeightRule, task_options};
use std::time::Duration;

/// Options for every task that does not say otherwise: `dag(…).defaults(defaults().retries(1))`.
#[derive(Debug, Clone, Default)]
#[must_use = "give them to a dag: `dag(…).defaults(defaults().retries(1))`"]
pub struct Defaults {
    pub(crate) options: Options,
}

/// Starts a set of defaults: `defaults().retries(1).retry_delay(mins(5))`.
pub fn defaults() -> Defaults {
    Defaults::default()
}

/// The name of a group, its text and the options its tasks have unless they say otherwise.
#[derive(Debug, Clone)]
#[must_use = "give it to `d.group(…)` or `d.map_group(…)`"]
pub struct Group {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) options: Options,
}

/// A group with options of its own: `d.group(group("silver").pool("spark"), |g| …)`. A plain name is enough without.
pub fn group(name: &str) -> Group {
    Group { name: name.into(), doc: String::new(), options: Options::default() }
}

impl Group {
    /// What the UI says about the group.
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

/// A setter of a form, in one of the three places: `at` is where the options are kept there.
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
        /// As many of these as are named must have room before a task begins.
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

/// A limit that all tasks share that name it, in whatever DAG: `.limit(limit("crm", 3))`.
#[derive(Debug, Clone)]
#[must_use = "give it to a task: `.limit(limit(\"crm\", 3))`"]
pub struct Limit {
    spec: LimitSpec,
}

/// At most so many tasks that name it at the same time.
pub fn limit(name: &str, most: u32) -> Limit {
    Limit { spec: LimitSpec { name: name.into(), most, key: None, per_ms: None, extra: serde_json::Map::new() } }
}

impl Limit {
    /// Each value that runs have at this path of their params (`"customer"`, `"order.region"`) is counted by itself.
    pub fn key(mut self, path: &str) -> Self {
        self.spec.key = Some(path.into());
        self
    }

    /// So many may begin within this time, instead of so many at once. Each retry counts again.
    pub fn per(mut self, time: Duration) -> Self {
        self.spec.per_ms = Some(whole_ms(time));
        self
    }
}

/// Start-up refuses what is too long, so the largest number may stand for it.
pub(crate) fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hours, mins, secs};

    /// Has no `..`: a new option does not compile here before it has a setter.
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
