//! Clears task instances. One request clears the instances of one run, all or none.

use super::marks::{Instance, instance};
use super::{Api, ApiReply, encoded, refused};
use orch_binary::failure::Failure;
use orch_store::run::RunDetails;
use serde_json::{Value, json};

/// Separates the name of the run from the reason why it stays in its version.
const STAYS: &str = " cannot continue in the newest version: ";

/// Selection of the instances of a run.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command and a field of the API")]
pub(crate) struct ClearRequest {
    /// `None` selects all tasks.
    pub(crate) task_ids: Option<Vec<String>>,
    /// If set, selects only this element of the tasks in `task_ids`.
    pub(crate) map_index: Option<i32>,
    pub(crate) upstream: bool,
    pub(crate) downstream: bool,
    pub(crate) only_failed: bool,
    pub(crate) only_running: bool,
    /// Continue the run in the newest version of its DAG if possible.
    pub(crate) latest: bool,
}

#[derive(Debug)]
pub(crate) struct WouldClear {
    /// At most the first thousand instances.
    pub(crate) instances: Vec<Instance>,
    pub(crate) count: usize,
}

impl ClearRequest {
    /// Returns the tasks in the form of the API: ids, or pairs of an id and a map index. Null means all tasks.
    fn tasks(&self) -> Value {
        match (&self.task_ids, self.map_index) {
            (Some(ids), Some(index)) => ids.iter().map(|id| json!([id, index])).collect(),
            (ids, _) => json!(ids),
        }
    }
}

impl Api {
    pub(crate) async fn would_clear(&self, run: &RunDetails, request: &ClearRequest) -> Result<WouldClear, Failure> {
        match self.post_clear(run, request, true).await? {
            ApiReply::Found(found) => would_clear(&found).ok_or_else(|| self.strange()),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Clears instances. If the run cannot continue in the newest version as requested, continues it in its own version
    /// and returns the reason.
    pub(crate) async fn clear(&self, run: &RunDetails, request: &ClearRequest) -> Result<Option<String>, Failure> {
        let mut stays = None;
        let mut answer = self.post_clear(run, request, false).await?;
        if let ApiReply::Refused(409, words) = &answer
            && let Some((_, why)) = words.split_once(STAYS)
        {
            stays = Some(why.to_owned());
            let in_its_own = ClearRequest { latest: false, ..request.clone() };
            answer = self.post_clear(run, &in_its_own, false).await?;
        }
        match answer {
            ApiReply::Found(_) => Ok(stays),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    async fn post_clear(&self, run: &RunDetails, request: &ClearRequest, dry_run: bool) -> Result<ApiReply, Failure> {
        let body = json!({
            "dry_run": dry_run,
            "dag_run_id": run.run_id,
            "task_ids": request.tasks(),
            "include_upstream": request.upstream,
            "include_downstream": request.downstream,
            "only_failed": request.only_failed,
            "only_running": request.only_running,
            "run_on_latest_version": request.latest,
        });
        self.post(&format!("dags/{}/clearTaskInstances", encoded(&run.dag_id)), &body).await
    }
}

fn would_clear(found: &Value) -> Option<WouldClear> {
    let instances = found["task_instances"].as_array()?.iter().map(instance).collect::<Option<Vec<_>>>()?;
    Some(WouldClear { instances, count: found["total_entries"].as_u64()?.try_into().ok()? })
}
