//! Marks task instances with a final state.

use super::{Api, ApiReply, ListQuery, encoded, refused};
use orch_binary::failure::Failure;
use orch_binary::names;
use orch_spec::state::TaskState;
use orch_store::run::RunDetails;
use serde::Deserialize;
use serde_json::{Value, json};

/// The new state, and which instances it applies to in addition to those of the given task.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command and a field of the API")]
pub(crate) struct MarkRequest {
    pub(crate) state: TaskState,
    /// Only this element of the task. `None` means all elements.
    pub(crate) map_index: Option<i32>,
    pub(crate) upstream: bool,
    pub(crate) downstream: bool,
    pub(crate) past: bool,
    pub(crate) future: bool,
}

impl MarkRequest {
    /// Marks only this instance.
    pub(crate) fn only(map_index: i32, state: TaskState) -> MarkRequest {
        let map_index = (map_index >= 0).then_some(map_index);
        MarkRequest { state, map_index, upstream: false, downstream: false, past: false, future: false }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) dag_id: String,
    pub(crate) run_id: String,
    pub(crate) task_id: String,
    pub(crate) map_index: i32,
    pub(crate) state: TaskState,
}

#[derive(Deserialize)]
struct MarkedInstance {
    dag_id: String,
    dag_run_id: String,
    task_id: String,
    map_index: i32,
    state: Option<TaskState>,
}

pub(super) fn instance(value: &Value) -> Option<Instance> {
    let shown = MarkedInstance::deserialize(value).ok()?;
    Some(Instance {
        dag_id: shown.dag_id,
        run_id: shown.dag_run_id,
        task_id: shown.task_id,
        map_index: shown.map_index,
        state: shown.state.unwrap_or(TaskState::None),
    })
}

impl Api {
    /// Returns the instances that would change.
    pub(crate) async fn would_mark(
        &self,
        run: &RunDetails,
        task_id: &str,
        request: &MarkRequest,
    ) -> Result<Vec<Instance>, Failure> {
        self.patch_instances(run, task_id, request, "/dry_run").await
    }

    /// Marks instances and returns their number.
    pub(crate) async fn mark(&self, run: &RunDetails, task_id: &str, request: &MarkRequest) -> Result<usize, Failure> {
        let meant = self.patch_instances(run, task_id, request, "").await?;
        Ok(meant.iter().filter(|instance| instance.state == request.state).count())
    }

    async fn patch_instances(
        &self,
        run: &RunDetails,
        task_id: &str,
        request: &MarkRequest,
        behind: &str,
    ) -> Result<Vec<Instance>, Failure> {
        let element = request.map_index.map(|index| format!("/{index}")).unwrap_or_default();
        let path = format!("{}/{}{element}{behind}", super::ask::of_run(run), encoded(task_id));
        let body = json!({
            "new_state": request.state.as_str(),
            "include_upstream": request.upstream,
            "include_downstream": request.downstream,
            "include_past": request.past,
            "include_future": request.future,
        });
        match self.change("PATCH", &path, Some(&body)).await? {
            ApiReply::Found(found) => {
                let listed = found["task_instances"].as_array().ok_or_else(|| self.strange())?;
                listed.iter().map(|entry| instance(entry).ok_or_else(|| self.strange())).collect()
            }
            ApiReply::Refused(404, _) => {
                let known = self.instances(run, &ListQuery::all()).await?;
                // An element that does not exist is not an error if the task exists.
                if known.iter().any(|instance| instance.task_id == task_id) {
                    return Ok(Vec::new());
                }
                Err(names::no_such_task(&run.dag_id, task_id, known.iter().map(|i| i.task_id.as_str())))
            }
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }
}
