//! The setters of a task's options, written once for all three places that take them: a call, the defaults of a DAG
//! and a group.

use crate::Call;
use orch_spec::{Isolation, Limit as LimitSpec, OnLost, Options, TriggerRule, WeightRule};
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

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $given:ty => $field:ident |$value:ident| $stored:expr;)+) => {
        impl Defaults {$(
            $(#[$doc])*
            pub fn $name(mut self, $value: $given) -> Self {
                self.options.$field = Some($stored);
                self
            }
        )+}
        impl Group {$(
            $(#[$doc])*
            pub fn $name(mut self, $value: $given) -> Self {
                self.options.$field = Some($stored);
                self
            }
        )+}
        impl<'d, R> Call<'d, R> {$(
            $(#[$doc])*
            pub fn $name(mut self, $value: $given) -> Self {
                self.draft.options.$field = Some($stored);
                self
            }
        )+}
    };
}

setters! {
    /// How often to try again after the first failure. 0 without this.
    retries: u32 => retries |count| count;
    /// How long to wait before the next try. 300 s without this.
    retry_delay: Duration => retry_delay_ms |delay| whole_ms(delay);
    /// Multiplies the delay after each try; 0 for no growth.
    retry_backoff: f64 => retry_backoff |factor| factor;
    /// The longest delay that `retry_backoff` grows to. 24 h without this.
    max_retry_delay: Duration => max_retry_delay_ms |delay| whole_ms(delay);
    /// How long one try may take.
    timeout: Duration => timeout_ms |limit| whole_ms(limit);
    /// The pool whose slots this task takes.
    pool: impl Into<String> => pool |name| name.into();
    /// How many slots of its pool it takes. 1 without this.
    pool_slots: u32 => pool_slots |count| count;
    /// Only workers of this queue run it.
    queue: impl Into<String> => queue |name| name.into();
    /// Tasks of a higher priority start first.
    priority: i32 => priority |weight| weight;
    /// How the priority follows from its relatives'. Own and all downstream without this.
    weight_rule: WeightRule => weight_rule |rule| rule;
    /// When it may run, by the states of its upstreams. `AllSuccess` without this.
    trigger_rule: TriggerRule => trigger_rule |rule| rule;
    /// How many elements of a mapped task may run at once, in one run.
    max_active: u32 => max_active |count| count;
    /// How many of this task may run at once, over all runs of the DAG.
    max_active_over_runs: u32 => max_active_over_runs |count| count;
    /// How long a sensor waits between two looks. 60 s without this.
    poll_every: Duration => poll_every_ms |pause| whole_ms(pause);
    /// Runs only if the same task of the run before ended well.
    depends_on_past: bool => depends_on_past |yes| yes;
    /// As `depends_on_past`, and the tasks after it in the run before ended well too.
    wait_for_downstream: bool => wait_for_downstream |yes| yes;
    /// In the worker (default) or in a child process of its own.
    isolation: Isolation => isolation |place| place;
    /// What its child process and all that starts may have in memory. The worker's `process_memory_mb` without this.
    memory_mb: u32 => memory_mb |most| most;
    /// What happens when its worker is lost: the same try again, three times without this.
    on_lost: OnLost => on_lost |what| what;
    /// The failure of this teardown fails the run.
    on_failure_fail_run: bool => on_failure_fail_run |yes| yes;
}

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

impl Defaults {
    /// As many of these as are named must have room before a task begins.
    pub fn limit(mut self, limit: Limit) -> Self {
        self.options.limits.get_or_insert_default().push(limit.spec);
        self
    }
}

impl Group {
    /// As many of these as are named must have room before a task begins.
    pub fn limit(mut self, limit: Limit) -> Self {
        self.options.limits.get_or_insert_default().push(limit.spec);
        self
    }
}

impl<R> Call<'_, R> {
    /// As many of these as are named must have room before it begins.
    pub fn limit(mut self, limit: Limit) -> Self {
        self.draft.options.limits.get_or_insert_default().push(limit.spec);
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
            .on_failure_fail_run(true);
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
