//! Requests about deadlines of runs.

use super::{Api, ListQuery, encoded};
use chrono::{DateTime, Utc};
use orch_binary::failure::Failure;
use orch_store::run::RunDetails;
use serde::Deserialize;
use serde_json::Value;

pub(crate) struct DeadlineLine {
    pub(crate) dag_id: String,
    pub(crate) run_id: String,
    /// Text such as `1 h after it started`.
    pub(crate) description: String,
    pub(crate) due_at: Option<DateTime<Utc>>,
    /// `waiting`, `open`, `met` or `missed`.
    pub(crate) state: String,
    /// Time left, or by how much the deadline was met or missed.
    pub(crate) seconds: Option<f64>,
}

#[derive(Deserialize)]
struct Deadline {
    dag_id: String,
    dag_run_id: String,
    description: String,
    deadline_time: Option<DateTime<Utc>>,
    state: String,
    seconds: Option<f64>,
}

fn line(value: &Value) -> Option<DeadlineLine> {
    let found = Deadline::deserialize(value).ok()?;
    Some(DeadlineLine {
        dag_id: found.dag_id,
        run_id: found.dag_run_id,
        description: found.description,
        due_at: found.deadline_time,
        state: found.state,
        seconds: found.seconds,
    })
}

impl Api {
    /// Lists deadlines, of the newest runs first.
    pub(crate) async fn deadlines(
        &self,
        asked: &ListQuery,
        dag_id: Option<&str>,
        run: Option<&RunDetails>,
    ) -> Result<Vec<DeadlineLine>, Failure> {
        let dag_id = run.map(|run| run.dag_id.as_str()).or(dag_id).unwrap_or("~");
        let run_id = run.map_or("~", |run| run.run_id.as_str());
        let path = format!("dags/{}/runs/{}/deadlines", encoded(dag_id), encoded(run_id));
        self.pages_extra(&path, "deadlines", asked, line).await
    }
}
