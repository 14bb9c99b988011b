//! `orch dags pause` and `orch dags unpause`: one DAG, or all that an expression matches.

use crate::app::Cx;
use orch_binary::failure::{Failure, Outcome};
use orch_binary::names;
use orch_binary::output::{FormatFlag, Listing};
use orch_binary::person::YesFlag;
use orch_binary::session::Session;
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::version::Versions;
use orch_store::{dag, run};
use serde_json::json;

/// Pause a DAG: no runs begin until it is unpaused; those that run go on
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch dags pause my_dag\n  orch dags pause 'example_.*' --treat-dag-id-as-regex -y"
)]
pub(crate) struct Pause {
    #[command(flatten)]
    which: WhichDags,
}

/// Unpause a DAG: runs that wait begin
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags unpause my_dag")]
pub(crate) struct Unpause {
    #[command(flatten)]
    which: WhichDags,
}

#[derive(Debug, clap::Args)]
struct WhichDags {
    /// The DAG, by id or alias
    dag_id: String,
    /// All DAGs whose whole id matches the regular expression
    #[arg(long)]
    treat_dag_id_as_regex: bool,
    #[command(flatten)]
    yes: YesFlag,
    #[command(flatten)]
    output: FormatFlag,
}

impl Pause {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut session = cx.session().await?;
        let ids = self.which.ids(&mut session, "pauses").await?;
        for dag_id in dag::pause(&mut session.db, &ids).await? {
            session.did(&Deed { event: "pause_dag", dag_id: Some(&dag_id), ..Deed::default() }, &[]).await?;
        }
        self.which.print(&ids, true)
    }
}

impl Unpause {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut session = cx.session().await?;
        let ids = self.which.ids(&mut session, "unpauses").await?;
        let mut versions = Versions::default();
        for dag_id in dag::unpause(&mut session.db, &ids).await? {
            run::start_queued_runs(&mut session.db, &mut versions, &dag_id).await?;
            let deed = Deed { event: "unpause_dag", dag_id: Some(&dag_id), ..Deed::default() };
            session.did(&deed, &[Hint::Ready, Hint::Due, Hint::Run]).await?;
        }
        self.which.print(&ids, false)
    }
}

impl WhichDags {
    async fn ids(&self, session: &mut Session, verb: &str) -> Result<Vec<String>, Failure> {
        if !self.treat_dag_id_as_regex {
            return Ok(vec![names::dag_id(&mut session.db, &self.dag_id).await?]);
        }
        let ids = dag::matching(&mut session.db, &self.dag_id).await.map_err(|error| {
            Failure::from(error).hint("write a regular expression for the whole id, for example `example_.*`")
        })?;
        if ids.is_empty() {
            return Err(
                Failure::new(format!("no dag matches `{}`", self.dag_id)).hint("list all with `orch dags list`")
            );
        }
        self.yes.agree(&format!("This {verb} {} dags: {}.", ids.len(), ids.join(", ")))?;
        Ok(ids)
    }

    fn print(&self, ids: &[String], is_paused: bool) -> Outcome {
        let mut listing = Listing::new(["dag_id", "is_paused"], "no dags");
        ids.iter().for_each(|id| listing.add([json!(id), json!(is_paused)]));
        listing.print(self.output.format)
    }
}
