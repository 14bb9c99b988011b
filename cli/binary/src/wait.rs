//! Waits for a run to end and shows progress in a terminal. Polls the database, first every few milliseconds and later
//! 20 times a second, because a poll is cheap.

use crate::{
    boxed,
    failure::{Exit, Failure},
    output::{CLEAR_LINE, counted, is_watched},
};
use orch_spec::state::{RunState, TaskState};
use orch_store::instance::{self, Ledger};
use orch_store::run::{RunDetails, run_by_uuid};
use orch_store::version::Versions;
use orch_store::worker;
use sqlx::PgConnection;
use std::time::{Duration, Instant};

const FIRST_LOOKS: Duration = Duration::from_millis(3);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// Update interval of the progress line. Users cannot read faster updates.
const SHOW_EVERY: Duration = Duration::from_millis(200);
/// Time after which a run that has not started triggers a warning if no worker is alive.
const NOBODY_AFTER: Duration = Duration::from_secs(3);

/// `--timeout`.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct TimeoutFlag {
    /// Stop waiting after this time (`30s`, `5m`); the run continues
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub timeout: Option<Duration>,
}

pub fn time(text: &str) -> Result<Duration, String> {
    crate::config::Text::parse(text).map_err(|expected: String| format!("no {expected}"))
}

/// Waits until the run is finished and returns it. Fails after the timeout.
#[boxed]
pub async fn for_run(db: &mut PgConnection, run: &RunDetails, timeout: TimeoutFlag) -> Result<RunDetails, Failure> {
    let began = Instant::now();
    let mut watch = Watch { shown: None, told_nobody: false, versions: Versions::default() };
    loop {
        let Some(now) = run_by_uuid(db, run.id).await? else {
            return Err(Failure::new(format!("run `{}` was deleted", run.run_id)));
        };
        if now.state.is_finished() {
            watch.clear();
            return Ok(now);
        }
        let waited = began.elapsed();
        if timeout.timeout.is_some_and(|most| waited >= most) {
            watch.clear();
            return Err(too_long(&now, waited));
        }
        watch.show(db, &now, waited).await?;
        tokio::time::sleep((waited / 10).clamp(FIRST_LOOKS, LONGEST_PAUSE)).await;
    }
}

pub fn too_long(run: &RunDetails, waited: Duration) -> Failure {
    Failure::new(format!("run `{}` is {} after {} s", run.run_id, run.state, waited.as_secs()))
        .hint(format!("it is still running: wait again with `orch runs wait {} {}`", run.dag_id, run.run_id))
}

/// Reports how the run ended and returns the exit state of the command.
pub fn ended(run: &RunDetails) -> Exit {
    let took = run
        .started_at
        .zip(run.ended_at)
        .map_or_else(String::new, |(started, ended)| format!(" after {:.3} s", (ended - started).as_seconds_f64()));
    eprintln!("run `{}` of dag `{}` ended: {}{took}", run.run_id, run.dag_id, run.state);
    if run.state == RunState::Success {
        return Exit::Done;
    }
    Exit::Failed
}

struct Watch {
    shown: Option<Instant>,
    told_nobody: bool,
    versions: Versions,
}

impl Watch {
    async fn show(&mut self, db: &mut PgConnection, run: &RunDetails, waited: Duration) -> Result<(), Failure> {
        if waited > NOBODY_AFTER && !self.told_nobody && run.started_at.is_none_or(|_| run.rev == 0) {
            self.told_nobody = true;
            let workers = worker::list_workers(db).await?;
            if !workers.iter().any(|worker| worker.state == "running") {
                self.clear();
                eprintln!("no worker is alive: the run waits until one starts (`orch standalone`, `orch worker`)");
            }
        }
        if !is_watched() || self.shown.is_some_and(|shown| shown.elapsed() < SHOW_EVERY) {
            return Ok(());
        }
        if let Some(ledger) = instance::ledger(db, &mut self.versions, run.id).await? {
            eprint!("{CLEAR_LINE}{} {} {:.1} s", run.run_id, progress(&ledger), waited.as_secs_f64());
            self.shown = Some(Instant::now());
        }
        Ok(())
    }

    fn clear(&self) {
        if self.shown.is_some() {
            eprint!("{CLEAR_LINE}");
        }
    }
}

/// Returns the progress as `running, 3 of 10 tasks done`.
fn progress(ledger: &Ledger) -> String {
    let tasks = ledger.version.plan.tasks.len();
    let states = ledger.run.ledger.iter().take(tasks).filter_map(|code| TaskState::from_code(*code));
    let done = states.filter(|state| state.is_finished()).count();
    format!("{}, {done} of {} done", ledger.run.state, counted(tasks, "task"))
}
