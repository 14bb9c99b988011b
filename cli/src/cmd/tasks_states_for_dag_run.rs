//! `orch tasks states-for-dag-run`.

use crate::api::ListFlags;
use crate::cx::Cx;
use orch_binary::failure::Outcome;
use orch_binary::output::{Listing, moment};
use serde_json::json;

/// List all task instances of a run with their states
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orch tasks states-for-dag-run example_chain manual__2026-11-20T06:00:00+00:00_Ab3dE6gH -o json")]
pub(crate) struct StatesForDagRun {
    /// The DAG, by id or alias
    dag_id: String,
    /// The run, by id or logical date
    #[arg(value_name = "RUN_ID|LOGICAL_DATE")]
    run: String,
    #[command(flatten)]
    list: ListFlags,
}

impl StatesForDagRun {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let run = api.run(&self.dag_id, &self.run).await?;
        let columns =
            ["dag_id", "logical_date", "task_id", "map_index", "state", "try_number", "start_date", "end_date"];
        let mut listing = Listing::new(columns, "no task instances");
        let mut is_mapped = false;
        for instance in &api.instances(&run, &self.list.query()).await? {
            is_mapped |= instance.map_index >= 0;
            listing.add([
                json!(run.dag_id),
                moment(run.logical_date),
                json!(instance.task_id),
                json!(instance.map_index),
                json!(instance.state.as_str()),
                json!(instance.try_no),
                moment(instance.started_at),
                moment(instance.ended_at),
            ]);
        }
        if !is_mapped {
            let without = columns.iter().filter(|column| **column != "map_index").map(|column| (*column).to_owned());
            listing.select(&without.collect::<Vec<_>>())?;
        }
        self.list.print(listing)
    }
}
