//! `orch tasks logs`: what a try of a task said, now or as it says it.

use crate::app::Cx;
use crate::clock;
use orch_binary::config::Secret;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::names::{self, MapIndexFlag};
use orch_binary::output::print;
use orch_binary::output::readable;
use orch_binary::secrets;
use orch_binary::session::Session;
use orch_core::state::TaskState;
use orch_store::instance::{TryRow, tries};
use orch_store::log::{self, Place};
use orch_store::rollover::{Kept, recall};
use orch_store::run::{RunDetails, run_by_uuid};
use std::time::Duration;
use uuid::Uuid;

/// Read at once.
const PAGE_BYTES: i64 = 1 << 20;
/// Workers ship what was said several times a second.
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
        let mut session = cx.session().await?;
        let dag_id = names::dag_id(&mut session.db, &self.dag_id).await?;
        let run = names::run(&mut session.db, &dag_id, &self.run).await?;
        let mut place = Place::START;
        let mut reading: Option<Uuid> = None;
        loop {
            let found = self.find(&mut session, &run).await?;
            // Looked at before the lines are read: what was said before the end is not missed.
            let is_over = match &found {
                Some(found) => found.ended_at.is_some() || found.state.is_finished(),
                None => false,
            };
            if let Some(found) = &found {
                if reading != Some(found.attempt) {
                    (reading, place) = (Some(found.attempt), Place::START);
                    say_where(cx, &mut session, run.id, found.attempt).await?;
                }
                place = self.print_from(&mut session, &run, found.attempt, place).await?;
            }
            if is_over || !self.follow {
                return match found {
                    Some(found) => Ok(say_failure(&found)),
                    None => Err(self.no_try(&run)),
                };
            }
            if found.is_none() && run_by_uuid(&mut session.db, run.id).await?.is_none_or(|run| run.state.is_finished())
            {
                return Err(self.no_try(&run));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn find(&self, session: &mut Session, run: &RunDetails) -> Result<Option<TryRow>, Failure> {
        let instance = names::instance(&mut session.db, run, &self.task_id, self.map_index).await?;
        let mut tries = tries(&mut session.db, run.id, instance.task, instance.map_index).await?;
        match self.try_number {
            Some(number) => Ok(tries.into_iter().rfind(|one| one.try_no == number)),
            None => Ok(tries.pop()),
        }
    }

    fn no_try(&self, run: &RunDetails) -> Failure {
        let which = self.try_number.map_or_else(|| "no try".to_owned(), |number| format!("no try {number}"));
        Failure::new(format!("task `{}` has {which} in run `{}`", self.task_id, run.run_id))
            .hint(format!("see its state with `orch tasks state {} {} {}`", run.dag_id, self.task_id, run.run_id))
    }

    async fn print_from(
        &self,
        session: &mut Session,
        run: &RunDetails,
        attempt: Uuid,
        mut place: Place,
    ) -> Result<Place, Failure> {
        loop {
            let chunks = log::read(&mut session.db, run.id, attempt, place, PAGE_BYTES).await?;
            let Some(last) = chunks.last() else { return Ok(place) };
            place = Place { lease_no: last.lease_no, seq: last.seq };
            let lines = chunks.iter().flat_map(|chunk| chunk.body.lines());
            if self.json {
                print(&lines.flat_map(|line| [line, "\n"]).collect::<String>())?;
            } else {
                print(&lines.map(readable).collect::<String>())?;
            }
        }
    }
}

/// Gets an old log out of the archive, and says so.
async fn say_where(cx: &Cx, session: &mut Session, run: Uuid, attempt: Uuid) -> Result<(), Failure> {
    let config = cx.config()?;
    let url = config.database_url.as_ref().map(Secret::reveal);
    let archive = secrets::archive(&config, url)?;
    match recall(&mut session.db, &archive, run, attempt, clock::now()).await? {
        Kept::Here => {}
        Kept::Recalled { place } => eprintln!("this log is old: it was read from the archive, {place}"),
        Kept::Away { place } => {
            return Err(Failure::new(format!("this log is old and went to {place}"))
                .hint("name the archive with `ORCH_ARCHIVE`, or `archive` in orch.toml"));
        }
    }
    Ok(())
}

/// What a failed try ended with is no line of its log.
fn say_failure(found: &TryRow) -> Exit {
    if let Some(kind) = &found.failure
        && found.state != TaskState::Success
    {
        eprintln!("try {} failed ({kind}): {}", found.try_no, found.causes.join(": "));
    }
    Exit::Done
}
