//! `orch dags delete`.

use crate::cx::Cx;
use orch_binary::failure::{Exit, Outcome};
use orch_binary::output::counted;
use orch_binary::person::YesFlag;

/// Delete a DAG with all its runs and logs; one that is still in a binary comes back, without history
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags delete old_dag --yes")]
pub(crate) struct DeleteDag {
    /// The DAG, by id or alias
    dag_id: String,
    #[command(flatten)]
    yes: YesFlag,
}

impl DeleteDag {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let dag_id = api.dag_id(&self.dag_id).await?;
        self.yes.agree(&format!("This deletes dag `{dag_id}` with all its runs and logs."))?;
        let runs = api.run_counts(&dag_id).await?.iter().map(|counted| counted.count).sum::<i64>();
        api.delete_dag(&dag_id).await?;
        eprintln!("deleted dag `{dag_id}` with {}", counted(runs, "run"));
        Ok(Exit::Done)
    }
}
