//! `orch assets materialize`: runs the one DAG that produces an asset.

use super::assets_list::AssetFlags;
use crate::app::Cx;
use crate::failure::{Failure, Outcome};
use crate::output::{FormatFlag, Listing, moment};
use crate::person;
use orch_core::state::{RunType, TriggeredBy};
use orch_store::asset::producers_of;
use orch_store::audit::Deed;
use orch_store::run::{CreateRun, NewRun, create_run};
use orch_store::version::Versions;
use serde_json::json;

/// Start a run of the DAG that produces an asset
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch assets materialize --uri lake://gold/sales\n  orch assets materialize --name sales --partition 2026-11-20"
)]
pub(crate) struct Materialize {
    #[command(flatten)]
    asset: AssetFlags,
    /// The partition that the run is for
    #[arg(long, value_name = "KEY")]
    partition: Option<String>,
    #[command(flatten)]
    output: FormatFlag,
}

impl Materialize {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut session = cx.session().await?;
        let asset = self.asset.find(&mut session.db).await?;
        let mut producers = producers_of(&mut session.db, asset.id).await?;
        let dag_id = match producers.len() {
            1 => producers.remove(0),
            0 => {
                return Err(Failure::new(format!("no dag produces `{}`", asset.name))
                    .hint("name it as an outlet of a task: `.outlet(asset(\"…\"))`"));
            }
            many => {
                let hint = format!("start one of them with `orch dags trigger`: {}", producers.join(", "));
                return Err(Failure::new(format!("{many} dags produce `{}`", asset.name)).hint(hint));
            }
        };
        let new = NewRun {
            run_type: RunType::AssetMaterialization,
            user: Some(person::name()),
            partition_key: self.partition.clone(),
            ..NewRun::manual(&dag_id, TriggeredBy::Cli)
        };
        let created = create_run(&mut session.db, &mut Versions::default(), &new).await?;
        let CreateRun::Created(run) = created else {
            return Err(Failure::new(format!("dag `{dag_id}` was deleted just now")));
        };
        let event = "materialize_asset";
        let deed = Deed { event, dag_id: Some(&dag_id), run_id: Some(&run.run_id), ..Deed::default() };
        session.did(&deed, &run.hints()).await?;
        let mut listing = Listing::new(["dag_id", "dag_run_id", "state", "run_type", "run_after"], "no run");
        let (state, kind) = (run.state.as_str(), new.run_type.as_str());
        listing.add([json!(dag_id), json!(run.run_id), json!(state), json!(kind), moment(Some(run.run_after))]);
        listing.print(self.output.format)
    }
}
