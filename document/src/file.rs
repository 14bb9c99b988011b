//! Declarative DAG files: parses text into the structure of DAGs, or returns every problem with its line and column.
//!
//! Each YAML or JSON document contains one DAG. The tables in `keys` declare the accepted content once: the reader, the
//! published JSON Schema and the export all follow from them. Everything is pure except for `add_scripts`, which reads
//! scripts. No input makes this module panic.

mod build;
mod check;
mod export;
mod keys;
mod options;
mod schedule;
mod schema;
mod scripts;
mod task;
pub mod template;
mod upstream;

pub use export::{NotExpressible, export};
pub use options::options_for_guide;
pub use orch_spec::check::FileProblem;
pub use schema::json_schema;
pub use scripts::{SCRIPT_HASH, add_scripts, script_hash, scripts_of};
pub use task::{FILE_TASK, is_dag_of_file, is_of_file};

pub(crate) use build::notifiers;
pub(crate) use check::time_ms as millis_of;

use crate::stream::is_stream_file;
use crate::yaml::node;
use node::{Mark, Node};
use orch_spec::check::Problem;
use orch_spec::{DagSpec, TaskSpec};
use serde_json::Value;
use std::collections::HashMap;

pub const MAX_FILE_BYTES: usize = node::MOST_BYTES;

/// Returns a problem that the operator of a task reports, at the line of the task.
pub fn problem_of_task(task: &TaskSpec, message: impl Into<String>) -> FileProblem {
    FileProblem {
        file: task.added.file.clone(),
        line: task.added.line,
        column: 1,
        message: format!("task `{}`: {}", task.task_id, message.into()),
        hint: "look at the line of the task".into(),
    }
}

/// The schema file that `orch dags schema > dag-file.schema.json` writes next to DAG files, for editors.
const SCHEMA_FILE: &str = "dag-file.schema.json";

/// Returns whether a path names a DAG file. Hidden files and the JSON Schema of DAG files are not DAG files.
pub fn is_dag_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let is_other = is_endpoint_file(name) || is_stream_file(name) || name == SCHEMA_FILE;
    !name.starts_with('.') && !is_other && matches!(ending.as_deref(), Some("yaml" | "yml" | "json"))
}

/// Returns whether this is the name of a file with a published query.
pub fn is_endpoint_file(name: &str) -> bool {
    stem(name, "endpoint").is_some()
}

/// Returns `shop` for `folder/shop.dashboard.yaml`. `None` if the file is not of this kind.
pub(crate) fn stem<'a>(file: &'a str, kind: &str) -> Option<&'a str> {
    let name = file.rsplit('/').next().unwrap_or(file);
    let (name, ending) = name.rsplit_once('.')?;
    let stem = name.strip_suffix(kind)?.strip_suffix('.')?;
    (["yaml", "yml", "json"].contains(&ending) && !stem.is_empty() && !stem.starts_with('.')).then_some(stem)
}

/// Parses all DAGs of a file, or returns every problem. Paths of scripts are relative to `folder`, the folder of the
/// file.
pub fn parse(file: &str, folder: &str, bytes: &[u8]) -> Result<Vec<DagSpec>, Vec<FileProblem>> {
    let mut problems = Problems { file, found: Vec::new() };
    let mut dags: Vec<DagSpec> = Vec::new();
    let documents = match node::read(file, bytes) {
        Ok(documents) => documents,
        Err((mark, message, hint)) => {
            problems.add(mark, message, hint);
            return Err(problems.found);
        }
    };
    if documents.is_empty() {
        problems.add(Mark::NONE, "the file is empty", "begin with `dag_id: …`, or delete the file");
    }
    let mut first: HashMap<String, Mark> = HashMap::new();
    for document in &documents {
        check::document(document, &mut problems);
        if !problems.found.is_empty() {
            continue;
        }
        let Some(spec) = build::dag(document, folder, &mut problems) else { continue };
        if let Some(at) = first.insert(spec.dag_id.clone(), document.mark) {
            let message = format!("dag id `{}` is used already in the document at line {}", spec.dag_id, at.line);
            problems.add(document.mark, message, "give one of the two another id");
        }
        dags.push(spec);
    }
    if problems.found.is_empty() {
        Ok(dags)
    } else {
        problems.found.sort_by_key(|problem| (problem.line, problem.column));
        problems.found.dedup();
        Err(problems.found)
    }
}

/// Returns the document of a dashboard file, after checking it against the table of keys.
pub(crate) fn read_dashboard(file: &str, bytes: &[u8]) -> Result<Node, Vec<FileProblem>> {
    read_one(file, bytes, keys::DASHBOARD, "dashboard")
}

/// Returns the document of a stream file, after checking it against the table of keys.
pub(crate) fn read_stream(file: &str, bytes: &[u8]) -> Result<Node, Vec<FileProblem>> {
    read_one(file, bytes, keys::STREAM, "stream")
}

/// Returns the document of a file with a published query, or every problem of its keys and of the forms of their
/// values.
pub fn read_endpoint(file: &str, bytes: &[u8]) -> Result<Value, Vec<FileProblem>> {
    read_one(file, bytes, keys::ENDPOINT, "published query").map(|document| document.json())
}

/// For the test of the guide.
#[cfg(test)]
pub(crate) fn stream_keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    keys::STREAM.iter().map(|key| (key.name, key.about))
}

fn read_one(file: &str, bytes: &[u8], keys: &'static [keys::Key], kind: &str) -> Result<Node, Vec<FileProblem>> {
    let mut problems = Problems { file, found: Vec::new() };
    match node::read(file, bytes).map(|mut documents| (documents.pop(), documents.len())) {
        Ok((Some(document), 0)) => {
            check::keys(&document, keys, &format!("a {kind}"), &mut problems);
            if problems.found.is_empty() {
                return Ok(document);
            }
        }
        Ok((last, before)) => {
            let several = before + usize::from(last.is_some());
            let message = format!("the file has {several} documents");
            problems.add(Mark::NONE, message, format!("write one {kind} into each file"));
        }
        Err((mark, message, hint)) => problems.add(mark, message, hint),
    }
    Err(problems.found)
}

pub(crate) fn problem_at(file: &str, at: Mark, message: impl Into<String>, hint: impl Into<String>) -> FileProblem {
    FileProblem { file: file.into(), line: at.line, column: at.column, message: message.into(), hint: hint.into() }
}

/// The problems of a file.
pub(crate) struct Problems<'a> {
    pub(crate) file: &'a str,
    pub(crate) found: Vec<FileProblem>,
}

/// Maximum number of reported problems. More would be unreadable.
const MOST_PROBLEMS: usize = 50;

impl Problems<'_> {
    pub(crate) fn add(&mut self, at: Mark, message: impl Into<String>, hint: impl Into<String>) {
        if self.found.len() < MOST_PROBLEMS {
            self.found.push(problem_at(self.file, at, message, hint));
        }
    }

    /// Adds a problem that the rules for all DAGs found. In its hint, names of the Rust API are replaced by keys of
    /// files. `at` is the location of the value, if it is known more precisely than the line of the DAG or task.
    fn of_dag(&mut self, problem: &Problem, at: Option<Mark>) {
        let whose = match &problem.task_id {
            Some(task) => format!("dag `{}`, task `{task}`: ", problem.dag_id),
            None => format!("dag `{}`: ", problem.dag_id),
        };
        let line = || problem.at.as_ref().map_or(Mark::NONE, |at| Mark { line: at.line, column: 1 });
        self.add(at.unwrap_or_else(line), whose + &problem.message, in_words_of_files(&problem.hint));
    }
}

fn in_words_of_files(hint: &str) -> String {
    [
        ("name this one with `.id(\"…\")`", "give it another name"),
        ("remove `.trigger_rule(…)`", "remove `trigger_rule`"),
        ("remove `.max_active_runs(…)`", "remove `max_active_runs`"),
        ("`asset_or_time(assets, cron(\"…\"))`", "`schedule: {assets: […], or: \"0 2 * * *\"}`"),
        ("`on_assets([asset(\"…\")])`", "`schedule: {assets: […]}`"),
        ("use `continuous()`", "use `@continuous`"),
        ("say with `.follow(…)`", "say under `follow`"),
        ("use `once()`", "use `@once`"),
        ("map one task over a list (`d.map`)", "map one task over a list (`map: […]`)"),
        ("over every pair: `cross(a, b)`", "over every pair: `map: {cross: [a, b]}`"),
        ("map over `cross(a, b)`", "map over `cross: [a, b]`"),
        ("use `cross(a, b)`", "use `cross: [a, b]`"),
    ]
    .iter()
    .fold(hint.to_string(), |hint, (rust, file)| hint.replace(rust, file))
}

#[cfg(test)]
mod tests;
