//! `orch assets materialize`: starts a run of the only DAG that produces an asset.

use super::assets_list::AssetFlags;
use crate::cx::Cx;
use orch_binary::failure::Outcome;
use orch_binary::output::{FormatFlag, Listing, moment};
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
        let api = cx.api().await?;
        let asset = self.asset.find(&api).await?;
        let run = api.materialize(&asset, self.partition.as_deref()).await?;
        let mut listing = Listing::new(["dag_id", "dag_run_id", "state", "run_type", "run_after"], "no run");
        let (state, kind) = (run.state.as_str(), run.run_type.as_str());
        listing.add([json!(run.dag_id), json!(run.run_id), json!(state), json!(kind), moment(Some(run.run_after))]);
        listing.print(self.output.format)
    }
}
