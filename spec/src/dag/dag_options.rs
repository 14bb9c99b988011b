//! A DAG as data, with its options: one table, of which everything that knows an option is made, as for tasks.
//!
//! A row is `key: Form, field: type`, below how the field is stored. From it follow the field of `DagSpec` and its default (here), the setter
//! (`orch/src/dag.rs`), and in DAG files the key with reading, export and JSON Schema (`document/src/file/options.rs`). What cannot be right
//! about the numbers is said in `check/limits.rs`.

use crate::{Callbacks, Concurrency, Deadline, GroupSpec, Location, Overlap, Schedule, TaskSpec, Timetable};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Calls a macro with the table. The order of the rows is that of the fields in the JSON of a DAG, which its version is made of: a new row
/// is the last, and is not stored unless it is said.
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
            /// Other names people may use in CLI, API and UI.
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
            /// No tick before it; a tick on it counts.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub start: Option<DateTime<Utc>>,
            /// No tick after it.
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
            /// In a topological order.
            pub tasks: Vec<TaskSpec>,
            #[serde(default, skip_serializing_if = "Callbacks::is_empty")]
            pub callbacks: Callbacks,
            /// An alert is sent when a run is not over in time.
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
    /// One that says nothing but its id.
    pub fn new(dag_id: &str) -> DagSpec {
        DagSpec { dag_id: dag_id.into(), ..DagSpec::default() }
    }
}
