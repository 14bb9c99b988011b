//! `orch dags trigger`.

use super::dags_presets::no_such_preset;
use crate::api::Api;
use crate::cx::Cx;
use chrono::{DateTime, Utc};
use orch_binary::conf::{self, ConfFlag};
use orch_binary::failure::{Failure, Outcome};
use orch_binary::names;
use orch_binary::output::{FormatFlag, Listing, moment};
use orch_binary::wait::TimeoutFlag;
use orch_spec::ids::RunId;
use orch_spec::state::{RunState, TriggeredBy};
use orch_store::dag::DagRow;
use orch_store::run::{NewRun, RunDetails};
use serde_json::{Value, json};

/// Start a run of a DAG
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags trigger example_chain --wait\n  \
    orch dags trigger example_params --conf '{\"region\": \"asia\"}'\n  \
    orch dags trigger my_dag --conf @conf.json --run-id nightly-1 -o json\n  \
    orch dags trigger my_dag --preset full --conf '{\"day\": \"2026-11-20\"}'\n  \
    orch dags trigger my_dag --run-after 2026-11-20T22:00:00Z\n\n\
    Exit code: 0 started (with --wait: it ended well), 1 it failed, 2 it could not be started.")]
pub(crate) struct Trigger {
    /// The DAG, by id or alias
    dag_id: String,
    #[command(flatten)]
    conf: ConfFlag,
    /// Begin with the params of this preset; what the conf says goes over them
    #[arg(long, value_name = "NAME", conflicts_with = "same_as")]
    preset: Option<String>,
    /// Begin with the conf of an earlier run; what the conf says goes over it
    #[arg(long, value_name = "RUN_ID|LOGICAL_DATE")]
    same_as: Option<String>,
    /// Name of the run; made up without it
    #[arg(short, long)]
    run_id: Option<RunId>,
    /// The date that the run is about; a DAG has one run for a date
    #[arg(short, long, visible_alias = "exec-date", value_name = "MOMENT", value_parser = names::moment)]
    logical_date: Option<DateTime<Utc>>,
    /// Begin no sooner than this; until then the run is queued
    #[arg(long, value_name = "MOMENT", value_parser = names::moment)]
    run_after: Option<DateTime<Utc>>,
    /// Keep the fraction of a second of the logical date (always done; taken for Airflow's sake)
    #[arg(long, hide = true)]
    no_replace_microseconds: bool,
    /// Wait until the run is over; the exit code says how it ended
    #[arg(short, long)]
    wait: bool,
    #[command(flatten)]
    timeout: TimeoutFlag,
    #[command(flatten)]
    output: FormatFlag,
}

impl Trigger {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let conf = self.conf.read()?;
        let api = cx.api().await?;
        let mut dag_id = self.dag_id.clone();
        // Request the DAG only if needed: triggering accepts an alias and reports an unknown DAG itself.
        if self.wait || self.preset.is_some() || self.same_as.is_some() {
            let dag = api.dag(&dag_id).await?;
            if self.wait {
                refuse_to_wait(&dag, &api)?;
            }
            dag_id = dag.dag_id;
        }
        let base = match (&self.preset, &self.same_as) {
            (Some(name), _) => {
                let preset = api.preset(&dag_id, name).await?;
                Some(preset.ok_or_else(|| no_such_preset(&dag_id, name))?.conf)
            }
            (_, Some(run)) => api.run_of(&dag_id, run).await?.conf,
            _ => None,
        };
        let (run_id, logical_date, run_after) = (self.run_id.clone(), self.logical_date, self.run_after);
        let conf = conf::over(base, conf);
        let new = NewRun { run_id, logical_date, run_after, conf, ..NewRun::manual(&dag_id, TriggeredBy::Cli) };
        let run = api.trigger(&new).await?;
        if self.wait {
            let run = api.wait_for_run(run, self.timeout).await?;
            self.print(&run)?;
            return Ok(api.outcome(&run).await);
        }
        if run.state == RunState::Queued && api.dag(&run.dag_id).await?.is_paused {
            eprintln!("dag `{0}` is paused: the run waits for `orch dags unpause {0}`", run.dag_id);
        }
        self.print(&run)
    }

    fn print(&self, run: &RunDetails) -> Outcome {
        let columns = [
            "dag_id",
            "dag_run_id",
            "state",
            "run_type",
            "run_after",
            "logical_date",
            "data_interval_start",
            "data_interval_end",
            "start_date",
            "end_date",
            "conf",
            "triggering_user_name",
        ];
        let mut listing = Listing::new(columns, "no run");
        listing.add([
            json!(run.dag_id),
            json!(run.run_id),
            json!(run.state.as_str()),
            json!(run.run_type.as_str()),
            moment(Some(run.run_after)),
            moment(run.logical_date),
            moment(run.interval_start),
            moment(run.interval_end),
            moment(run.started_at),
            moment(run.ended_at),
            run.conf.clone().unwrap_or(Value::Null),
            json!(run.triggered_by_user),
        ]);
        if matches!(self.output.format, orch_binary::output::Format::Table | orch_binary::output::Format::Plain) {
            listing
                .select(&["dag_id", "dag_run_id", "state", "run_after", "logical_date", "conf"].map(String::from))?;
        }
        listing.print(self.output.format)
    }
}

/// Fails if the wait would never end.
fn refuse_to_wait(DagRow { dag_id, is_paused, .. }: &DagRow, api: &Api) -> Result<(), Failure> {
    if *is_paused {
        return Err(Failure::new(format!("dag `{dag_id}` is paused: its run would not begin"))
            .hint(format!("unpause it with `orch dags unpause {dag_id}`, or leave `--wait` out")));
    }
    api.check_at_work("start it with `orch standalone`, or leave `--wait` out")
}
