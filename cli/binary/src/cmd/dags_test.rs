//! `orch dags test`: runs a DAG of this binary with the real engine on a temporary database.

use crate::app::Cx;
use crate::conf::ConfFlag;
use crate::failure::{Exit, Failure, Outcome};
use crate::files;
use crate::names;
use crate::output::{FormatFlag, Listing, readable};
use crate::secrets;
use crate::session::Session;
use crate::trial::{self, Trial};
use crate::wait::{self, TimeoutFlag};
use chrono::{DateTime, Utc};
use orch_document::dashboard::is_dashboard_file;
use orch_document::file::{is_dag_file, is_endpoint_file};
use orch_document::stream::is_stream_file;
use orch_spec::state::TriggeredBy;
use orch_store::instance::{InstanceFilter, InstanceRow, MOST_INSTANCES, list_instances, tries};
use orch_store::log::{self, LogCursor};
use orch_store::run::{CreateRun, NewRun, RunDetails};
use orch_store::version::Versions;
use serde_json::json;
use std::path::Path;

/// Maximum size of the log that is printed per attempt.
const LOG_BYTES: i64 = 64 << 10;

/// Run a DAG of this binary here and now, on a database that is thrown away
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags test example_diamond\n  orch dags test ./dags/sales.yaml\n  \
    orch dags test example_params --conf '{\"dry_run\": false}'\n\n\
    Exit code: 0 the run ended well, 1 it failed, 2 it could not be run.")]
pub struct TestDag {
    /// The DAG, by id or alias, or a DAG file by its path
    dag_id: String,
    /// The date that the run is about
    #[arg(value_name = "LOGICAL_DATE", value_parser = names::moment)]
    logical_date: Option<DateTime<Utc>>,
    #[command(flatten)]
    conf: ConfFlag,
    #[command(flatten)]
    timeout: TimeoutFlag,
    #[command(flatten)]
    output: FormatFlag,
}

impl TestDag {
    pub fn run(self, cx: &Cx) -> Outcome {
        let conf = self.conf.read()?;
        let path = Path::new(&self.dag_id);
        if let Some((kind, hint)) = other_kind(&self.dag_id).filter(|_| path.is_file()) {
            return Err(Failure::new(format!("`{}` is {kind}, not a DAG file", self.dag_id)).hint(hint));
        }
        let is_file = is_dag_file(&self.dag_id) && path.is_file();
        let bundle = if is_file { files::of_path(path, cx.body_of())? } else { cx.local_bundle()? };
        let dag = match bundle.dags().next().filter(|_| is_file) {
            Some(only) if bundle.dags().len() == 1 => only,
            Some(_) => {
                return Err(
                    Failure::new(format!("`{}` has several dags", self.dag_id)).hint("make a file of the one to test")
                );
            }
            None => names::local_dag(&bundle, &self.dag_id).map_err(|unknown| {
                if looks_like_path(&self.dag_id) || path.is_file() { no_file(path) } else { unknown }
            })?,
        };
        let new =
            NewRun { logical_date: self.logical_date, conf, ..NewRun::manual(&dag.spec.dag_id, TriggeredBy::Test) };
        let timeout = self.timeout;
        let work = async move |trial: &mut Trial| {
            let run = match trial.create(&new).await? {
                CreateRun::Created(run) => run,
                CreateRun::BadConf(bad) => return Err(crate::conf::refused(&bad, &new.dag_id)),
                other => return Err(Failure::new(format!("the run was not created: {other:?}"))),
            };
            let run = trial.details(run.id).await?;
            wait::for_run(&mut trial.session.db, &run, timeout).await
        };
        trial::run_trial(dag, secrets::sources_of_server(&cx.config()?)?, work, async |session: &mut Session, run| {
            self.report(session, &run).await?;
            Ok(wait::ended(&run))
        })
    }

    /// Prints states and logs of the task instances in the order of the DAG.
    async fn report(&self, session: &mut Session, run: &RunDetails) -> Outcome {
        let mut versions = Versions::default();
        let mut filter = InstanceFilter::default();
        let columns = ["task_id", "map_index", "state", "try_number", "start_date", "end_date"];
        let mut listing = Listing::new(columns, "no task instances");
        loop {
            let page = list_instances(&mut session.db, &mut versions, run.id, &filter, MOST_INSTANCES).await?;
            let page = page.unwrap_or_default();
            for instance in &page {
                say_log(session, run, instance).await?;
                listing.add([
                    json!(instance.task_id),
                    if instance.map_index < 0 { json!(null) } else { json!(instance.map_index) },
                    json!(instance.state.as_str()),
                    json!(instance.try_no),
                    crate::output::moment(instance.started_at),
                    crate::output::moment(instance.ended_at),
                ]);
            }
            filter.after = page.last().map(|last| (last.task, last.map_index));
            if page.len() < MOST_INSTANCES {
                return listing.print(self.output.format);
            }
        }
    }
}

/// Returns true if the argument looks like the path of a file and not like the id of a DAG.
fn looks_like_path(name: &str) -> bool {
    is_dag_file(name) || name.contains('/')
}

/// For a file of the DAG folder that does not contain DAGs, returns what it contains, judged by its name, and how to
/// check it.
fn other_kind(name: &str) -> Option<(&'static str, &'static str)> {
    const OF_SERVER: &str =
        "a server that watches its folder checks it: `orch dags list-import-errors` shows what is wrong";
    if is_dashboard_file(name) {
        let hint = "check it with `orch dags list-import-errors --local --dags-folder FOLDER`";
        return Some(("a dashboard", hint));
    }
    if is_stream_file(name) {
        return Some(("a stream", OF_SERVER));
    }
    is_endpoint_file(name).then_some(("a published query", OF_SERVER))
}

fn no_file(path: &Path) -> Failure {
    let name = path.display();
    if path.exists() {
        return Failure::new(format!("`{name}` is not a DAG file"))
            .hint("name a file that ends in `.yaml`, `.yml` or `.json` and does not begin with a dot");
    }
    let start = match std::env::current_dir() {
        Ok(here) if path.is_relative() => format!(", which starts in `{}`", here.display()),
        _ => String::new(),
    };
    Failure::new(format!("there is no file `{name}`"))
        .hint(format!("correct the path{start}; or name a DAG by its id: `orch dags list --local` lists the ids"))
}

/// Prints the logs of all attempts to standard error, because standard output is for tools.
async fn say_log(session: &mut Session, run: &RunDetails, instance: &InstanceRow) -> Outcome {
    for one in tries(&mut session.db, run.id, instance.task, instance.map_index).await? {
        let chunks = log::read(&mut session.db, run.id, one.attempt, LogCursor::START, LOG_BYTES).await?;
        let index = if instance.map_index < 0 { String::new() } else { format!("[{}]", instance.map_index) };
        for line in chunks.iter().flat_map(|chunk| chunk.body.lines()) {
            eprintln!("{}{index} | {}", instance.task_id, readable(line).trim_end_matches('\n'));
        }
        if let Some(kind) = &one.failure {
            eprintln!("{}{index} | try {} failed ({kind}): {}", instance.task_id, one.try_no, one.causes.join(": "));
        }
    }
    Ok(Exit::Done)
}
