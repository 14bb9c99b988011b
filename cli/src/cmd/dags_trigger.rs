//! `orch dags trigger`: from the command line to a queued task in a handful of round trips.

use super::dags_presets::no_such_preset;
use crate::api::{Api, wait_for_run};
use crate::app::Cx;
use crate::server::Server;
use chrono::{DateTime, Utc};
use orch_binary::conf::{self, ConfFlag};
use orch_binary::failure::{Failure, Outcome};
use orch_binary::output::{FormatFlag, Listing, moment};
use orch_binary::session::Session;
use orch_binary::wait::{self, TimeoutFlag};
use orch_binary::{names, person};
use orch_core::ids::RunId;
use orch_core::schedule::isoformat;
use orch_core::state::TriggeredBy;
use orch_store::audit::Deed;
use orch_store::dag::DagRow;
use orch_store::preset::get_preset;
use orch_store::run::{CreateRun, NewRun, RunDetails, RunRow, create_run};
use orch_store::version::Versions;
use serde_json::{Value, json};

/// Start a run of a DAG
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags trigger example_chain --wait\n  \
    orch dags trigger example_params --conf '{\"region\": \"asia\"}'\n  \
    orch dags trigger my_dag --conf @conf.json --run-id nightly-1 -o json\n  \
    orch dags trigger my_dag --preset full --conf '{\"day\": \"2026-11-20\"}'\n\n\
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
        let mut session = match cx.server().await? {
            Server::Database(session) => session,
            Server::Api(api) => return self.over_api(&api, conf).await,
        };
        let dag = names::dag(&mut session.db, &self.dag_id).await?;
        if self.wait {
            refuse_to_wait(&dag)?;
            refuse_to_wait_alone(&session)?;
        }
        let conf = self.with_base(&mut session, &dag.dag_id, conf).await?;
        let new = NewRun { user: Some(person::name()), ..self.new_run(&dag, conf) };
        let mut versions = Versions::default();
        versions.set_newest(&dag.dag_id, dag.version);
        let run = self.created(create_run(&mut session.db, &mut versions, &new).await?, &dag.dag_id)?;
        let deed =
            Deed { event: "trigger_dag_run", dag_id: Some(&dag.dag_id), run_id: Some(&run.run_id), ..Deed::default() };
        session.did(&deed, &run.hints()).await?;
        let run = RunDetails::created(run, new);
        if self.wait {
            let run = wait::for_run(&mut session, &run, self.timeout).await?;
            return self.print_ended(&run);
        }
        self.print_begun(&dag, &run)
    }

    async fn over_api(&self, api: &Api, conf: Option<Value>) -> Outcome {
        let dag = api.dag(&self.dag_id)?;
        if self.wait {
            refuse_to_wait(&dag)?;
        }
        let base = match (&self.preset, &self.same_as) {
            (Some(name), _) => {
                Some(api.preset(&dag.dag_id, name)?.ok_or_else(|| no_such_preset(&dag.dag_id, name))?.conf)
            }
            (_, Some(run)) => api.run(&dag.dag_id, run)?.conf,
            _ => None,
        };
        let run = api.trigger(&self.new_run(&dag, conf::over(base, conf)))?;
        if self.wait {
            let run = wait_for_run(api, run, self.timeout).await?;
            return self.print_ended(&run);
        }
        self.print_begun(&dag, &run)
    }

    /// The conf, over that of a preset or of another run.
    async fn with_base(
        &self,
        session: &mut Session,
        dag_id: &str,
        conf: Option<Value>,
    ) -> Result<Option<Value>, Failure> {
        let base = match (&self.preset, &self.same_as) {
            (Some(name), _) => {
                let preset = get_preset(&mut session.db, dag_id, name).await?;
                Some(preset.ok_or_else(|| no_such_preset(dag_id, name))?.conf)
            }
            (_, Some(run)) => names::run(&mut session.db, dag_id, run).await?.conf,
            _ => None,
        };
        Ok(conf::over(base, conf))
    }

    fn new_run(&self, dag: &DagRow, conf: Option<Value>) -> NewRun {
        let (run_id, logical_date) = (self.run_id.clone(), self.logical_date);
        NewRun { run_id, logical_date, conf, ..NewRun::manual(&dag.dag_id, TriggeredBy::Cli) }
    }

    fn print_ended(&self, run: &RunDetails) -> Outcome {
        self.print(run)?;
        Ok(wait::outcome(run))
    }

    fn print_begun(&self, dag: &DagRow, run: &RunDetails) -> Outcome {
        if dag.is_paused {
            eprintln!("dag `{0}` is paused: the run waits for `orch dags unpause {0}`", dag.dag_id);
        }
        self.print(run)
    }

    fn created(&self, created: CreateRun, dag_id: &str) -> Result<RunRow, Failure> {
        match created {
            CreateRun::Created(run) | CreateRun::Same(run) => Ok(run),
            CreateRun::RunIdTaken | CreateRun::OtherRequest => {
                Err(names::run_id_taken(dag_id, self.run_id.as_deref().unwrap_or_default()))
            }
            CreateRun::LogicalDateTaken => {
                Err(names::date_taken(dag_id, &self.logical_date.map(isoformat).unwrap_or_default()))
            }
            CreateRun::BadConf(bad) => Err(conf::refused(&bad, dag_id)),
            CreateRun::NoSuchDag => Err(Failure::new(format!("dag `{dag_id}` was deleted just now"))),
        }
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

/// Some waits have no end.
fn refuse_to_wait(DagRow { dag_id, is_paused, .. }: &DagRow) -> Result<(), Failure> {
    if *is_paused {
        return Err(Failure::new(format!("dag `{dag_id}` is paused: its run would not begin"))
            .hint(format!("unpause it with `orch dags unpause {dag_id}`, or leave `--wait` out")));
    }
    Ok(())
}

fn refuse_to_wait_alone(session: &Session) -> Result<(), Failure> {
    if session.is_alone() {
        return Err(Failure::new("nobody is at work: the standalone of this data folder does not run")
            .hint("start it with `orch standalone`, or leave `--wait` out"));
    }
    Ok(())
}
