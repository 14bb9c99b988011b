//! A DAG as data: what a worker registers, the scheduler plans with and the UI draws. Holds no code.
//!
//! The same shape is written by the Rust builder and read from declarative files. Fields that this binary does not
//! know are kept (`extra`), so that data written by a newer one survives an older one.

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
    /// What a task is mapped over: its own map, or that of the mapped group around it.
    pub fn map_of<'a>(&'a self, task: &'a TaskSpec) -> Option<&'a MapSpec> {
        task.map.as_ref().or_else(|| self.mapped_group(task.group_id.as_deref()).and_then(|g| g.map.as_ref()))
    }

    /// The mapped group around `group_id`, at any depth.
    pub fn mapped_group(&self, group_id: Option<&str>) -> Option<&GroupSpec> {
        mapped_group(&self.groups, group_id)
    }

    pub fn task(&self, task_id: &str) -> Option<&TaskSpec> {
        self.tasks.iter().find(|t| t.task_id == task_id)
    }

    /// Every mention of an asset or an alias: in the schedule first, then of each task.
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

    /// The version of the structure: what a run would notice. Places, words and labels do not count, so that moving a
    /// function or mending a doc comment does not make a new version.
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

/// The mapped group around `group_id`, at any depth.
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
    /// `rust`, `sensor`, `shell`, … : who runs it. `config` belongs to the kind.
    pub kind: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub config: Value,
    #[serde(default)]
    pub role: Role,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<InputSpec>,
    /// Order-only upstreams.
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
    /// Where the function is written (Code tab) and where it was added to this DAG (error messages).
    #[serde(default)]
    pub defined: Location,
    #[serde(default)]
    pub added: Location,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl TaskSpec {
    /// Every upstream task id that this task names, data edges first, each once. A task of a mapped group also waits
    /// for the list of its group: that edge is the plan's.
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
    /// `Option<_>` in the function: the task can run although this upstream gave nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    pub source: Source,
}

/// Where an input's JSON comes from; the worker resolves it before the function is called.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Value(Value),
    Params,
    /// The output of a task; inside one mapped group, the output of the same element.
    Output(String),
    /// All outputs of a mapped task, as a list in map order. As what is mapped over: element by element.
    Outputs(String),
    /// The same list, but as what is mapped over it is complete first (`.collect()`, Airflow's `expand`).
    Collected(String),
    /// The element this mapped task (`group: null`) or mapped group runs for; `part` picks from a zip or cross.
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
    /// Element i of every list; lists of different length fail the expansion.
    Zip(Vec<Source>),
    /// Every combination, the last list fastest.
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

/// Runs only if the value of `source` is one of `equals`, else it is skipped. On an element: that element only.
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

/// A line of source.
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
