//! `orch tasks logs`: the log of an attempt, complete or followed live.

use crate::api::{Api, LogPlace, OldLog, TaskTry};
use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::names::MapIndexFlag;
use orch_binary::output::{print, readable_fields};
use orch_spec::state::TaskState;
use orch_store::instance::InstanceRow;
use orch_store::run::RunDetails;
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

/// Poll interval. Workers write logs to the database several times a second.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Print the log of a task
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch tasks logs example_hello greet my_run\n  \
    orch tasks logs example_retry flaky my_run --try 1\n  orch tasks logs my_dag slow my_run -f")]
pub(crate) struct Logs {
    /// The DAG, by id or alias
    dag_id: String,
    task_id: String,
    /// The run, by id or logical date
    #[arg(value_name = "RUN_ID|LOGICAL_DATE")]
    run: String,
    /// The try, from 1; the last one without it
    #[arg(long = "try", value_name = "NUMBER")]
    try_number: Option<i16>,
    #[command(flatten)]
    map_index: MapIndexFlag,
    /// Go on until the try is over
    #[arg(short, long)]
    follow: bool,
    /// The lines as they are stored: a JSON object each
    #[arg(long)]
    json: bool,
}

impl Logs {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let run = api.run(&self.dag_id, &self.run).await?;
        let mut instance = api.instance(&run, &self.task_id, self.map_index).await?;
        let mut place = LogPlace::Start;
        let mut reading: Option<Uuid> = None;
        loop {
            // Read the state of the attempt before its lines, so that no line before its end is missed.
            let found = self.find(api.tries(&run, &instance).await?);
            if let Some(found) = &found {
                if reading != Some(found.attempt_id) {
                    (reading, place) = (Some(found.attempt_id), LogPlace::Start);
                }
                place = self.print_from(&api, (&run, &instance), found, place).await?;
            }
            if !self.follow || found.as_ref().is_some_and(TaskTry::is_over) {
                return match found {
                    Some(found) => Ok(say_failure(&found)),
                    None => Err(self.no_try(&run)),
                };
            }
            if found.is_none() && api.run_of(&run.dag_id, &run.run_id).await?.state.is_finished() {
                return Err(self.no_try(&run));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            if reading.is_none() {
                // Until its first attempt, a task may still be expanded into mapped elements.
                instance = api.instance(&run, &self.task_id, self.map_index).await?;
            }
        }
    }

    fn find(&self, mut tries: Vec<TaskTry>) -> Option<TaskTry> {
        match self.try_number {
            Some(number) => tries.into_iter().rfind(|one| one.try_number == number),
            None => tries.pop(),
        }
    }

    fn no_try(&self, run: &RunDetails) -> Failure {
        let which = self.try_number.map_or_else(|| "no try".to_owned(), |number| format!("no try {number}"));
        Failure::new(format!("task `{}` has {which} in run `{}`", self.task_id, run.run_id))
            .hint(format!("see its state with `orch tasks state {} {} {}`", run.dag_id, self.task_id, run.run_id))
    }

    /// Prints all lines that exist so far.
    async fn print_from(
        &self,
        api: &Api,
        (run, instance): (&RunDetails, &InstanceRow),
        found: &TaskTry,
        mut place: LogPlace,
    ) -> Result<LogPlace, Failure> {
        while place != LogPlace::End {
            let part = api.log(run, instance, found.try_number, &place).await?;
            if let Some(old) = part.old {
                say_where(old)?;
            }
            place = part.next;
            if part.lines.is_empty() {
                break;
            }
            if self.json {
                let lines = part.lines.into_iter().flat_map(|line| [Value::Object(line).to_string(), "\n".into()]);
                print(&lines.collect::<String>())?;
            } else {
                print(&part.lines.into_iter().map(readable_fields).collect::<String>())?;
            }
        }
        Ok(place)
    }
}

fn say_where(old: OldLog) -> Result<(), Failure> {
    match old {
        OldLog::Read(place) => {
            eprintln!("this log is old: it was read from the archive, {place}");
            Ok(())
        }
        OldLog::Away(place) => Err(Failure::new(format!("this log is old and went to {place}"))
            .hint("name the archive with `ORCH_ARCHIVE`, or `archive` in orch.toml")),
    }
}

/// Prints the error of a failed attempt, which is not a line of its log.
fn say_failure(found: &TaskTry) -> Exit {
    if let Some(kind) = &found.failure
        && found.state != Some(TaskState::Success)
    {
        eprintln!("try {} failed ({kind}): {}", found.try_number, found.causes.join(": "));
    }
    Exit::Done
}
