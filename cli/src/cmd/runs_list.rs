//! `orch runs list`: the runs of all DAGs.

use super::dags_list_runs::WhichRuns;
use crate::cx::Cx;
use orch_binary::failure::Outcome;

/// List runs of all DAGs, the newest first
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch runs list --state running\n  orch runs list --dag-id example_chain --limit 5\n  \
    orch runs list --where triggering_user_name_pattern=anna --order-by=-duration"
)]
pub(crate) struct ListRuns {
    /// Only of this DAG
    #[arg(short, long)]
    dag_id: Option<String>,
    #[command(flatten)]
    runs: WhichRuns,
}

impl ListRuns {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let dag_id = match &self.dag_id {
            Some(name) => Some(api.dag_id(name).await?),
            None => None,
        };
        self.runs.print(&api, dag_id, "no such runs".into()).await
    }
}
