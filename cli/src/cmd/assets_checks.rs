//! `orch assets checks`.

use crate::api::{FIRST_HUNDRED, ListFlags};
use crate::cx::Cx;
use orch_binary::failure::{Failure, Outcome};
use orch_binary::output::{Listing, moment};
use orch_spec::asset::CheckOutcome;
use serde_json::json;

/// List what contracts found of the data of an asset, newest first
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch assets checks lake://retail/orders_fact\n  orch assets checks orders_fact --outcome fail \
    --limit 5 -o json"
)]
pub(crate) struct Checks {
    /// The asset, by URI or name
    asset: String,
    /// Only checks that ended so: pass, warn, fail, quarantined
    #[arg(long)]
    outcome: Option<CheckOutcome>,
    #[command(flatten)]
    list: ListFlags<FIRST_HUNDRED>,
}

impl Checks {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let known = api.assets_called(&self.asset).await?;
        // No DAG needs to refer to the data of a contract, so the argument is used as a URI if no asset matches.
        let uri = known.first().map_or(&self.asset, |asset| &asset.uri);
        let mut own = vec![("uri".to_owned(), uri.clone())];
        own.extend(self.outcome.map(|outcome| ("outcome".to_owned(), outcome.to_string())));
        let rows = api.checks(&self.list.query_with(&own)?).await?;
        if rows.is_empty() && known.is_empty() {
            return Err(Failure::new(format!(
                "there is no asset `{uri}`, and no contract has looked at one of that URI"
            ))
            .hint("list all with `orch assets list`"));
        }
        let columns = [
            "at", "check", "kind", "policy", "outcome", "rows", "rows_bad", "sample", "dag_id", "run_id", "task_id",
            "try",
        ];
        let mut listing = Listing::new(columns, "no contract has looked at it so far");
        for row in rows {
            listing.add([
                moment(Some(row.at)),
                json!(row.name),
                json!(row.kind),
                json!(row.policy),
                json!(row.outcome),
                json!(row.rows),
                json!(row.rows_bad),
                json!(row.sample),
                json!(row.dag_id),
                json!(row.dag_run_id),
                json!(row.task_id),
                json!(row.try_number),
            ]);
        }
        self.list.print(listing)
    }
}
