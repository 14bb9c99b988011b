//! A DAG as data, with its options. A single table defines all options, as for tasks.
//!
//! A row is `key: Form, field: type`, below the attribute that says how the field is stored. The row generates the
//! field of `DagSpec` and its default (here), the setter (`orch/src/dag.rs`), and in DAG files the key with parser,
//! export and JSON Schema (`document/src/file/options.rs`). `check/limits.rs` validates the numbers.

use crate::{Callbacks, Concurrency, Deadline, GroupSpec, Location, Overlap, Schedule, TaskSpec, Timetable};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Calls a macro with the table. The row order is the field order in the JSON of a DAG, from which its version is
/// computed. A new row must be the last, and must not be stored unless it is set.
#[macro_export]
macro_rules! dag_options {
    ($with:ident) => {
        $with! {
            /// Also creates the runs missed since `start`.
            #[serde(default)]
            catchup: Set, catchup: bool;
            /// A run that takes longer fails.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            run_timeout: Time, run_timeout_ms: Option<u64>;
            /// Runs at the same time; 16 without this.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            max_active_runs: Most, max_active_runs: Option<u32>;
            /// What becomes of a run without a place.
            #[serde(default, skip_serializing_if = "Overlap::is_usual")]
            overlap: WordOrDefault, overlap: Overlap;
            /// Runs at the same time for each value of a param.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            concurrency: Keys, concurrency: Vec<Concurrency>;
            /// Tasks of one run at the same time.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            max_active_tasks: Most, max_active_tasks: Option<u32>;
            /// Pauses the DAG after that many failed runs in a row.
            #[serde(default)]
            max_consecutive_failed_runs: FromZero, max_consecutive_failed_runs: u32;
            /// Whether it waits for somebody to unpause it when it is first seen.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            paused: Paused, paused_at_creation: Option<bool>;
            /// What to do when a run failed, in Markdown, or a link to it; the page of a failed run shows it.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            runbook: Name, runbook: Option<String>;
        }
    };
}

macro_rules! dag_spec {
    ($(#[doc = $about:literal] #[serde($($stored:tt)*)] $key:ident: $form:ident, $field:ident: $type:ty;)+) => {
        #[derive(Debug, Clone, Default, Serialize, Deserialize)]
        pub struct DagSpec {
            pub dag_id: String,
            #[serde(default, skip_serializing_if = "String::is_empty")]
            pub description: String,
            /// Other names of the DAG in CLI, API and UI.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub aliases: Vec<String>,
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub owners: Vec<String>,
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub tags: Vec<String>,
            #[serde(default)]
            pub schedule: Schedule,
            #[serde(default)]
            pub timetable: Timetable,
            /// Earliest tick of the schedule, inclusive.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub start: Option<DateTime<Utc>>,
            /// Latest tick of the schedule, inclusive.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub end: Option<DateTime<Utc>>,
            $(
                #[doc = $about]
                #[serde($($stored)*)]
                pub $field: $type,
            )+
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub params_schema: Option<Value>,
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub groups: Vec<GroupSpec>,
            /// In topological order.
            pub tasks: Vec<TaskSpec>,
            #[serde(default, skip_serializing_if = "Callbacks::is_empty")]
            pub callbacks: Callbacks,
            /// An alert is sent if a run misses one of these.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub deadlines: Vec<Deadline>,
            #[serde(default)]
            pub location: Location,
            #[serde(flatten)]
            pub extra: Map<String, Value>,
        }
    };
}
dag_options!(dag_spec);

impl DagSpec {
    /// Returns a DAG with only an id.
    pub fn new(dag_id: &str) -> DagSpec {
        DagSpec { dag_id: dag_id.into(), ..DagSpec::default() }
    }
}
