//! `orch dags list`.

use crate::api::ListFlags;
use crate::cx::Cx;
use orch_binary::failure::{Failure, Outcome};
use orch_binary::output::{Format, Listing, moment};
use orch_store::dag::{DagRow, by};
use orch_store::list::Search;
use serde_json::{Value, json};

const COLUMNS: [&str; 14] = [
    "dag_id",
    "is_paused",
    "schedule",
    "next_run_after",
    "owners",
    "fileloc",
    "bundle_name",
    "bundle_version",
    "description",
    "tags",
    "aliases",
    "is_stale",
    "max_active_runs",
    "registered_at",
];
/// Default columns, which fit in a terminal.
const SHOWN: [&str; 7] = ["dag_id", "is_paused", "schedule", "next_run_after", "owners", "fileloc", "bundle_name"];

/// List the DAGs that the server knows, or those of this binary
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags list\n  orch dags list --tags example -o json\n  \
    orch dags list --local --columns dag_id,schedule")]
pub(crate) struct ListDags {
    /// The DAGs of this binary, without a server
    #[arg(short, long, conflicts_with_all = ["paused", "conditions", "order_by", "limit"])]
    local: bool,
    /// Only these columns, with commas
    #[arg(long, value_delimiter = ',')]
    columns: Vec<String>,
    /// Only DAGs with one of these tags, with commas
    #[arg(long, value_delimiter = ',')]
    tags: Vec<String>,
    /// Only paused ones, or only those that are not
    #[arg(long, value_name = "true|false")]
    paused: Option<bool>,
    #[command(flatten)]
    list: ListFlags,
}

impl ListDags {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut listing = if self.local { self.of_binary(cx)? } else { self.of_server(cx).await? };
        match self.list.format() {
            _ if !self.columns.is_empty() => listing.select(&self.columns)?,
            Format::Table | Format::Plain => listing.select(&SHOWN.map(String::from))?,
            Format::Json | Format::Yaml => {}
        }
        self.list.print(listing)
    }

    async fn of_server(&self, cx: &Cx) -> Result<Listing, Failure> {
        let mut listing =
            Listing::new(COLUMNS, "no dags: a worker registers those of its binary when it starts (`orch standalone`)");
        let search = Search::default()
            .and((!self.tags.is_empty()).then(|| by::TAGS.any_of(self.tags.iter().cloned())))
            .and(self.paused.map(|paused| by::PAUSED.is_so(paused)));
        for dag in &cx.api().await?.dags(self.list.query_with(&search.parameters())?.or(by::LIVE.name, true)).await? {
            listing.add(row(dag));
        }
        Ok(listing)
    }

    fn of_binary(&self, cx: &Cx) -> Result<Listing, Failure> {
        let bundle = cx.local_bundle()?;
        let mut listing = Listing::new(COLUMNS, "this binary has no dags");
        let has_tag = |tags: &[String]| self.tags.is_empty() || self.tags.iter().any(|tag| tags.contains(tag));
        for dag in bundle.dags().map(|dag| &dag.spec).filter(|dag| has_tag(&dag.tags)) {
            listing.add([
                json!(dag.dag_id),
                Value::Null,
                json!(dag.schedule.describe()),
                Value::Null,
                json!(dag.owners),
                json!(dag.location.file),
                json!(bundle.name),
                json!(dag.version()),
                json!(dag.description),
                json!(dag.tags),
                json!(dag.aliases),
                Value::Null,
                json!(dag.max_active_runs),
                Value::Null,
            ]);
        }
        Ok(listing)
    }
}

fn row(dag: &DagRow) -> [Value; COLUMNS.len()] {
    // The list of the API contains neither version numbers nor aliases.
    let is_told = dag.version_number > 0;
    [
        json!(dag.dag_id),
        json!(dag.is_paused),
        json!(dag.schedule_text),
        moment(dag.next_run_after),
        json!(dag.owners),
        json!(dag.file),
        json!(dag.bundle),
        json!(is_told.then_some(dag.version_number)),
        json!(dag.description),
        json!(dag.tags),
        json!(is_told.then_some(&dag.aliases)),
        json!(dag.is_stale),
        json!(dag.max_active_runs),
        moment(Some(dag.registered_at)),
    ]
}
