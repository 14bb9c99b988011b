//! `orch dags delete`.

use crate::app::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::names;
use orch_binary::person::YesFlag;
use orch_store::audit::Deed;
use orch_store::dag::{DeleteDag, delete_dag};

/// Delete a DAG with all its runs and logs; one that is still in a binary comes back, without history
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags delete old_dag --yes")]
pub(crate) struct Delete {
    /// The DAG, by id or alias
    dag_id: String,
    #[command(flatten)]
    yes: YesFlag,
}

impl Delete {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut session = cx.session().await?;
        let dag_id = names::dag_id(&mut session.db, &self.dag_id).await?;
        self.yes.agree(&format!("This deletes dag `{dag_id}` with all its runs and logs."))?;
        match delete_dag(&mut session.db, &dag_id).await? {
            DeleteDag::Deleted { runs } => {
                session.did(&Deed { event: "delete_dag", dag_id: Some(&dag_id), ..Deed::default() }, &[]).await?;
                eprintln!("dag `{dag_id}` and {runs} runs are deleted");
                Ok(Exit::Done)
            }
            DeleteDag::NoSuchDag => Err(Failure::new(format!("dag `{dag_id}` is gone already"))),
            DeleteDag::Running => Err(Failure::new(format!("dag `{dag_id}` has running runs"))
                .hint(format!("list them with `orch dags list-runs {dag_id} --state running`, then cancel them"))),
        }
    }
}
