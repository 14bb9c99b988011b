//! Versions of DAGs and broken DAG files, over the API.

use super::{Answer, Api, Query, encoded, read};
use crate::server::VersionLine;
use chrono::{DateTime, Utc};
use orch_binary::failure::Failure;
use orch_core::file::FileProblem;
use orch_core::spec::DagSpec;
use serde::Deserialize;
use serde_json::Value;

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
    /// The newest first.
    pub(crate) fn versions(&self, dag_id: &str) -> Result<Vec<VersionLine>, Failure> {
        let found = self.found(self.get_extra(&format!("dags/{}/versions", encoded(dag_id)))?)?;
        let versions = Vec::<Version>::deserialize(&found["versions"]).map_err(|_| self.strange())?;
        Ok(versions.into_iter().map(line).collect())
    }

    /// The structure of one of them.
    pub(crate) fn version(&self, dag_id: &str, number: i32) -> Result<Option<DagSpec>, Failure> {
        let query = Query::default().with("version_number", number);
        match self.get_extra(&format!("dags/{}/structure{}", encoded(dag_id), query.0))? {
            Answer::Found(found) => {
                let (spec, ..) = read::structure(&found).ok_or_else(|| self.strange())?;
                Ok(Some(spec))
            }
            Answer::Refused(404, _) => Ok(None),
            Answer::Refused(_, words) => Err(Failure::new(words)),
        }
    }

    /// Each with its bundle, by file.
    pub(crate) fn import_errors(&self) -> Result<Vec<(String, FileProblem)>, Failure> {
        let broken = |value: &Value| Broken::deserialize(value).ok();
        let found = self.pages_extra("importErrors", "import_errors", Query::default, usize::MAX, broken)?;
        let problems = |file: Broken| file.problems.into_iter().map(move |problem| (file.bundle_name.clone(), problem));
        Ok(found.into_iter().flat_map(problems).collect())
    }
}
