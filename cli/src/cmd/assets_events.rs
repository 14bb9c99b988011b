//! `orch assets events` and `orch assets emit`.

use super::assets_list::AssetFlags;
use crate::app::Cx;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{FormatFlag, Listing, moment};
use orch_core::asset::AssetEvent;
use orch_store::asset::{EventFilter, EventOrder, NewEvent, add_event, find_asset, list_events, runs_of_events};
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use serde_json::{Value, json};

/// List updates of assets, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch assets events\n  orch assets events lake://gold/sales --limit 5 -o json")]
pub(crate) struct Events {
    /// Of this asset only, by URI or name
    asset: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=1_000))]
    limit: i64,
    #[command(flatten)]
    output: FormatFlag,
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
        let mut session = cx.session().await?;
        let mut filter = EventFilter::default();
        if let Some(said) = &self.asset {
            let found = find_asset(&mut session.db, said).await?;
            let missing =
                || Failure::new(format!("there is no asset `{said}`")).hint("list all with `orch assets list`");
            filter.asset = Some(found.first().ok_or_else(missing)?.id);
        }
        let events = list_events(&mut session.db, &filter, &[(EventOrder::At, true)], (0, self.limit)).await?;
        let ids: Vec<i64> = events.iter().map(|event| event.id).collect();
        let runs = runs_of_events(&mut session.db, &ids).await?;
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
        for event in events {
            let runs: Vec<String> =
                runs.iter().filter(|r| r.event == event.id).map(|r| format!("{}.{}", r.dag_id, r.run_id)).collect();
            listing.add([
                moment(Some(event.at)),
                json!(event.name.unwrap_or(event.uri)),
                json!(event.partition_key),
                json!(event.rows),
                event.extra.unwrap_or_else(|| json!({})),
                json!(event.source_dag_id),
                json!(event.source_run_id),
                json!(event.source_task_id),
                json!(runs),
            ]);
        }
        listing.print(self.output.format)
    }
}

impl Emit {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let extra: Value = serde_json::from_str(&self.extra)
            .map_err(|error| Failure::new(format!("`--extra` is not JSON: {error}")))?;
        let mut session = cx.session().await?;
        let asset = self.asset.find(&mut session.db).await?;
        let event = AssetEvent { partition_key: self.partition, ..AssetEvent::of(&asset.uri).extra(extra) };
        if let Some(problem) = event.problem() {
            return Err(Failure::new(problem));
        }
        let new = NewEvent { asset: asset.id, partition_key: event.partition_key, extra: event.extra };
        let said = add_event(&mut session.db, &new).await?;
        let id = said.ok_or_else(|| Failure::new(format!("asset `{}` was deleted just now", asset.name)))?;
        let extra = json!({ "asset": asset.uri, "partition_key": new.partition_key });
        let deed = Deed { event: "create_asset_event", extra: Some(extra), ..Deed::default() };
        session.did(&deed, &[Hint::Asset]).await?;
        eprintln!("update {id} of `{}` is said", asset.name);
        Ok(Exit::Done)
    }
}
