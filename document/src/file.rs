//! Declarative DAG files: text in, structure out, or everything that is wrong with it, each with its line and column.
//!
//! One document of YAML or JSON is one DAG. What may stand there is said once, in the tables of `keys`: what the reader
//! refuses, the published JSON Schema and the export all follow from them. Pure except for `add_scripts`, which reads scripts. No
//! text, however broken, makes anything here panic.

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

/// Something that whoever runs a task says about it.
pub fn problem_of_task(task: &TaskSpec, message: impl Into<String>) -> FileProblem {
    FileProblem {
        file: task.added.file.clone(),
        line: task.added.line,
        column: 1,
        message: format!("task `{}`: {}", task.task_id, message.into()),
        hint: "look at the line of the task".into(),
    }
}

/// The file that `orch dags schema > dag-file.schema.json` writes beside DAG files, for editors.
const SCHEMA_FILE: &str = "dag-file.schema.json";

/// Returns whether a path names a DAG file. Hidden files and the JSON Schema of DAG files are not DAG files.
pub fn is_dag_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let is_other = is_endpoint_file(name) || is_stream_file(name) || name == SCHEMA_FILE;
    !name.starts_with('.') && !is_other && matches!(ending.as_deref(), Some("yaml" | "yml" | "json"))
}

/// Is this the name of a file with a published query?
pub fn is_endpoint_file(name: &str) -> bool {
    stem(name, "endpoint").is_some()
}

/// `shop` of `folder/shop.dashboard.yaml`, if that is a file of the kind.
pub(crate) fn stem<'a>(file: &'a str, kind: &str) -> Option<&'a str> {
    let name = file.rsplit('/').next().unwrap_or(file);
    let (name, ending) = name.rsplit_once('.')?;
    let stem = name.strip_suffix(kind)?.strip_suffix('.')?;
    (["yaml", "yml", "json"].contains(&ending) && !stem.is_empty() && !stem.starts_with('.')).then_some(stem)
}

/// The DAGs of a file, which is taken as a whole or not at all. `folder`: where it is; scripts that it names are seen from
/// there.
///
/// # Errors
/// Everything that is wrong with it.
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

/// The document of a file with a dashboard, which is held against its table of keys.
pub(crate) fn read_dashboard(file: &str, bytes: &[u8]) -> Result<Node, Vec<FileProblem>> {
    read_one(file, bytes, keys::DASHBOARD, "dashboard")
}

/// The same for a stream.
pub(crate) fn read_stream(file: &str, bytes: &[u8]) -> Result<Node, Vec<FileProblem>> {
    read_one(file, bytes, keys::STREAM, "stream")
}

/// Returns the document of a file with a published query, after checking its keys and the forms of their values.
///
/// # Errors
/// Returns every problem of the file, each with its line and column.
pub fn read_endpoint(file: &str, bytes: &[u8]) -> Result<Value, Vec<FileProblem>> {
    read_one(file, bytes, keys::ENDPOINT, "published query").map(|document| document.json())
}

/// For the guide.
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

/// What is wrong with a file, as far as it is read.
pub(crate) struct Problems<'a> {
    pub(crate) file: &'a str,
    pub(crate) found: Vec<FileProblem>,
}

/// What else is wrong would be a wall of text.
const MOST_PROBLEMS: usize = 50;

impl Problems<'_> {
    pub(crate) fn add(&mut self, at: Mark, message: impl Into<String>, hint: impl Into<String>) {
        if self.found.len() < MOST_PROBLEMS {
            self.found.push(problem_at(self.file, at, message, hint));
        }
    }

    /// Adds a problem that the rules for all DAGs found, with the names of Rust in its hint replaced by those of files. `at`: where the
    /// value stands in the file, if that is known better than by the line of the DAG or task.
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
