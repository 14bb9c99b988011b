//! `orch dags list-runs`, and its list, which `orch runs list` also uses.

use crate::api::{Api, FIRST_HUNDRED, ListFlags};
use crate::cx::Cx;
use chrono::{DateTime, Utc};
use orch_binary::failure::Outcome;
use orch_binary::names;
use orch_binary::output::{Listing, moment};
use orch_spec::state::{RunState, RunType};
use orch_store::list::{Compare, Search};
use orch_store::run::{RunDetails, by};
use serde_json::{Value, json};

/// List the runs of a DAG, the newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags list-runs example_chain\n  \
    orch dags list-runs example_chain --state failed --start-date 2026-11-01 -o json\n  \
    orch dags list-runs example_chain --where duration_gte=60 --order-by=-duration")]
pub(crate) struct ListRunsOfDag {
    /// The DAG, by id or alias
    dag_id: String,
    #[command(flatten)]
    runs: WhichRuns,
}

/// Flags that choose runs.
#[derive(Debug, clap::Args)]
pub(super) struct WhichRuns {
    /// Only runs in this state: queued, running, success, failed
    #[arg(long)]
    state: Option<RunState>,
    /// Only runs for this date or later
    #[arg(short, long, value_name = "MOMENT", value_parser = names::moment)]
    start_date: Option<DateTime<Utc>>,
    /// Only runs for this date or earlier
    #[arg(short, long, value_name = "MOMENT", value_parser = names::moment)]
    end_date: Option<DateTime<Utc>>,
    /// Leave out the runs of backfills
    #[arg(long)]
    no_backfill: bool,
    #[command(flatten)]
    list: ListFlags<FIRST_HUNDRED>,
}

impl ListRunsOfDag {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let dag_id = api.dag_id(&self.dag_id).await?;
        let empty = format!("no such runs of dag `{dag_id}`: start one with `orch dags trigger {dag_id}`");
        self.runs.print(&api, Some(dag_id), empty).await
    }
}

impl WhichRuns {
    pub(super) async fn print(&self, api: &Api, dag_id: Option<String>, empty: String) -> Outcome {
        let kinds = RunType::WORDS.iter().copied().filter(|kind| *kind != RunType::Backfill.as_str());
        let search = Search::default()
            .and(self.state.map(|state| by::STATE.is(state.as_str())))
            .and(self.no_backfill.then(|| by::RUN_TYPE.any_of(kinds)))
            .and(self.start_date.map(|at| by::RUN_AFTER.compare(Compare::AtLeast, at)))
            .and(self.end_date.map(|at| by::RUN_AFTER.compare(Compare::AtMost, at)));
        let columns = ["dag_id", "run_id", "state", "run_type", "run_after", "logical_date", "start_date", "end_date"];
        let mut listing = Listing::new(columns, empty);
        // Request one more row than needed, to detect whether there are more.
        let asked = self.list.query_with(&search.parameters())?;
        let most = asked.most;
        let runs = api.runs(dag_id.as_deref(), asked.most(most.saturating_add(1))).await?;
        runs.iter().take(most).for_each(|run| listing.add(row(run)));
        if runs.len() > most {
            eprintln!("there are more runs: ask for them with `--limit`");
        }
        self.list.print(listing)
    }
}

fn row(run: &RunDetails) -> [Value; 8] {
    [
        json!(run.dag_id),
        json!(run.run_id),
        json!(run.state.as_str()),
        json!(run.run_type.as_str()),
        moment(Some(run.run_after)),
        moment(run.logical_date),
        moment(run.started_at),
        moment(run.ended_at),
    ]
}
