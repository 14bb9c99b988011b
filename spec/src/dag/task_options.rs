//! The options of a task. A single table defines all of them.
//!
//! A row is `key: Form, field: type`. The row generates the field of `Options`, its default and its check (here), the
//! setters of calls, defaults and groups (`orch/src/options.rs`), and in DAG files the key with parser, export, JSON
//! Schema and the table in `docs/guides/dag-files.md` (`document/src/file/options.rs`). The sentence above a row is the
//! description in all of these.

use super::form;
use crate::{Isolation, Limit, OnLost, TriggerRule, WeightRule};
use form::Form;
use serde::{Deserialize, Serialize};

/// Calls a macro with the table. The row order is the field order in the JSON of a DAG, from which its version is
/// computed. A new row must be the last.
#[macro_export]
macro_rules! task_options {
    ($with:ident) => {
        $with! {
            /// How often to try again after the first failure.
            retries: Tries, retries: u32;
            /// How long to wait before the next try; 5m without this.
            retry_delay: Delay, retry_delay_ms: u64;
            /// Multiplies the delay after each try.
            retry_backoff: Factor, retry_backoff: f64;
            /// The longest delay that `retry_backoff` grows to.
            max_retry_delay: Delay, max_retry_delay_ms: u64;
            /// How long one try may take.
            timeout: Time, timeout_ms: u64;
            /// The pool whose slots it takes.
            pool: Name, pool: String;
            /// How many slots of its pool it takes.
            pool_slots: Most, pool_slots: u32;
            /// Only workers of this queue run it.
            queue: Name, queue: String;
            /// Tasks of a higher priority start first.
            priority: Weight, priority: i32;
            /// How `priority` follows from relatives'.
            weight_rule: Word, weight_rule: WeightRule;
            /// When it may run, by the states of its upstreams.
            trigger_rule: Word, trigger_rule: TriggerRule;
            /// How many elements of a mapped task may run at once, in one run.
            max_active: Most, max_active: u32;
            /// How many of this task may run at once, over all runs of the DAG.
            max_active_over_runs: Most, max_active_over_runs: u32;
            /// Limits that tasks of several DAGs share.
            limits: Limits, limits: Vec<Limit>;
            /// How long a sensor waits between two looks; 60s without this.
            poll_every: Time, poll_every_ms: u64;
            /// Runs only if the same task of the run before ended well.
            depends_on_past: Flag, depends_on_past: bool;
            /// As `depends_on_past`, and the tasks after it ended well too.
            wait_for_downstream: Flag, wait_for_downstream: bool;
            /// Where orch's part of the body runs.
            isolation: Word, isolation: Isolation;
            /// What its child process and all that starts may have in memory.
            memory_mb: Most, memory_mb: u32;
            /// How often the same try begins again when its worker was lost, or `fail`.
            on_lost: Lost, on_lost: OnLost;
            /// The failure of this teardown fails the run.
            on_failure_fail_run: Flag, on_failure_fail_run: bool;
            /// Whom to ask about it; the first owner of the DAG without this.
            owner: Name, owner: String;
        }
    };
}

macro_rules! options {
    ($(#[doc = $about:literal] $key:ident: $form:ident, $field:ident: $stored:ty;)+) => {
        /// Options that are not set come from the `defaults` of the group, then of the DAG, then of orch. Times are in
        /// milliseconds.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        pub struct Options {$(
            #[doc = $about]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub $field: Option<$stored>,
        )+}

        impl Options {
            /// Fills options that are not set from `other`.
            #[must_use]
            pub fn or(self, other: &Options) -> Options {
                let other = other.clone();
                Options { $($field: self.$field.or(other.$field),)+ }
            }

            /// Returns the problems of each option, with a hint.
            pub(crate) fn problems(&self) -> Vec<(String, &'static str)> {
                let mut found = Vec::new();
                $(if let Some(value) = &self.$field {
                    found.extend(form::$form::problems(stringify!($key), value));
                })+
                found
            }
        }
    };
}
task_options!(options);
