//! The server that a command asks: over its database, or over its API for those questions that the API knows. The answers
//! are the same rows, so a command prints the same either way.

mod alerts;
mod approvals;
mod assets;
mod backfills;
mod deadlines;
mod marks;
mod pools;
mod presets;
mod versions;

pub(crate) use approvals::{AnswerWish, Asked};
pub(crate) use assets::{AssetDetails, MOST as MOST_ASSETS, Update, the_producer, way};
pub(crate) use backfills::{PlannedDate, gone as backfill_is_gone, over as backfill_is_over};
pub(crate) use deadlines::DeadlineLine;
pub(crate) use marks::{Instance, MarkWish};
pub(crate) use versions::VersionLine;

use crate::api::Api;
use orch_binary::failure::Failure;
use orch_binary::names::{self, MapIndexFlag};
use orch_binary::session::Session;
use orch_core::spec::DagSpec;
use orch_store::dag::{DagFilter, DagRow, MOST_DAGS, RunCount, list_dags, run_counts};
use orch_store::instance::{InstanceFilter, InstanceRow, MOST_INSTANCES, list_instances, tries};
use orch_store::run::{MOST_RUNS, RunDetails, RunFilter, list_runs};
use orch_store::version::Versions;
use orch_store::why::{Why, why};
use std::sync::Arc;

pub(crate) enum Server {
    Database(Session),
    Api(Api),
}

/// Something that stands in the way of a task instance.
#[derive(Debug, Clone)]
pub(crate) struct Obstacle {
    pub(crate) name: String,
    pub(crate) reason: String,
    /// Who holds what it waits for.
    pub(crate) in_the_way: Vec<String>,
}

/// Which DAGs; what is not said does not matter.
#[derive(Debug, Clone, Default)]
pub(crate) struct DagChoice {
    pub(crate) tags: Vec<String>,
    pub(crate) paused: Option<bool>,
}

impl Server {
    /// All of them, by id.
    pub(crate) async fn dags(&mut self, choice: &DagChoice) -> Result<Vec<DagRow>, Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.dags(choice),
        };
        let mut filter = DagFilter { tags: choice.tags.clone(), paused: choice.paused, ..DagFilter::default() };
        let mut dags = Vec::new();
        loop {
            let page = list_dags(&mut session.db, &filter, MOST_DAGS).await?;
            filter.after = page.last().map(|dag| dag.dag_id.clone());
            let is_last = page.len() < MOST_DAGS as usize;
            dags.extend(page);
            if is_last {
                return Ok(dags);
            }
        }
    }

    /// The id of a DAG by its id or an alias.
    pub(crate) async fn dag_id(&mut self, name: &str) -> Result<String, Failure> {
        match self {
            Server::Database(session) => names::dag_id(&mut session.db, name).await,
            Server::Api(api) => api.dag(name).map(|dag| dag.dag_id),
        }
    }

    /// A DAG by its id or an alias.
    pub(crate) async fn dag(&mut self, name: &str) -> Result<DagRow, Failure> {
        match self {
            Server::Database(session) => names::dag(&mut session.db, name).await,
            Server::Api(api) => api.dag(name),
        }
    }

    /// A DAG by its id or an alias, and the structure of its newest version.
    pub(crate) async fn structure(&mut self, name: &str) -> Result<(DagRow, Arc<DagSpec>), Failure> {
        match self {
            Server::Database(session) => {
                let dag = names::dag(&mut session.db, name).await?;
                let spec = names::dag_spec(&mut session.db, &dag.dag_id).await?;
                Ok((dag, spec))
            }
            Server::Api(api) => {
                let mut dag = api.dag(name)?;
                let spec = api.structure(&mut dag)?;
                Ok((dag, Arc::new(spec)))
            }
        }
    }

    /// How many runs of a DAG are in each state.
    pub(crate) async fn run_counts(&mut self, dag_id: &str) -> Result<Vec<RunCount>, Failure> {
        match self {
            Server::Database(session) => Ok(run_counts(&mut session.db, dag_id).await?),
            Server::Api(api) => api.run_counts(dag_id),
        }
    }

    /// A run of a DAG by its id or its logical date.
    pub(crate) async fn run(&mut self, dag: &str, name: &str) -> Result<RunDetails, Failure> {
        let dag_id = self.dag_id(dag).await?;
        match self {
            Server::Database(session) => names::run(&mut session.db, &dag_id, name).await,
            Server::Api(api) => api.run(&dag_id, name),
        }
    }

    /// A run by `RUN` alone or by `DAG RUN`.
    pub(crate) async fn any_run(&mut self, words: &[String]) -> Result<RunDetails, Failure> {
        match self {
            Server::Database(session) => names::any_run(&mut session.db, words).await,
            Server::Api(api) => api.any_run(words),
        }
    }

    /// The newest first, at most so many.
    pub(crate) async fn runs(&mut self, filter: &RunFilter, most: usize) -> Result<Vec<RunDetails>, Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.runs(filter, most),
        };
        let (mut filter, mut runs) = (filter.clone(), Vec::new());
        loop {
            let wanted = (most - runs.len()).min(MOST_RUNS as usize);
            let page = list_runs(&mut session.db, &filter, wanted as i64).await?;
            filter.after = page.last().map(|run| (run.run_after, run.id));
            let is_last = page.len() < wanted;
            runs.extend(page);
            if is_last || runs.len() >= most {
                return Ok(runs);
            }
        }
    }

    /// All of a run, in the order of the DAG.
    pub(crate) async fn instances(&mut self, run: &RunDetails) -> Result<Vec<InstanceRow>, Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.instances(run),
        };
        let (mut versions, mut filter) = (Versions::default(), InstanceFilter::default());
        let mut instances = Vec::new();
        loop {
            let page = list_instances(&mut session.db, &mut versions, run.id, &filter, MOST_INSTANCES).await?;
            let page = page.unwrap_or_default();
            filter.after = page.last().map(|last| (last.task, last.map_index));
            let is_last = page.len() < MOST_INSTANCES;
            instances.extend(page);
            if is_last {
                return Ok(instances);
            }
        }
    }

    /// All that stands in the way of an instance.
    pub(crate) async fn obstacles(
        &mut self,
        run: &RunDetails,
        instance: &InstanceRow,
    ) -> Result<Vec<Obstacle>, Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.obstacles(run, instance),
        };
        let found = why(&mut session.db, &mut Versions::default(), run, instance).await?;
        let obstacle = |one: Why| Obstacle {
            name: one.reason.name().into(),
            reason: one.reason.words(),
            in_the_way: one.holders.iter().map(|h| holder(&h.dag_id, &h.run_id, &h.task_id, h.map_index)).collect(),
        };
        Ok(found.into_iter().map(obstacle).collect())
    }

    /// Why its last try failed, if it did; the outermost cause first.
    pub(crate) async fn causes(&mut self, run: &RunDetails, instance: &InstanceRow) -> Result<Vec<String>, Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.causes(run, instance),
        };
        let tries = tries(&mut session.db, run.id, instance.task, instance.map_index).await?;
        Ok(tries.into_iter().next_back().map(|last| last.causes).unwrap_or_default())
    }

    /// A task instance. Of a mapped task one element has to be named.
    pub(crate) async fn instance(
        &mut self,
        run: &RunDetails,
        task_id: &str,
        map_index: MapIndexFlag,
    ) -> Result<InstanceRow, Failure> {
        match self {
            Server::Database(session) => names::instance(&mut session.db, run, task_id, map_index).await,
            Server::Api(api) => api.instance(run, task_id, map_index),
        }
    }
}

/// Somebody in the way, in one word.
pub(crate) fn holder(dag_id: &str, run_id: &str, task_id: &str, map_index: i32) -> String {
    if map_index < 0 {
        format!("{dag_id}/{run_id}/{task_id}")
    } else {
        format!("{dag_id}/{run_id}/{task_id}[{map_index}]")
    }
}
