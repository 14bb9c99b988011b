//! `orch backfill create`, and `orch dags backfill`, the form of Airflow 2.

use super::backfill_list::listing;
use crate::api::PlannedDate;
use crate::clock::now;
use crate::cx::Cx;
use crate::days;
use orch_binary::conf::ConfFlag;
use orch_binary::failure::{Failure, Outcome};
use orch_binary::names::{self, WrittenDate};
use orch_binary::output::{FormatFlag, Listing, moment};
use orch_binary::person;
use orch_core::backfill::{BackfillRequest, Dates, Reprocess, Step};
use orch_store::backfill::{BackfillTasks, NewBackfill};
use serde_json::json;

/// Run a DAG for dates that are past: a range, or dates one by one
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch backfill create --dag-id my_dag --from-date 2026-11-01 --to-date 2026-11-07 --dry-run\n  \
    orch backfill create --dag-id my_dag --from-date 2026-01-01 --to-date 2026-06-30 --max-active-runs 4 --run-backwards\n  \
    orch backfill create --dag-id my_dag --date 2026-11-03 --date 2026-11-09 --reprocess-behavior failed\n\n\
    Schedulers make its runs, a few at a time and after all that is more urgent: `orch backfill wait` waits for the end."
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct CreateBackfill {
    /// The DAG, by id or alias
    #[arg(long)]
    dag_id: String,
    /// First date, included; without a time the whole day in the time zone of the DAG
    #[arg(long, value_name = "DATE", value_parser = names::date, requires = "to_date", required_unless_present = "date")]
    from_date: Option<WrittenDate>,
    /// Last date, included; without a time the whole day
    #[arg(long, value_name = "DATE", value_parser = names::date, requires = "from_date")]
    to_date: Option<WrittenDate>,
    /// Single date instead of a range, without a time every tick of that day; may be repeated
    #[arg(long, value_name = "DATE", value_parser = names::date, conflicts_with_all = ["from_date", "to_date", "step"])]
    date: Vec<WrittenDate>,
    /// The dates of a DAG without a schedule: daily or hourly
    #[arg(long, value_name = "STEP")]
    step: Option<Step>,
    /// What becomes of dates that have a run which is over: none, failed or completed ones run again
    #[arg(long, default_value = "none", value_name = "WHICH")]
    reprocess_behavior: Reprocess,
    /// Runs of the backfill at the same time, besides those of the schedule
    #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    max_active_runs: i32,
    /// The latest date first
    #[arg(long)]
    run_backwards: bool,
    /// What its runs are about, as JSON; `@FILE` reads a file, `-` standard input
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    dag_run_conf: Option<String>,
    /// Runs that run again go on in the newest version (always done, unless the other flag is given)
    #[arg(long, overrides_with = "no_run_on_latest_version")]
    run_on_latest_version: bool,
    /// Runs that run again keep their version
    #[arg(long)]
    no_run_on_latest_version: bool,
    #[command(flatten)]
    part: PartFlags,
    /// Only say what it would do
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: FormatFlag,
    /// The command was `orch dags backfill`, whose flags have other names.
    #[arg(skip)]
    is_dags_backfill: bool,
}

/// Flags that choose some of the tasks.
#[derive(Debug, clap::Args)]
struct PartFlags {
    /// Only tasks whose id the regular expression finds, and what they wait for
    #[arg(short, long, value_name = "REGEX")]
    task_regex: Option<String>,
    /// Without what they wait for
    #[arg(short, long, requires = "task_regex")]
    ignore_dependencies: bool,
}

/// Run a DAG for dates that are past, as Airflow 2 spelt it: see `orch backfill create`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags backfill my_dag -s 2026-11-01 -e 2026-11-07")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct DagsBackfill {
    /// The DAG, by id or alias
    dag_id: String,
    /// First date, included; without a time the whole day in the time zone of the DAG
    #[arg(short, long, value_name = "DATE", value_parser = names::date)]
    start_date: WrittenDate,
    /// Last date, included; without a time the whole day
    #[arg(short, long, value_name = "DATE", value_parser = names::date)]
    end_date: WrittenDate,
    /// Runs that failed run again
    #[arg(long)]
    rerun_failed_tasks: bool,
    /// All runs there are run again
    #[arg(long)]
    reset_dagruns: bool,
    /// The latest date first
    #[arg(short = 'B', long)]
    run_backwards: bool,
    #[command(flatten)]
    conf: ConfFlag,
    #[command(flatten)]
    part: PartFlags,
    /// Only say what it would do
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    output: FormatFlag,
}

impl DagsBackfill {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let create = CreateBackfill {
            dag_id: self.dag_id,
            from_date: Some(self.start_date),
            to_date: Some(self.end_date),
            date: Vec::new(),
            step: None,
            reprocess_behavior: match (self.reset_dagruns, self.rerun_failed_tasks) {
                (true, _) => Reprocess::Completed,
                (false, true) => Reprocess::Failed,
                (false, false) => Reprocess::None,
            },
            max_active_runs: 10,
            run_backwards: self.run_backwards,
            dag_run_conf: self.conf.conf,
            run_on_latest_version: true,
            no_run_on_latest_version: false,
            part: self.part,
            dry_run: self.dry_run,
            output: self.output,
            is_dags_backfill: true,
        };
        create.run(cx).await
    }
}

impl CreateBackfill {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let conf = ConfFlag { conf: self.dag_run_conf.clone() }.read()?;
        let api = cx.api().await?;
        let (dag, spec) = api.structure(&self.dag_id).await?;
        let dag_id = dag.dag_id;
        let dates = match (self.from_date, self.to_date) {
            (Some(from), Some(to)) => {
                if self.step.is_none() && !days::has_ticks(&spec) {
                    return Err(self.without_schedule(&dag_id));
                }
                let (first, last) = days::range(&spec, from, to);
                if first > last {
                    let flags = if self.is_dags_backfill { ["start", "end"] } else { ["from", "to"] };
                    let message = format!("`--{}-date {from}` is after `--{}-date {to}`", flags[0], flags[1]);
                    return Err(Failure::new(message).hint("swap the two dates"));
                }
                Dates::Range { from: first, to: last, step: self.step }
            }
            _ => Dates::Each(days::each(&spec, &self.date, now())?),
        };
        let part = self.part.task_regex.clone();
        let new = NewBackfill {
            wish: BackfillRequest { dates, reprocess: self.reprocess_behavior, backwards: self.run_backwards },
            conf,
            max_active_runs: self.max_active_runs,
            latest: !self.no_run_on_latest_version,
            part: part.map(|regex| BackfillTasks { regex, upstream: !self.part.ignore_dependencies }),
            user: Some(person::name()),
            dag_id,
        };
        if self.dry_run {
            let (dates, tasks) = api.plan_backfill(&new).await?;
            if let Some(tasks) = &tasks {
                eprintln!("only these tasks would run: {}", tasks.join(", "));
            }
            return self.print_plan(&dates);
        }
        let row = api.create_backfill(&new).await?;
        if row.dag_is_paused {
            eprintln!("dag `{0}` is paused: the backfill waits for `orch dags unpause {0}`", row.dag_id);
        }
        listing(&[row]).print(self.output.format)
    }

    /// Returns the failure for a range of dates if the schedule of the DAG has no dates.
    fn without_schedule(&self, dag_id: &str) -> Failure {
        let hint = if self.is_dags_backfill {
            format!(
                "use `orch backfill create --dag-id {dag_id}` with `--step daily` (or `hourly`), or with a `--date` for each date"
            )
        } else {
            "add `--step daily` (or `hourly`); or write a `--date` for each date instead of `--from-date` and `--to-date`".into()
        };
        Failure::new(format!("dag `{dag_id}` has no schedule to take the dates from")).hint(hint)
    }

    fn print_plan(&self, planned: &[PlannedDate]) -> Outcome {
        let columns = ["logical_date", "data_interval_start", "data_interval_end", "action", "reason"];
        let mut listing = Listing::new(columns, "no date is meant");
        for date in planned {
            listing.add([
                moment(Some(date.logical_date)),
                moment(Some(date.interval.0)),
                moment(Some(date.interval.1)),
                json!(date.action),
                json!(date.reason),
            ]);
        }
        listing.print(self.output.format)
    }
}
