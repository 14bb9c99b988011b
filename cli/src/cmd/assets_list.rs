//! `orch assets list` and `orch assets details`.

use crate::api::{Api, ListFlags, ListQuery};
use crate::cx::Cx;
use orch_binary::failure::{Failure, Outcome};
use orch_binary::output::{FormatFlag, Listing, Record, moment};
use orch_store::asset::AssetRow;
use serde_json::{Value, json};

/// List assets, or aliases of assets
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch assets list\n  orch assets list --stale\n  orch assets list --alias -o json\n  \
    orch assets list --columns name,last_event"
)]
pub(crate) struct ListAssets {
    /// List aliases instead
    #[arg(long)]
    alias: bool,
    /// Only assets that are older than promised
    #[arg(long, conflicts_with = "alias")]
    stale: bool,
    /// Only these columns, in this order
    #[arg(long, value_delimiter = ',')]
    columns: Vec<String>,
    #[command(flatten)]
    list: ListFlags,
}

/// Show an asset: who produces it, who waits for it, when it was updated last
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch assets details --uri lake://gold/sales\n  orch assets details --name sales -o json"
)]
pub(crate) struct ShowAssetDetails {
    #[command(flatten)]
    asset: AssetFlags,
    /// Show an alias instead
    #[arg(long, requires = "name")]
    alias: bool,
    #[command(flatten)]
    output: FormatFlag,
}

/// Which asset is meant.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(super) struct AssetFlags {
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    /// What it is known by
    #[arg(long)]
    uri: Option<String>,
}

impl AssetFlags {
    pub(super) async fn find(&self, api: &Api) -> Result<AssetRow, Failure> {
        let said = self.uri.as_deref().or(self.name.as_deref()).unwrap_or_default();
        let mut found = api.assets_called(said).await?;
        found.retain(|asset| self.uri.as_ref().is_none_or(|uri| *uri == asset.uri));
        found.retain(|asset| self.name.as_ref().is_none_or(|name| *name == asset.name || *name == asset.uri));
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(Failure::new(format!("there is no asset `{said}`")).hint("list all with `orch assets list`")),
            many => {
                let uris: Vec<&str> = found.iter().map(|asset| asset.uri.as_str()).collect();
                let hint = format!("say which with `--uri`: {}", uris.join(", "));
                Err(Failure::new(format!("{many} assets are called `{said}`")).hint(hint))
            }
        }
    }
}

impl ListAssets {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let asked = self.list.query();
        let mut listing = if self.alias {
            let empty = "no aliases: a task names one with `.outlet(alias(\"…\"))`";
            let mut listing = Listing::new(["name", "group"], empty);
            for row in api.aliases(asked).await? {
                listing.add([json!(row.name), json!(row.group_name)]);
            }
            listing
        } else {
            let empty = "no assets: a task names one with `.outlet(asset(\"…\"))`";
            let columns = ["name", "uri", "group", "extra", "last_event", "fresh"];
            let mut listing = Listing::new(columns, empty);
            for row in api.assets(asked, self.stale).await? {
                let fresh = freshness(&row);
                listing.add([
                    json!(row.name),
                    json!(row.uri),
                    json!(row.group_name),
                    row.extra,
                    moment(row.last_event_at),
                    json!(fresh),
                ]);
            }
            listing
        };
        if !self.columns.is_empty() {
            listing.select(&self.columns)?;
        }
        self.list.print(listing)
    }
}

impl ShowAssetDetails {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        if self.alias {
            let name = self.asset.name.clone().unwrap_or_default();
            let alias =
                api.aliases(ListQuery::all()).await?.into_iter().find(|alias| alias.name == name).ok_or_else(|| {
                    Failure::new(format!("there is no alias `{name}`")).hint("list all with `orch assets list --alias`")
                })?;
            let words = vec![("name", json!(alias.name)), ("group", json!(alias.group_name))];
            return Record::new(words).print(self.output.format);
        }
        let asset = self.asset.find(&api).await?;
        let details = api.asset_details(&asset).await?;
        let words: Vec<(&'static str, Value)> = vec![
            ("id", json!(asset.id)),
            ("name", json!(asset.name)),
            ("uri", json!(asset.uri)),
            ("group", json!(asset.group_name)),
            ("extra", asset.extra.clone()),
            ("aliases", json!(details.aliases)),
            ("scheduled_dags", json!(details.scheduled)),
            ("producing_tasks", json!(details.producing)),
            ("consuming_tasks", json!(details.consuming)),
            ("last_event", moment(asset.last_event_at)),
            ("fresh", json!(freshness(&asset))),
            ("lineage", json!(details.lineage)),
            ("created_at", moment(Some(asset.created_at))),
        ];
        Record::new(words).print(self.output.format)
    }
}

/// Returns the freshness of an asset. `None` if no freshness was promised.
fn freshness(asset: &AssetRow) -> Option<&'static str> {
    asset.fresh_within_ms.map(|_| if asset.stale_since.is_some() { "stale" } else { "fresh" })
}
