//! Ids in paths. An invalid id is reported as not found; `~` stands for all ids where a list supports it.

use super::path_numbers::{MAP_INDEX, PathNumber};
use crate::refusal::Refusal;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use orch_spec::ids::{DagId, RunId, TaskId};
use orch_wire::Problem;
use std::str::FromStr;

/// `{dag_id}`: the id of a DAG or one of its aliases.
#[derive(Debug, Clone)]
pub(crate) struct DagPath(pub(crate) DagId);

/// `{dag_id}` of a list, which may be `~`.
#[derive(Debug, Clone)]
pub(crate) struct RunsPath(pub(crate) Dags);

#[derive(Debug, Clone)]
pub(crate) enum Dags {
    All,
    One(DagId),
}

/// `{dag_id}` and `{dag_run_id}` of a run.
#[derive(Debug, Clone)]
pub(crate) struct RunPath {
    pub(crate) dag_id: DagId,
    pub(crate) run_id: RunId,
}

/// `{dag_id}` and `{dag_run_id}` of a list, which may be `~`.
#[derive(Debug, Clone)]
pub(crate) struct Runs {
    pub(crate) dags: Dags,
    /// `None` stands for all runs.
    pub(crate) run_id: Option<RunId>,
}

/// `{dag_id}`, `{dag_run_id}` and `{task_id}` of a task.
#[derive(Debug, Clone)]
pub(crate) struct TaskPath {
    pub(crate) run: RunPath,
    pub(crate) task_id: TaskId,
}

/// `{dag_id}`, `{dag_run_id}`, `{task_id}` and `{map_index}` of a mapped element.
#[derive(Debug, Clone)]
pub(crate) struct MappedPath {
    pub(crate) task: TaskPath,
    pub(crate) map_index: i32,
}

/// `{hash}` and `{name}` of an embedded file.
#[derive(Debug, Clone)]
pub(crate) struct StaticPath {
    pub(crate) hash: String,
    pub(crate) name: String,
}

async fn params<S: Sync + Send>(parts: &mut Parts, state: &S) -> Result<Names, Refusal> {
    // A path that is not valid UTF-8 contains no valid id.
    let raw = RawPathParams::from_request_parts(parts, state).await;
    let raw = raw.map_err(|_| Refusal::not_found("the path is not UTF-8 text"))?;
    let mut names: Vec<_> = raw.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    // These routes have a fixed word where others have a name. A task or run may have that word as its id.
    for (end, name) in [("/taskInstances/list", "task_id"), ("/dagRuns/list", "dag_run_id")] {
        if parts.uri.path().ends_with(end) && names.iter().all(|(known, _)| known != name) {
            names.push((name.into(), "list".into()));
        }
    }
    Ok(Names(names))
}

/// Airflow has routes with these words at the position of a number. They do not exist here and must not be reported as
/// invalid numbers.
const NO_NUMBER: [&str; 1] = ["state-store"];

/// All parameters of a path, for routes that need other parameters than a DAG, a run and a task.
#[derive(Debug, Clone)]
pub(crate) struct Names(Vec<(String, String)>);

impl Names {
    /// Returns a parameter as it was sent, or an empty string if the route does not have it.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn number<T: FromStr>(&self, PathNumber(name, _): PathNumber<T>) -> Result<T, Refusal> {
        let text = self.get(name);
        if NO_NUMBER.contains(&text) {
            return Err(Refusal::NoSuchRoute);
        }
        text.parse().map_err(|_| {
            let msg = "Input should be a valid integer, unable to parse string as an integer";
            Problem::new("int_parsing", msg).at(["path", name]).with_input(&text.into()).into()
        })
    }

    pub(crate) fn dag(&self) -> Result<DagId, Refusal> {
        let id = self.get("dag_id");
        DagId::new(id).map_err(|_| no_such_dag(id))
    }

    pub(crate) fn dags(&self) -> Result<Dags, Refusal> {
        if self.get("dag_id") == "~" { Ok(Dags::All) } else { self.dag().map(Dags::One) }
    }

    pub(crate) fn run(&self) -> Result<RunPath, Refusal> {
        RunPath::of(self.get("dag_id"), self.get("dag_run_id"))
    }

    pub(crate) fn task(&self) -> Result<TaskPath, Refusal> {
        let (run, task_id) = (self.run()?, self.get("task_id"));
        match TaskId::new(task_id) {
            Ok(task_id) => Ok(TaskPath { run, task_id }),
            Err(_) => Err(no_such_instance(&run, task_id, -1)),
        }
    }
}

impl RunPath {
    /// Returns the path of a run. Invalid ids are reported as a run that does not exist.
    pub(crate) fn of(dag_id: &str, run_id: &str) -> Result<RunPath, Refusal> {
        match (DagId::new(dag_id), RunId::new(run_id)) {
            (Ok(dag_id), Ok(run_id)) => Ok(RunPath { dag_id, run_id }),
            _ => Err(no_such_run(dag_id, run_id)),
        }
    }
}

impl<S: Sync + Send> FromRequestParts<S> for DagPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        params(parts, state).await?.dag().map(DagPath)
    }
}

impl<S: Sync + Send> FromRequestParts<S> for StaticPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let params = params(parts, state).await?;
        Ok(StaticPath { hash: params.get("hash").into(), name: params.get("name").into() })
    }
}

impl<S: Sync + Send> FromRequestParts<S> for RunsPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        params(parts, state).await?.dags().map(RunsPath)
    }
}

impl<S: Sync + Send> FromRequestParts<S> for RunPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        params(parts, state).await?.run()
    }
}

impl<S: Sync + Send> FromRequestParts<S> for Runs {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let params = params(parts, state).await?;
        match params.get("dag_run_id") {
            "~" => Ok(Runs { dags: params.dags()?, run_id: None }),
            run_id => {
                let run = RunId::new(run_id).map_err(|_| no_such_run(params.get("dag_id"), run_id))?;
                Ok(Runs { dags: params.dags()?, run_id: Some(run) })
            }
        }
    }
}

impl<S: Sync + Send> FromRequestParts<S> for TaskPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        params(parts, state).await?.task()
    }
}

impl<S: Sync + Send> FromRequestParts<S> for MappedPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let params = params(parts, state).await?;
        Ok(MappedPath { task: params.task()?, map_index: params.number(MAP_INDEX)? })
    }
}

impl<S: Sync + Send> FromRequestParts<S> for Names {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        params(parts, state).await
    }
}

/// Returns an id for an error message: escaped and limited to 250 characters.
pub(crate) fn escape_id(id: &str) -> String {
    id.chars().take(250).collect::<String>().escape_debug().to_string()
}

pub(crate) fn no_such_dag(dag_id: &str) -> Refusal {
    Refusal::not_found(format!("The Dag with ID: `{}` was not found", escape_id(dag_id)))
}

pub(crate) fn no_such_run(dag_id: &str, run_id: &str) -> Refusal {
    let (dag_id, run_id) = (escape_id(dag_id), escape_id(run_id));
    Refusal::not_found(format!("The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found"))
}

pub(crate) fn no_such_instance(run: &RunPath, task_id: &str, map_index: i32) -> Refusal {
    let RunPath { dag_id, run_id } = run;
    let task_id = escape_id(task_id);
    let which = if map_index < 0 { String::new() } else { format!(" and map_index: `{map_index}`") };
    Refusal::not_found(format!(
        "The Task Instance with dag_id: `{dag_id}`, run_id: `{run_id}` and task_id: `{task_id}`{which} was not found"
    ))
}
