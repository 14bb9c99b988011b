//! A DAG as data: what a worker registers, the scheduler plans with and the UI draws. Contains no code.
//!
//! The Rust builder and declarative files produce the same structure. Unknown fields are kept (`extra`), so data that a
//! newer binary wrote survives an older one.

mod alert;
mod asset;
mod dag_options;
pub mod form;
mod options;
mod overlap;
mod task_options;

pub use alert::{Callbacks, Deadline, DeadlineFrom, Notifier, deadline_words, duration_words};
pub use asset::{Asset, AssetCondition, AssetRef, AssetRole};
pub use dag_options::DagSpec;
pub use options::{Isolation, Limit, OnLost, Schedule, Timetable, TriggerRule, WeightRule};
pub use overlap::{Concurrency, Overlap};
pub use task_options::Options;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

impl DagSpec {
    /// Returns the map of a task: its own map, or the map of the mapped group around it.
    pub fn map_of<'a>(&'a self, task: &'a TaskSpec) -> Option<&'a MapSpec> {
        task.map.as_ref().or_else(|| self.mapped_group(task.group_id.as_deref()).and_then(|g| g.map.as_ref()))
    }

    /// Returns the mapped group around `group_id`, at any depth.
    pub fn mapped_group(&self, group_id: Option<&str>) -> Option<&GroupSpec> {
        mapped_group(&self.groups, group_id)
    }

    pub fn task(&self, task_id: &str) -> Option<&TaskSpec> {
        self.tasks.iter().find(|t| t.task_id == task_id)
    }

    /// Returns every mention of an asset or alias, starting with the schedule.
    pub fn asset_mentions(&self) -> impl Iterator<Item = (AssetRole, &str, AssetRef)> {
        let scheduled = self.schedule.assets().into_iter().flat_map(AssetCondition::leaves);
        let scheduled = scheduled.map(|leaf| (AssetRole::Schedule, "", leaf));
        scheduled.chain(self.tasks.iter().flat_map(|task| {
            let of = |role, refs: &'_ [AssetRef]| {
                refs.iter().cloned().map(move |r| (role, task.task_id.as_str(), r)).collect::<Vec<_>>()
            };
            [of(AssetRole::Outlet, &task.outlets), of(AssetRole::Inlet, &task.inlets)].into_iter().flatten()
        }))
    }

    /// Returns the version of the structure, which changes with everything that affects a run. Locations, descriptions
    /// and labels do not count, so moving a function or fixing a doc comment does not create a new version.
    pub fn version(&self) -> String {
        let mut structure = self.clone();
        structure.location = Location::default();
        structure.description.clear();
        structure.tags.clear();
        structure.owners.clear();
        for group in &mut structure.groups {
            group.location = Location::default();
            group.doc.clear();
        }
        for task in &mut structure.tasks {
            task.doc.clear();
            (task.defined, task.added) = (Location::default(), Location::default());
        }
        let json = serde_json::to_vec(&structure).expect("a spec has string keys only");
        let digest = Sha256::digest(json);
        let half = digest.first_chunk::<16>().expect("a digest has 32 bytes");
        format!("{:032x}", u128::from_be_bytes(*half))
    }
}

/// Returns the mapped group around `group_id`, at any depth.
pub fn mapped_group<'a>(groups: &'a [GroupSpec], group_id: Option<&str>) -> Option<&'a GroupSpec> {
    let inside = |g: &GroupSpec| {
        let rest = group_id.and_then(|id| id.strip_prefix(g.group_id.as_str()));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    groups.iter().find(|g| g.map.is_some() && inside(g))
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupSpec {
    pub group_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<MapSpec>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    #[serde(default)]
    pub location: Location,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskSpec {
    pub task_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
    /// Operator that runs the task, such as `rust`, `sensor` or `shell`. It defines the contents of `config`.
    pub kind: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub config: Value,
    #[serde(default)]
    pub role: Role,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<InputSpec>,
    /// Upstreams whose output is not used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Condition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<MapSpec>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inlets: Vec<AssetRef>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outlets: Vec<AssetRef>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output_type: String,
    #[serde(flatten)]
    pub options: Options,
    #[serde(default, skip_serializing_if = "Callbacks::is_empty")]
    pub callbacks: Callbacks,
    /// Location of the function (Code tab). `added` is where the task was added to this DAG (error messages).
    #[serde(default)]
    pub defined: Location,
    #[serde(default)]
    pub added: Location,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl TaskSpec {
    /// Returns the ids of all upstreams that this task names, without duplicates, data edges first. A task of a mapped
    /// group also waits for the list of its group; the plan adds that edge.
    pub fn upstreams(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.inputs.iter().for_each(|i| i.source.collect(&mut found));
        self.map.iter().flat_map(MapSpec::sources).for_each(|s| s.collect(&mut found));
        self.when.iter().for_each(|c| c.source.collect(&mut found));
        found.extend(self.after.iter().map(String::as_str));
        let mut seen = std::collections::HashSet::new();
        found.retain(|id| seen.insert(*id));
        found
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InputSpec {
    pub name: String,
    #[serde(default, rename = "type", skip_serializing_if = "String::is_empty")]
    pub type_name: String,
    /// True for `Option<_>` in the function: the task can run if this upstream has no output.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    pub source: Source,
}

/// Source of an input's JSON. The worker resolves it before it calls the function.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Value(Value),
    Params,
    /// The output of a task. Inside one mapped group it is the output of the same element.
    Output(String),
    /// All outputs of a mapped task, as a list in map order. If another task maps over this list, each element waits
    /// only for the upstream element with the same index.
    Outputs(String),
    /// Like `Outputs`, but a map over this list waits until it is complete (`.collect()`, Airflow's `expand`).
    Collected(String),
    /// The element that this mapped task (`group: null`) or mapped group runs for. `part` selects from a zip or cross.
    Element {
        group: Option<String>,
        part: Option<usize>,
    },
    List(Vec<Source>),
}

impl Source {
    pub fn collect<'a>(&'a self, found: &mut Vec<&'a str>) {
        match self {
            Source::Output(id) | Source::Outputs(id) | Source::Collected(id) => found.push(id),
            Source::List(sources) => sources.iter().for_each(|s| s.collect(found)),
            Source::Value(_) | Source::Params | Source::Element { .. } => {}
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum MapSpec {
    Each(Source),
    /// Element i of every list. Lists of different lengths fail the expansion.
    Zip(Vec<Source>),
    /// Every combination. The last list varies fastest.
    Cross(Vec<Source>),
}

impl MapSpec {
    pub fn sources(&self) -> &[Source] {
        match self {
            MapSpec::Each(source) => std::slice::from_ref(source),
            MapSpec::Zip(sources) | MapSpec::Cross(sources) => sources,
        }
    }
}

/// Runs the task only if the value of `source` is one of `equals`, otherwise skips it. A condition on an element skips
/// only that element.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Condition {
    pub source: Source,
    pub equals: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    #[default]
    Work,
    Setup,
    Teardown,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    pub file: String,
    pub line: u32,
}

impl Location {
    #[track_caller]
    pub fn caller() -> Self {
        let at = std::panic::Location::caller();
        Location { file: at.file().into(), line: at.line() }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}
