//! By when runs are to be over, at the database or over the API.

use super::Server;
use chrono::{DateTime, TimeDelta, Utc};
use orch_binary::failure::Failure;
use orch_store::deadline::{DeadlineFilter, DeadlineRow, list_deadlines};
use orch_store::run::RunDetails;

pub(crate) struct DeadlineLine {
    pub(crate) dag_id: String,
    pub(crate) run_id: String,
    /// `1 h after it started`.
    pub(crate) description: String,
    pub(crate) due_at: Option<DateTime<Utc>>,
    /// `waiting`, `open`, `met` or `missed`.
    pub(crate) state: String,
    /// How long is left, or by how much it was kept or missed.
    pub(crate) seconds: Option<f64>,
}

impl From<DeadlineRow> for DeadlineLine {
    fn from(row: DeadlineRow) -> Self {
        let standing = row.standing();
        DeadlineLine {
            description: row.words(),
            due_at: row.due_at,
            state: standing.as_str().into(),
            seconds: standing.by().map(TimeDelta::as_seconds_f64),
            dag_id: row.dag_id,
            run_id: row.run_id,
        }
    }
}

impl Server {
    /// Of a run, of a DAG or of all, by which of these is named.
    pub(crate) async fn deadlines(
        &mut self,
        mut filter: DeadlineFilter,
        run: Option<&RunDetails>,
        most: i64,
    ) -> Result<Vec<DeadlineLine>, Failure> {
        match self {
            Server::Database(session) => {
                filter.run = run.map(|run| run.id);
                let rows = list_deadlines(&mut session.db, &filter, (0, most)).await?;
                Ok(rows.into_iter().map(DeadlineLine::from).collect())
            }
            Server::Api(api) => api.deadlines(&filter, run, most),
        }
    }
}
