//! `orch backfill list` and `orch backfill show`.

use crate::api::{FIRST_HUNDRED, ListFlags};
use crate::cx::Cx;
use orch_binary::failure::Outcome;
use orch_binary::output::{FormatFlag, Listing, moment};
use orch_store::backfill::{BackfillRow, by};
use orch_store::list::Search;
use serde_json::json;

/// List backfills, the newest first, with how far they are
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch backfill list\n  orch backfill list --dag-id my_dag --active -o json")]
pub(crate) struct ListBackfills {
    /// Only those of this DAG, by id or alias
    #[arg(long)]
    dag_id: Option<String>,
    /// Only those that are not over
    #[arg(long)]
    active: bool,
    #[command(flatten)]
    list: ListFlags<FIRST_HUNDRED>,
}

/// Show what became of each date of a backfill
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch backfill show 7\n  orch backfill show 7 -o json")]
pub(crate) struct ShowBackfill {
    /// The number of the backfill
    id: i32,
    #[command(flatten)]
    output: FormatFlag,
}

impl ListBackfills {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let dag_id = match &self.dag_id {
            Some(name) => Some(api.dag_id(name).await?),
            None => None,
        };
        let search =
            Search::default().and(dag_id.map(|id| by::DAG_ID.is(id))).and(self.active.then(|| by::ACTIVE.holds()));
        self.list.print(listing(&api.backfills(&self.list.query_with(&search.parameters())?).await?))
    }
}

impl ShowBackfill {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let row = api.backfill(self.id).await?;
        let dates = api.backfill_dates(row.id).await?;
        let mut listing =
            Listing::new(["logical_date", "state", "run_id", "start_date", "end_date", "why"], "no dates");
        for date in dates {
            listing.add([
                moment(Some(date.logical_date)),
                json!(date.state),
                json!(date.run_id),
                moment(date.started_at),
                moment(date.ended_at),
                json!(date.why),
            ]);
        }
        eprintln!("backfill {} of dag `{}`: {}", row.id, row.dag_id, describe_progress(&row));
        listing.print(self.output.format)
    }
}

pub(super) fn state(row: &BackfillRow) -> &'static str {
    match () {
        () if row.is_cancelled => "cancelled",
        () if row.completed_at.is_some() && row.failed > 0 => "failed",
        () if row.completed_at.is_some() => "success",
        () if row.is_paused || row.dag_is_paused => "paused",
        () => "running",
    }
}

/// Returns the progress, such as `running, 3 of 10 dates are over, 1 failed`.
pub(super) fn describe_progress(row: &BackfillRow) -> String {
    let failed = if row.failed > 0 { format!(", {} failed", row.failed) } else { String::new() };
    format!("{}, {} of {} dates are over{failed}", state(row), row.over(), row.total())
}

pub(super) fn listing(rows: &[BackfillRow]) -> Listing {
    let columns = [
        "id",
        "dag_id",
        "state",
        "from_date",
        "to_date",
        "reprocess_behavior",
        "max_active_runs",
        "planned",
        "queued",
        "running",
        "success",
        "failed",
        "skipped",
        "dropped",
        "created_by",
        "completed_at",
    ];
    let mut listing = Listing::new(columns, "no backfills: create one with `orch backfill create`");
    for row in rows {
        listing.add([
            json!(row.id),
            json!(row.dag_id),
            json!(state(row)),
            moment(Some(row.from_date)),
            moment(Some(row.to_date)),
            json!(row.reprocess),
            json!(row.max_active_runs),
            json!(row.planned),
            json!(row.queued),
            json!(row.running),
            json!(row.success),
            json!(row.failed),
            json!(row.skipped),
            json!(row.dropped),
            json!(row.created_by),
            moment(row.completed_at),
        ]);
    }
    listing
}
