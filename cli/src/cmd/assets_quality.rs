//! `orch assets quality`.

use crate::api::ListFlags;
use crate::cx::Cx;
use chrono::{DateTime, Utc};
use orch_binary::failure::Outcome;
use orch_binary::output::{Listing, moment};
use serde::Deserialize;
use serde_json::json;

/// Show how good the data is: freshness and checks of all assets, the worst first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch assets quality\n  orch assets quality --trouble -o json")]
pub(crate) struct Quality {
    /// Only assets that are stale, or of which a check found what may not be
    #[arg(long)]
    trouble: bool,
    #[command(flatten)]
    list: ListFlags,
}

#[derive(Deserialize)]
struct Asset {
    uri: String,
    in_trouble: bool,
    stale_since: Option<DateTime<Utc>>,
    last_update: Option<DateTime<Utc>>,
    outcome: Option<String>,
    findings: Vec<Finding>,
}

#[derive(Deserialize)]
struct Finding {
    name: String,
}

impl Quality {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let own = self.trouble.then(|| ("in_trouble".to_owned(), true.to_string()));
        let asked = self.list.query_with(own.as_slice())?;
        let assets: Vec<Asset> = cx.api().await?.quality(&asked).await?;
        let columns = ["asset", "in_trouble", "last_update", "stale_since", "outcome", "findings"];
        let empty =
            if self.trouble { "no asset is in trouble" } else { "no asset promises freshness or has a contract" };
        let mut listing = Listing::new(columns, empty);
        for asset in assets {
            let findings: Vec<String> = asset.findings.into_iter().map(|finding| finding.name).collect();
            listing.add([
                json!(asset.uri),
                json!(asset.in_trouble),
                moment(asset.last_update),
                moment(asset.stale_since),
                json!(asset.outcome),
                json!(findings.join(", ")),
            ]);
        }
        self.list.print(listing)
    }
}
