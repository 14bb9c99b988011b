//! `orch runs list`: the runs of all DAGs.

use super::dags_list_runs::WhichRuns;
use crate::cx::Cx;
use orch_binary::failure::Outcome;
use orch_binary::output::FormatFlag;

/// List runs of all DAGs, the newest first
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch runs list --state running\n  orch runs list --dag-id example_chain --limit 5"
)]
pub(crate) struct List {
    /// Only of this DAG
    #[arg(short, long)]
    dag_id: Option<String>,
    #[command(flatten)]
    runs: WhichRuns,
    #[command(flatten)]
    output: FormatFlag,
}

impl List {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let dag_id = match &self.dag_id {
            Some(name) => Some(api.dag_id(name).await?),
            None => None,
        };
        let listing = self.runs.list(&api, dag_id, "no such runs".into()).await?;
        listing.print(self.output.format)
    }
}
