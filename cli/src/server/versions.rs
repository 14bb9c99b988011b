//! Versions of DAGs and broken DAG files, at the database or over the API.

use super::Server;
use chrono::{DateTime, Utc};
use orch_binary::failure::Failure;
use orch_core::file::FileProblem;
use orch_core::spec::DagSpec;
use orch_store::dag::DagRow;
use orch_store::import_error::{ImportErrorFilter, ImportErrorRow, list_import_errors};
use orch_store::version::{VersionFilter, VersionRow, list_versions, runs_by_version, spec_of, workers_by_version};

/// More than any DAG has; the answer of one question.
const MOST_VERSIONS: i64 = 1_000;

/// A version with what there is of it.
pub(crate) struct VersionLine {
    pub(crate) number: i32,
    pub(crate) hash: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) bundle: String,
    pub(crate) runs: i64,
    pub(crate) workers: Vec<String>,
    pub(crate) is_newest: bool,
}

impl Server {
    /// The newest first.
    pub(crate) async fn versions(&mut self, dag: &DagRow) -> Result<Vec<VersionLine>, Failure> {
        let db = match self {
            Server::Database(session) => &mut session.db,
            Server::Api(api) => return api.versions(&dag.dag_id),
        };
        let filter = VersionFilter { dag_id: Some(dag.dag_id.clone()), newest_first: true, ..VersionFilter::default() };
        let found = list_versions(db, &filter, (0, MOST_VERSIONS)).await?;
        let runs = runs_by_version(db, &dag.dag_id).await?;
        let ids: Vec<i32> = found.iter().map(|version| version.id).collect();
        let mut workers = workers_by_version(db, &ids).await?;
        let line = |version: VersionRow| VersionLine {
            runs: runs.get(&version.id).copied().unwrap_or(0),
            workers: workers.remove(&version.id).unwrap_or_default(),
            is_newest: version.number == dag.version_number,
            number: version.number,
            hash: version.hash,
            created_at: version.created_at,
            bundle: version.bundle,
        };
        Ok(found.into_iter().map(line).collect())
    }

    /// The structure of one of a DAG's versions.
    pub(crate) async fn version(&mut self, dag_id: &str, number: i32) -> Result<DagSpec, Failure> {
        let found = match self {
            Server::Database(session) => spec_of(&mut session.db, dag_id, number).await?,
            Server::Api(api) => api.version(dag_id, number)?,
        };
        found.ok_or_else(|| {
            Failure::new(format!("dag `{dag_id}` has no version {number}"))
                .hint(format!("list them with `orch dags versions {dag_id}`"))
        })
    }

    /// What is wrong with DAG files, each with its bundle, by file.
    pub(crate) async fn import_errors(&mut self) -> Result<Vec<(String, FileProblem)>, Failure> {
        let found = match self {
            Server::Database(session) => list_import_errors(&mut session.db, &ImportErrorFilter::default()).await?,
            Server::Api(api) => return api.import_errors(),
        };
        let problems =
            |error: ImportErrorRow| error.problems.into_iter().map(move |problem| (error.bundle.clone(), problem));
        Ok(found.into_iter().flat_map(problems).collect())
    }
}
