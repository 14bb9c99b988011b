//! `orch runs deadlines`: deadlines of runs, and whether they were met.

use crate::api::{FIRST_HUNDRED, ListFlags};
use crate::cx::Cx;
use orch_binary::failure::Outcome;
use orch_binary::output::{Listing, moment};
use orch_store::deadline::by;
use orch_store::list::Search;
use serde_json::json;

/// List by when runs are to be over, and by how much they keep or miss it; the newest runs first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch runs deadlines --missed\n  orch runs deadlines sales\n  \
    orch runs deadlines sales nightly -o json")]
pub(crate) struct Deadlines {
    /// The run: its DAG and its id; of all runs of a DAG with the DAG alone, of all without
    #[arg(value_names = ["DAG_ID", "RUN_ID"], num_args = 0..=2)]
    run: Vec<String>,
    /// Only those that were missed
    #[arg(long)]
    missed: bool,
    #[command(flatten)]
    list: ListFlags<FIRST_HUNDRED>,
}

impl Deadlines {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let search = Search::default().and(self.missed.then(|| by::MISSED.is_so(true)));
        let (mut run, mut dag_id) = (None, None);
        match self.run.as_slice() {
            [dag, name] => run = Some(api.run(dag, name).await?),
            [dag] => dag_id = Some(api.dag_id(dag).await?),
            _ => {}
        }
        let columns = ["dag_id", "run_id", "deadline", "due_at", "state", "seconds"];
        let mut listing = Listing::new(columns, "no such deadlines: a DAG names them with `.deadline(after_start(…))`");
        for line in api.deadlines(&self.list.query_with(&search.parameters())?, dag_id.as_deref(), run.as_ref()).await?
        {
            listing.add([
                json!(line.dag_id),
                json!(line.run_id),
                json!(line.description),
                moment(line.due_at),
                json!(line.state),
                json!(line.seconds),
            ]);
        }
        self.list.print(listing)
    }
}
