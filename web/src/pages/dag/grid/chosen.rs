//! Details of the run or task that is selected in the grid, shown next to the grid.

use super::took;
use crate::extract::Query;
use crate::pages::encoded;
use crate::pages::home::task_href;
use crate::pages::run::RunHead;
use crate::pages::run::failure::{Failure, PartlyFailed};
use crate::pages::run::the_ledger;
use crate::pages::task::loaded::LoadedInstance;
use crate::parts::{self, ZonedNow};
use crate::refusal::Refusal;
use crate::state::Inner;
use chrono::{DateTime, Utc};
use orch_spec::state::{RunState, TaskState};
use orch_store::instance::InstanceRow;
use orch_store::run::RunDetails;
use sqlx::PgConnection;

pub(super) struct Chosen {
    pub(super) run_id: String,
    /// `None` if the whole run is selected.
    pub(super) task_id: Option<String>,
    pub(super) run: String,
    pub(super) run_href: String,
    /// Page of the selected run or task.
    pub(super) href: String,
    pub(super) clear_href: String,
    pub(super) state: parts::State,
    pub(super) is_failed: bool,
    /// Reason for the state.
    pub(super) sentence: String,
    pub(super) more: String,
    pub(super) facts: Vec<(&'static str, String)>,
}

impl Chosen {
    /// Loads the selection: `at` is a run of the grid, and `task` a task of that run.
    pub(super) async fn of(
        app: &Inner,
        db: &mut PgConnection,
        runs: &[RunDetails],
        query: &Query,
        now: ZonedNow,
    ) -> Result<Option<Chosen>, Refusal> {
        let Some(run) = query.text("at").and_then(|run_id| runs.iter().find(|run| run.run_id == run_id)) else {
            return Ok(None);
        };
        match query.text("task").filter(|task_id| !task_id.is_empty()) {
            Some(task_id) => of_task(app, db, run, task_id, now).await,
            None => of_run(app, db, run, now).await.map(Some),
        }
    }

    pub(super) fn is(&self, run: &RunDetails, task_id: Option<&str>) -> bool {
        self.run_id == run.run_id && self.task_id.as_deref() == task_id
    }
}

async fn of_run(app: &Inner, db: &mut PgConnection, run: &RunDetails, now: ZonedNow) -> Result<Chosen, Refusal> {
    let head = RunHead::new(run, now);
    let ledger = the_ledger(app, db, run).await?;
    let failure = Failure::of(app, db, run, &head, &ledger).await?;
    let partly_failed = PartlyFailed::of(&ledger, &head.href);
    let (sentence, more) = match (failure, partly_failed) {
        (Some(failure), _) => (failure.title, failure.words),
        (None, Some(partly)) => (format!("It succeeded although {}.", partly.title()), partly.names()),
        (None, None) => (String::new(), String::new()),
    };
    let label = if run.state.is_finished() { "Took" } else { "Running for" };
    let elapsed = run.started_at.map(|_| (label, parts::duration(took(run, now))));
    Ok(Chosen {
        run_id: run.run_id.clone(),
        task_id: None,
        run: words(run, now),
        clear_href: format!("{}/clear", head.href),
        href: head.href.clone(),
        run_href: head.href,
        state: parts::state(run.state.as_str()),
        is_failed: run.state == RunState::Failed,
        sentence,
        more,
        facts: elapsed.into_iter().collect(),
    })
}

async fn of_task(
    app: &Inner,
    db: &mut PgConnection,
    run: &RunDetails,
    task_id: &str,
    now: ZonedNow,
) -> Result<Option<Chosen>, Refusal> {
    let Some(loaded) = LoadedInstance::find(app, db, run, (task_id, -1)).await? else { return Ok(None) };
    let why = loaded.why(app, db, run, now).await?;
    let LoadedInstance { instance, elements, .. } = &loaded;
    let run_href = RunHead::new(run, now).href;
    let mut facts = Vec::new();
    if let Some(at) = instance.started_at {
        facts.push(("Started", now.written(at, "%-d %b %H:%M:%S")));
        facts.extend(elapsed(instance, at, now));
    }
    if instance.try_no > 0 {
        facts.push(("Try", format!("{} of {}", instance.try_no, instance.max_tries + 1)));
    }
    facts.extend(instance.hostname.clone().map(|host| ("Worker", host)));
    facts.extend(elements.map(|count| ("Elements", count.to_string())));
    Ok(Some(Chosen {
        run_id: run.run_id.clone(),
        task_id: Some(task_id.into()),
        run: words(run, now),
        href: task_href(&run_href, task_id, -1),
        clear_href: format!("{run_href}/clear?task={}&map_index=-1", encoded(task_id)),
        run_href,
        state: parts::state(instance.state.as_str()),
        is_failed: instance.state.is_failed(),
        sentence: why.sentence,
        more: why.more,
        facts,
    }))
}

/// Returns how long an instance took or has been running. `None` if it is finished and the time of its end is unknown.
fn elapsed(instance: &InstanceRow, started_at: DateTime<Utc>, now: ZonedNow) -> Option<(&'static str, String)> {
    let label = match (instance.ended_at, instance.state) {
        (Some(_), _) => "Took",
        (None, state) if state.is_finished() => return None,
        (None, TaskState::Running) => "Running for",
        // The instance waits for an approval, a condition or another worker.
        (None, _) => "Elapsed",
    };
    Some((label, parts::duration(instance.ended_at.unwrap_or(now.at) - started_at)))
}

fn words(run: &RunDetails, now: ZonedNow) -> String {
    format!("{} run, {}", parts::words(run.run_type.as_str()), now.written(run.run_after, "%-d %b %H:%M"))
}
