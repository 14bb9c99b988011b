//! Requests about versions of DAGs and broken DAG files.

use super::{Api, ApiReply, ListQuery, Query, encoded, read, refused};
use chrono::{DateTime, Utc};
use orch_binary::failure::Failure;
use orch_spec::DagSpec;
use orch_spec::check::FileProblem;
use serde::Deserialize;
use serde_json::Value;

pub(crate) struct VersionLine {
    pub(crate) number: i32,
    pub(crate) hash: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) bundle: String,
    pub(crate) runs: i64,
    pub(crate) workers: Vec<String>,
    pub(crate) is_newest: bool,
}

#[derive(Deserialize)]
struct Version {
    number: i32,
    hash: String,
    bundle_name: String,
    created_at: DateTime<Utc>,
    runs: i64,
    workers: Vec<String>,
    is_newest: bool,
}

#[derive(Deserialize)]
struct Broken {
    bundle_name: String,
    problems: Vec<FileProblem>,
}

fn line(version: Version) -> VersionLine {
    VersionLine {
        number: version.number,
        hash: version.hash,
        created_at: version.created_at,
        bundle: version.bundle_name,
        runs: version.runs,
        workers: version.workers,
        is_newest: version.is_newest,
    }
}

impl Api {
    /// Lists versions, newest first.
    pub(crate) async fn versions(&self, dag_id: &str) -> Result<Vec<VersionLine>, Failure> {
        let found = self.found(self.get_extra(&format!("dags/{}/versions", encoded(dag_id))).await?)?;
        let versions = Vec::<Version>::deserialize(&found["versions"]).map_err(|_| self.strange())?;
        Ok(versions.into_iter().map(line).collect())
    }

    pub(crate) async fn version(&self, dag_id: &str, number: i32) -> Result<DagSpec, Failure> {
        let query = Query::default().with("version_number", number);
        match self.get_extra(&format!("dags/{}/structure{}", encoded(dag_id), query.0)).await? {
            ApiReply::Found(found) => {
                let (spec, ..) = read::structure(&found).ok_or_else(|| self.strange())?;
                Ok(spec)
            }
            ApiReply::Refused(404, _) => Err(Failure::new(format!("dag `{dag_id}` has no version {number}"))
                .hint(format!("list them with `orch dags versions {dag_id}`"))),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Lists problems of DAG files, ordered by file, each with the bundle of its file.
    pub(crate) async fn import_errors(&self, asked: &ListQuery) -> Result<Vec<(String, FileProblem)>, Failure> {
        let broken = |value: &Value| Broken::deserialize(value).ok();
        let found = self.pages_extra("importErrors", "import_errors", asked, broken).await?;
        let problems = |file: Broken| file.problems.into_iter().map(move |problem| (file.bundle_name.clone(), problem));
        Ok(found.into_iter().flat_map(problems).collect())
    }
}
