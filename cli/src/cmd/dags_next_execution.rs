//! `orch dags next-execution`: when the scheduler will create the next runs.

use crate::cx::Cx;
use chrono::{DateTime, Utc};
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::{FormatFlag, Listing, moment, print_line};
use orch_spec::schedule::{Bounds, Calendar, DataInterval, NextRun, isoformat};
use serde_json::json;

/// What is printed of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Field {
    LogicalDate,
    #[value(name = "data_interval.start")]
    IntervalStart,
    #[value(name = "data_interval.end")]
    IntervalEnd,
    #[value(name = "run_after")]
    RunAfter,
}

/// Print when the next scheduled runs of a DAG are due
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags next-execution my_dag\n  orch dags next-execution my_dag -n 5 --table")]
pub(crate) struct NextExecution {
    /// The DAG, by id or alias
    dag_id: String,
    /// How many
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    num_executions: u32,
    /// What to print of each
    #[arg(long, value_enum, default_value = "run_after")]
    field: Field,
    /// Print all dates of each as a table
    #[arg(long)]
    table: bool,
    #[command(flatten)]
    output: FormatFlag,
}

impl NextExecution {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let (dag, spec) = cx.api().await?.structure(&self.dag_id).await?;
        let calendar =
            Calendar::new(&spec.schedule, spec.timetable).map_err(|error| Failure::new(error.to_string()))?;
        let Some(run_after) = dag.next_run_after else {
            eprintln!("dag `{}` has no next run: it runs {}", dag.dag_id, dag.schedule_text);
            return Ok(Exit::Done);
        };
        if dag.is_paused {
            eprintln!("dag `{}` is paused: nothing is due before it is unpaused", dag.dag_id);
        }
        let interval = dag.next_interval_start.zip(dag.next_interval_end);
        let first = NextRun {
            run_after,
            logical_date: dag.next_logical_date,
            data_interval: interval.map(|(start, end)| DataInterval { start, end }),
            run_type: orch_spec::state::RunType::Scheduled,
        };
        let bounds = Bounds::from(&spec);
        let more = calendar.upcoming(first.data_interval, bounds, run_after);
        let runs: Vec<NextRun> = std::iter::once(first).chain(more).take(self.num_executions as usize).collect();
        if self.table || self.output.format != orch_binary::output::Format::Table {
            return table(&runs).print(self.output.format);
        }
        let lines: Vec<String> = runs.iter().filter_map(|run| self.field.of(run)).map(isoformat).collect();
        if lines.is_empty() { Ok(Exit::Done) } else { print_line(&lines.join("\n")) }
    }
}

impl Field {
    fn of(self, run: &NextRun) -> Option<DateTime<Utc>> {
        match self {
            Field::LogicalDate => run.logical_date,
            Field::IntervalStart => run.data_interval.map(|interval| interval.start),
            Field::IntervalEnd => run.data_interval.map(|interval| interval.end),
            Field::RunAfter => Some(run.run_after),
        }
    }
}

fn table(runs: &[NextRun]) -> Listing {
    let columns = ["number", "run_after", "logical_date", "data_interval_start", "data_interval_end"];
    let mut listing = Listing::new(columns, "no next run");
    for (place, run) in runs.iter().enumerate() {
        listing.add([
            json!(place + 1),
            moment(Some(run.run_after)),
            moment(run.logical_date),
            moment(Field::IntervalStart.of(run)),
            moment(Field::IntervalEnd.of(run)),
        ]);
    }
    listing
}
