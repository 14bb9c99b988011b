//! Requests about tables of the lake, and outputs of the runs that maintain them.

use super::kept::ApiObject;
use super::{Api, ApiReply, ListQuery, encoded, refused};
use orch_binary::failure::Failure;
use orch_store::lake_view::TableId;
use orch_store::run::RunDetails;
use serde_json::Value;

const PATH: &str = "api/orch/v1/lake/tables";

impl Api {
    pub(crate) async fn list_tables(&self, asked: &ListQuery) -> Result<Vec<ApiObject>, Failure> {
        self.pages_from(PATH, "tables", asked, |entry| entry.as_object().cloned()).await
    }

    /// Returns a table with its newest snapshots.
    pub(crate) async fn get_table(&self, id: &TableId, snapshots: usize) -> Result<ApiObject, Failure> {
        let path = format!("{PATH}/{}/{}", encoded(&id.namespace), encoded(&id.name));
        let mut table = self.of_lake(&path).await?;
        let mut newest = self.of_lake(&format!("{path}/snapshots?limit={snapshots}")).await?;
        table["newest_snapshots"] = newest["snapshots"].take();
        table.as_object().cloned().ok_or_else(|| self.strange())
    }

    /// Sends a request whose rejection already contains a complete message, for example if the table does not exist.
    async fn of_lake(&self, path: &str) -> Result<Value, Failure> {
        match self.ask("GET", path, None).await? {
            ApiReply::Found(found) => Ok(found),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Returns the output of a task in a run. `None` if there is none.
    pub(crate) async fn output(&self, run: &RunDetails, task_id: &str) -> Result<Option<Value>, Failure> {
        let (dag_id, run_id, task_id) = (encoded(&run.dag_id), encoded(&run.run_id), encoded(task_id));
        let path = format!("api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value");
        self.one(&format!("{path}?deserialize=true"), |found| Some(found["value"].clone())).await
    }
}
