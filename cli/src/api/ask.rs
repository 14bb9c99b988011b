//! Requests about DAGs, runs and task instances.

use super::list::refused_list;
use super::{Api, ApiReply, HINT, ListQuery, Query, behind_colon, encoded, read, refused};
use chrono::{DateTime, SecondsFormat, Utc};
use orch_binary::conf;
use orch_binary::failure::Failure;
use orch_binary::names::{self, MapIndexFlag};
use orch_core::network::step_after_status;
use orch_spec::DagSpec;
use orch_spec::ids::{DagId, RunId, TaskId};
use orch_spec::names::closest;
use orch_spec::schedule::isoformat;
use orch_spec::state::RunState;
use orch_store::dag::{self, DagRow, RunCount};
use orch_store::instance::InstanceRow;
use orch_store::list::{Compare, Search};
use orch_store::run::{NewRun, RunDetails, by};
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Maximum number of entries that the API returns per page.
const PAGE: usize = 100;
/// Filter of the list of DAGs.
const ID_PREFIX: &str = "dag_id_prefix_pattern";
/// Selects all DAGs in a path.
const ALL: &str = "~";

/// A reason why a task instance does not run.
#[derive(Debug, Clone)]
pub(crate) struct Obstacle {
    pub(crate) name: String,
    pub(crate) reason: String,
    /// The task instances that hold what the instance waits for.
    pub(crate) in_the_way: Vec<String>,
}

impl Api {
    /// Lists DAGs, ordered by id.
    pub(crate) async fn dags(&self, asked: ListQuery) -> Result<Vec<DagRow>, Failure> {
        self.pages("dags", "dags", &asked.or(dag::by::LIVE.name, false), read::dag).await
    }

    /// Returns all DAGs whose id starts with the prefix. Fails if a server over HTTP does not send them within the
    /// timeout.
    pub(crate) async fn dags_with_prefix(&self, prefix: &str, timeout: Duration) -> Result<Vec<DagRow>, Failure> {
        let deadline = Instant::now() + timeout;
        let prefixed = if prefix.is_empty() { Query::default() } else { Query::default().with(ID_PREFIX, prefix) };
        let mut found = Vec::new();
        loop {
            let query = prefixed.clone().with("limit", PAGE).with("offset", found.len());
            let left = deadline.saturating_duration_since(Instant::now());
            let body = self.found(self.ask_within(left, "GET", &format!("api/v2/dags{}", query.0), None).await?)?;
            let page = body["dags"].as_array().ok_or_else(|| self.strange())?;
            for dag in page {
                found.push(read::dag(dag).ok_or_else(|| self.strange())?);
            }
            if page.len() < PAGE {
                return Ok(found);
            }
        }
    }

    /// Returns a DAG by its id or an alias.
    pub(crate) async fn dag(&self, name: &str) -> Result<DagRow, Failure> {
        DagId::new(name)?;
        match self.get(&format!("dags/{}", encoded(name)), &Query::default()).await? {
            ApiReply::Found(dag) => read::dag(&dag).ok_or_else(|| self.strange()),
            ApiReply::Refused(404, _) => {
                let known = self.dags(ListQuery::all()).await?;
                let near = closest(name, known.iter().map(|dag| dag.dag_id.as_str()));
                Err(names::no_such_dag(name, near))
            }
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    pub(crate) async fn set_paused(&self, dag_id: &str, is_paused: bool) -> Result<(), Failure> {
        let path = format!("dags/{}", encoded(dag_id));
        match self.change("PATCH", &path, Some(&json!({ "is_paused": is_paused }))).await? {
            ApiReply::Found(_) => Ok(()),
            ApiReply::Refused(404, _) => Err(gone(dag_id)),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    pub(crate) async fn delete_dag(&self, dag_id: &str) -> Result<(), Failure> {
        match self.change("DELETE", &format!("dags/{}", encoded(dag_id)), None).await? {
            ApiReply::Found(_) => Ok(()),
            ApiReply::Refused(404, _) => Err(gone(dag_id)),
            ApiReply::Refused(409, _) => Err(Failure::new(format!("dag `{dag_id}` has running runs"))
                .hint(format!("list them with `orch dags list-runs {dag_id} --state running`, then cancel them"))),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Resolves an id or alias of a DAG to its id.
    pub(crate) async fn dag_id(&self, name: &str) -> Result<String, Failure> {
        Ok(self.dag(name).await?.dag_id)
    }

    /// Returns a DAG by its id or an alias, with the structure of its newest version.
    pub(crate) async fn structure(&self, name: &str) -> Result<(DagRow, DagSpec), Failure> {
        let mut dag = self.dag(name).await?;
        let path = format!("dags/{}/structure", encoded(&dag.dag_id));
        match self.get_extra(&path).await? {
            ApiReply::Found(found) => {
                let (spec, aliases, number) = read::structure(&found).ok_or_else(|| self.strange())?;
                (dag.aliases, dag.version_number) = (aliases, number);
                Ok((dag, spec))
            }
            ApiReply::Refused(404, _) => Err(gone(&dag.dag_id)),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    pub(crate) async fn run_counts(&self, dag_id: &str) -> Result<Vec<RunCount>, Failure> {
        let path = format!("dags/{}/dagRuns", encoded(dag_id));
        let mut counts = Vec::new();
        for state in RunState::ALL {
            let query = Query::default().with("state", state).with("limit", 1);
            let body = self.found(self.get(&path, &query).await?)?;
            let count = body["total_entries"].as_i64().ok_or_else(|| self.strange())?;
            counts.push(RunCount { state: *state, count });
        }
        Ok(counts)
    }

    /// Returns a run of a DAG by its id or its logical date.
    pub(crate) async fn run(&self, dag: &str, name: &str) -> Result<RunDetails, Failure> {
        self.run_of(&self.dag_id(dag).await?, name).await
    }

    /// Like `run`, but takes the id of the DAG instead of an id or alias.
    pub(crate) async fn run_of(&self, dag_id: &str, name: &str) -> Result<RunDetails, Failure> {
        let date = names::parse_moment(name);
        if date.is_none() {
            RunId::new(name)?;
        }
        let path = format!("dags/{}/dagRuns/{}", encoded(dag_id), encoded(name));
        match self.get(&path, &Query::default()).await? {
            ApiReply::Found(run) => return read::run(&run).ok_or_else(|| self.strange()),
            ApiReply::Refused(404, _) => {}
            ApiReply::Refused(_, words) => return Err(refused(&words)),
        }
        if let Some(date) = date {
            let on_date = Compare::ON.map(|compare| by::LOGICAL_DATE.compare(compare, date));
            let search = on_date.into_iter().fold(Search::default(), Search::and);
            if let Some(found) = self.runs(Some(dag_id), ListQuery::of(&search).most(1)).await?.pop() {
                return Ok(found);
            }
        }
        let recent = self.runs(Some(dag_id), ListQuery::all().most(names::RECENT_RUNS as usize)).await?;
        Err(names::no_such_run(dag_id, name, &recent))
    }

    /// Returns a run by `RUN` if only one DAG has a run of that name, or by `DAG RUN`.
    pub(crate) async fn any_run(&self, words: &[String]) -> Result<RunDetails, Failure> {
        let name = match words {
            [dag, name] => return self.run(dag, name).await,
            [name] => name,
            _ => return Err(Failure::new("name a run: its dag and its id, or its id alone")),
        };
        RunId::new(name)?;
        let begins = Search::default().and(by::RUN_ID.begins([name]));
        let mut found = self.runs(None, ListQuery::of(&begins).most(PAGE)).await?;
        found.retain(|run| run.run_id == *name);
        names::the_only_run(name, found)
    }

    /// Cancels a run and returns its new state. A run that has already finished is returned unchanged.
    pub(crate) async fn cancel_run(&self, run: &RunDetails) -> Result<RunDetails, Failure> {
        let path = format!("dags/{}/runs/{}/cancel", encoded(&run.dag_id), encoded(&run.run_id));
        match self.change_extra("POST", &path, None).await? {
            ApiReply::Found(run) => read::run(&run).ok_or_else(|| self.strange()),
            ApiReply::Refused(404, _) => Err(Failure::new(format!("run `{}` was deleted just now", run.run_id))),
            ApiReply::Refused(409, _) => self.run_of(&run.dag_id, &run.run_id).await,
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Moves a run to the newest version of its DAG and returns its new state. A run of that version is returned
    /// unchanged.
    pub(crate) async fn move_run(&self, run: &RunDetails) -> Result<RunDetails, Failure> {
        let path = format!("dags/{}/runs/{}/move", encoded(&run.dag_id), encoded(&run.run_id));
        match self.change_extra("POST", &path, None).await? {
            ApiReply::Found(run) => read::run(&run).ok_or_else(|| self.strange()),
            ApiReply::Refused(404, _) => {
                Err(Failure::new(format!("run `{}` or its dag was deleted just now", run.run_id)))
            }
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Lists runs of a DAG, or of all DAGs, newest first.
    pub(crate) async fn runs(&self, dag_id: Option<&str>, asked: ListQuery) -> Result<Vec<RunDetails>, Failure> {
        let path = format!("dags/{}/dagRuns", dag_id.map_or(ALL.into(), encoded));
        self.pages(&path, "dag_runs", &asked.then_by(by::RUN_AFTER.descending()), read::run).await
    }

    /// Lists the instances of a run in the order of the DAG.
    pub(crate) async fn instances(&self, run: &RunDetails, asked: &ListQuery) -> Result<Vec<InstanceRow>, Failure> {
        self.pages(&of_run(run), "task_instances", asked, read::instance).await
    }

    /// Returns a task instance. Fails for a mapped task if no element is selected.
    pub(crate) async fn instance(
        &self,
        run: &RunDetails,
        task_id: &str,
        map_index: MapIndexFlag,
    ) -> Result<InstanceRow, Failure> {
        TaskId::new(task_id)?;
        let first = self.get(&of_run(run), &Query::default().with("task_id", task_id).with("limit", 1)).await?;
        let first = self.found(first)?;
        let found = first["task_instances"].get(0).map(|value| read::instance(value).ok_or_else(|| self.strange()));
        let Some(found) = found.transpose()? else {
            let known = self.instances(run, &ListQuery::all()).await?;
            return Err(names::no_such_task(&run.dag_id, task_id, known.iter().map(|i| i.task_id.as_str())));
        };
        let elements = if found.map_index < 0 { 0 } else { first["total_entries"].as_i64().unwrap_or_default() as i32 };
        let index = map_index.map_index.unwrap_or(-1);
        if found.map_index == index {
            return Ok(found);
        }
        if index < 0 || index >= elements {
            return Err(names::no_such_element(task_id, elements, index));
        }
        match self.get(&format!("{}/{}/{index}", of_run(run), encoded(task_id)), &Query::default()).await? {
            ApiReply::Found(instance) => read::instance(&instance).ok_or_else(|| self.strange()),
            ApiReply::Refused(404, _) => Err(names::no_such_element(task_id, elements, index)),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Returns all reasons why an instance does not run.
    pub(crate) async fn obstacles(&self, run: &RunDetails, instance: &InstanceRow) -> Result<Vec<Obstacle>, Failure> {
        read::obstacles(&self.why(run, instance).await?).ok_or_else(|| self.strange())
    }

    /// Returns the error chain of the last attempt if it failed, outermost first.
    pub(crate) async fn causes(&self, run: &RunDetails, instance: &InstanceRow) -> Result<Vec<String>, Failure> {
        let why = self.why(run, instance).await?;
        Vec::deserialize(&why["causes"]).map_err(|_| self.strange())
    }

    /// Returns why an instance does not run, as a sentence. It names the failed tasks that prevent it, with their errors.
    pub(crate) async fn summary(&self, run: &RunDetails, instance: &InstanceRow) -> Result<String, Failure> {
        let why = self.why(run, instance).await?;
        why["summary"].as_str().map(String::from).ok_or_else(|| self.strange())
    }

    /// Returns the value that an instance returned or pushed under this key. `None` if it does not exist.
    pub(crate) async fn instance_output(
        &self,
        run: &RunDetails,
        instance: &InstanceRow,
        key: &str,
    ) -> Result<Option<Value>, Failure> {
        let (path, key) = (outputs_of(run, instance), encoded(key));
        let query = Query::default().with("map_index", instance.map_index);
        match self.get(&format!("{path}/{key}"), &query).await? {
            ApiReply::Found(found) => Ok(Some(found["value"].clone())),
            ApiReply::Refused(404, _) => Ok(None),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// The keys of all outputs of an instance.
    pub(crate) async fn output_keys(&self, run: &RunDetails, instance: &InstanceRow) -> Result<Vec<String>, Failure> {
        let asked = ListQuery::all().with("map_index", instance.map_index);
        let key = |entry: &Value| entry["key"].as_str().map(String::from);
        self.pages(&outputs_of(run, instance), "xcom_entries", &asked, key).await
    }

    async fn why(&self, run: &RunDetails, instance: &InstanceRow) -> Result<Value, Failure> {
        let (dag_id, run_id, task_id) = (encoded(&run.dag_id), encoded(&run.run_id), encoded(&instance.task_id));
        let path = format!("dags/{dag_id}/runs/{run_id}/tasks/{task_id}/why?map_index={}", instance.map_index);
        match self.get_extra(&path).await? {
            ApiReply::Found(found) => Ok(found),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    pub(crate) async fn trigger(&self, new: &NewRun) -> Result<RunDetails, Failure> {
        let body = json!({
            "dag_run_id": new.run_id.as_deref(),
            "logical_date": new.logical_date.map(exactly),
            "run_after": new.run_after.map(exactly),
            "conf": new.conf,
        });
        let dag_id = &new.dag_id;
        DagId::new(dag_id)?;
        match self.post(&format!("dags/{}/dagRuns", encoded(dag_id)), &body).await? {
            ApiReply::Found(run) => read::run(&run).ok_or_else(|| self.strange()),
            // Suggests similar names if the DAG is not registered.
            ApiReply::Refused(404, _) => Err(self.dag(dag_id).await.err().unwrap_or_else(|| gone(dag_id))),
            ApiReply::Refused(409, words) if words.contains("logical date") => {
                Err(names::date_taken(dag_id, &new.logical_date.map(isoformat).unwrap_or_default()))
            }
            ApiReply::Refused(409, _) => Err(names::run_id_taken(dag_id, new.run_id.as_deref().unwrap_or_default())),
            ApiReply::Refused(_, words) => Err(conf::refused_by_server(&words, dag_id)),
        }
    }

    /// Returns a single object by its path. `None` if it does not exist.
    pub(super) async fn one<T>(&self, path: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>, Failure> {
        match self.ask("GET", path, None).await? {
            ApiReply::Found(found) => read(&found).map(Some).ok_or_else(|| self.strange()),
            ApiReply::Refused(404, _) => Ok(None),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Returns the entries of a list, page by page.
    pub(super) async fn pages<T>(
        &self,
        path: &str,
        name: &str,
        asked: &ListQuery,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<T>, Failure> {
        self.pages_from(&format!("api/v2/{path}"), name, asked, read).await
    }

    /// Like `pages`, for a list of the API that extends Airflow's.
    pub(super) async fn pages_extra<T>(
        &self,
        path: &str,
        name: &str,
        asked: &ListQuery,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<T>, Failure> {
        self.pages_from(&format!("api/orch/v1/{path}"), name, asked, read).await
    }

    pub(super) async fn pages_from<T>(
        &self,
        path: &str,
        name: &str,
        asked: &ListQuery,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<T>, Failure> {
        let mut found = Vec::new();
        loop {
            let wanted = (asked.most - found.len()).min(PAGE);
            let query = asked.query.clone().with("limit", wanted).with("offset", found.len());
            let body = match self.ask("GET", &format!("{path}{}", query.0), None).await? {
                // The request was rejected because of `--where` or `--order-by`.
                ApiReply::Refused(400 | 422, words) if !words.contains(HINT) => return Err(refused_list(&words)),
                answer => self.found(answer)?,
            };
            let page = body[name].as_array().ok_or_else(|| self.strange())?;
            for entry in page {
                found.push(read(entry).ok_or_else(|| self.strange())?);
            }
            if page.len() < wanted || found.len() >= asked.most {
                return Ok(found);
            }
        }
    }

    pub(super) fn found(&self, answer: ApiReply) -> Result<Value, Failure> {
        match answer {
            ApiReply::Found(body) => Ok(body),
            // The message contains a hint, for example that there is no lake.
            ApiReply::Refused(_, words) if words.contains(HINT) => Err(refused(&words)),
            ApiReply::Refused(status, words) => {
                let message = format!("`{}` responded with status {status}{}", self.base, behind_colon(&words));
                let failure = Failure::new(message);
                Err(if words.trim().is_empty() { failure.hint(step_after_status(status)) } else { failure })
            }
        }
    }
}

pub(super) fn of_run(run: &RunDetails) -> String {
    format!("dags/{}/dagRuns/{}/taskInstances", encoded(&run.dag_id), encoded(&run.run_id))
}

fn outputs_of(run: &RunDetails, instance: &InstanceRow) -> String {
    format!("{}/{}/xcomEntries", of_run(run), encoded(&instance.task_id))
}

fn gone(dag_id: &str) -> Failure {
    Failure::new(format!("dag `{dag_id}` was deleted just now"))
}

fn exactly(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
