//! `orch assets events` and `orch assets emit`.

use super::assets_list::AssetFlags;
use crate::api::{FIRST_HUNDRED, ListFlags};
use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::{Listing, moment};
use orch_spec::asset::AssetEvent;
use serde_json::{Value, json};

/// List updates of assets, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch assets events\n  orch assets events lake://gold/sales --limit 5 -o json")]
pub(crate) struct Events {
    /// Of this asset only, by URI or name
    asset: Option<String>,
    #[command(flatten)]
    list: ListFlags<FIRST_HUNDRED>,
}

/// Say that an asset was updated: DAGs that wait for it run
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch assets emit --uri lake://gold/sales\n  \
    orch assets emit --name sales --partition 2026-11-20 --extra '{\"rows\": 7}'")]
pub(crate) struct Emit {
    #[command(flatten)]
    asset: AssetFlags,
    /// The partition that was updated
    #[arg(long, value_name = "KEY")]
    partition: Option<String>,
    /// What there is to say of it, as a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    extra: String,
}

impl Events {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let asset = match &self.asset {
            None => None,
            Some(said) => {
                let missing =
                    || Failure::new(format!("there is no asset `{said}`")).hint("list all with `orch assets list`");
                Some(api.assets_called(said).await?.into_iter().next().ok_or_else(missing)?)
            }
        };
        let own: Vec<_> = asset.iter().map(|asset| ("asset_id".to_owned(), asset.id.to_string())).collect();
        let columns = [
            "timestamp",
            "asset",
            "partition_key",
            "rows",
            "extra",
            "source_dag_id",
            "source_run_id",
            "source_task_id",
            "runs",
        ];
        let mut listing = Listing::new(columns, "no updates so far");
        for update in api.updates(self.list.query_with(&own)?).await? {
            listing.add([
                moment(Some(update.at)),
                json!(update.asset),
                json!(update.partition_key),
                json!(update.rows),
                update.extra,
                json!(update.source_dag_id),
                json!(update.source_run_id),
                json!(update.source_task_id),
                json!(update.runs),
            ]);
        }
        self.list.print(listing)
    }
}

impl Emit {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let extra: Value = serde_json::from_str(&self.extra)
            .map_err(|error| Failure::new(format!("`--extra` is not JSON: {error}")))?;
        let api = cx.api().await?;
        let asset = self.asset.find(&api).await?;
        let event = AssetEvent { partition_key: self.partition, ..AssetEvent::of(&asset.uri).extra(extra) };
        if let Some(problem) = event.problem() {
            return Err(Failure::new(problem));
        }
        let id = api.say_updated(&asset, &event).await?;
        eprintln!("update {id} of `{}` is said", asset.name);
        Ok(Exit::Done)
    }
}
