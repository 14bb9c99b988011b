//! Requests about backfills.

use super::{Api, ApiReply, HINT, ListQuery, refused};
use chrono::{DateTime, TimeDelta, Utc};
use orch_binary::conf;
use orch_binary::failure::Failure;
use orch_core::backfill::{Dates, Reprocess, Step};
use orch_spec::schedule::isoformat;
use orch_store::backfill::{BackfillDate, BackfillRow, NewBackfill};
use serde::Deserialize;
use serde_json::{Value, json};

type Moment = DateTime<Utc>;

/// Maximum number of dates of a backfill that are read.
const MOST_DATES: usize = 10_000;

/// A date of a planned backfill, and what the backfill would do for it.
#[derive(Debug, Clone)]
pub(crate) struct PlannedDate {
    pub(crate) logical_date: DateTime<Utc>,
    pub(crate) interval: (DateTime<Utc>, DateTime<Utc>),
    pub(crate) action: String,
    /// Why the backfill would do nothing.
    pub(crate) reason: Option<String>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "as the API answers")]
struct Progress {
    id: i32,
    dag_id: String,
    from_date: Moment,
    to_date: Moment,
    run_backwards: bool,
    reprocess_behavior: Reprocess,
    max_active_runs: i32,
    run_on_latest_version: bool,
    conf: Option<Value>,
    task_regex: Option<String>,
    ignore_dependencies: bool,
    is_paused: bool,
    is_cancelled: bool,
    dag_is_paused: bool,
    created_by: Option<String>,
    created_at: Moment,
    completed_at: Option<Moment>,
    counts: Counts,
}

#[derive(Deserialize)]
struct Counts {
    planned: i64,
    queued: i64,
    running: i64,
    success: i64,
    failed: i64,
    skipped: i64,
    dropped: i64,
}

#[derive(Deserialize)]
struct DateSeen {
    ordinal: i32,
    logical_date: Moment,
    state: String,
    why: Option<String>,
    dag_run_id: Option<String>,
    start_date: Option<Moment>,
    end_date: Option<Moment>,
}

#[derive(Deserialize)]
struct Plan {
    dates: Vec<Planned>,
    tasks: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Planned {
    logical_date: Moment,
    data_interval_start: Moment,
    data_interval_end: Moment,
    action: String,
    reason: Option<String>,
}

impl Api {
    /// Returns what a backfill would do for each date, and the tasks that would run. `None` if all tasks would run.
    pub(crate) async fn plan_backfill(
        &self,
        new: &NewBackfill,
    ) -> Result<(Vec<PlannedDate>, Option<Vec<String>>), Failure> {
        let found = match self.change_extra("POST", "backfills/dry_run", Some(&body(new))).await? {
            ApiReply::Found(found) => found,
            ApiReply::Refused(_, words) => return Err(refused_of(&words, &new.dag_id)),
        };
        let Plan { dates, tasks } = Plan::deserialize(found).map_err(|_| self.strange())?;
        let date = |planned: Planned| PlannedDate {
            logical_date: planned.logical_date,
            interval: (planned.data_interval_start, planned.data_interval_end),
            action: planned.action,
            reason: planned.reason,
        };
        Ok((dates.into_iter().map(date).collect(), tasks))
    }

    pub(crate) async fn create_backfill(&self, new: &NewBackfill) -> Result<BackfillRow, Failure> {
        match self.post("backfills", &body(new)).await? {
            ApiReply::Found(made) => {
                let id = made["id"].as_i64().and_then(|id| i32::try_from(id).ok()).ok_or_else(|| self.strange())?;
                self.backfill(id).await
            }
            ApiReply::Refused(_, words) => Err(refused_of(&words, &new.dag_id)),
        }
    }

    /// Lists backfills, newest first.
    pub(crate) async fn backfills(&self, asked: &ListQuery) -> Result<Vec<BackfillRow>, Failure> {
        self.pages_extra("backfills", "backfills", asked, row).await
    }

    pub(crate) async fn backfill(&self, id: i32) -> Result<BackfillRow, Failure> {
        match self.get_extra(&format!("backfills/{id}")).await? {
            ApiReply::Found(found) => row(&found).ok_or_else(|| self.strange()),
            ApiReply::Refused(404, _) => {
                Err(Failure::new(format!("there is no backfill {id}")).hint("list all with `orch backfill list`"))
            }
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Lists the dates of a backfill in the order in which they run.
    pub(crate) async fn backfill_dates(&self, id: i32) -> Result<Vec<BackfillDate>, Failure> {
        self.pages_extra(&format!("backfills/{id}"), "dates", &ListQuery::all().most(MOST_DATES), |entry| {
            let date = DateSeen::deserialize(entry).ok()?;
            Some(BackfillDate {
                ordinal: date.ordinal,
                logical_date: date.logical_date,
                state: date.state,
                why: date.why,
                run: None,
                run_id: date.dag_run_id,
                started_at: date.start_date,
                ended_at: date.end_date,
                // No command shows the duration of a run.
                idle: TimeDelta::zero(),
            })
        })
        .await
    }

    pub(crate) async fn pause_backfill(&self, id: i32, paused: bool) -> Result<(), Failure> {
        self.change_backfill(id, if paused { "pause" } else { "unpause" }).await
    }

    pub(crate) async fn cancel_backfill(&self, id: i32, stop_running: bool) -> Result<(), Failure> {
        self.change_backfill(id, &format!("cancel?stop_running={stop_running}")).await
    }

    async fn change_backfill(&self, id: i32, what: &str) -> Result<(), Failure> {
        match self.change("PUT", &format!("backfills/{id}/{what}"), None).await? {
            ApiReply::Found(_) => Ok(()),
            ApiReply::Refused(404, _) => Err(gone(id)),
            ApiReply::Refused(409, _) => Err(over(id)),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }
}

/// Converts a rejection. It either contains a hint, or is about a conf.
fn refused_of(words: &str, dag_id: &str) -> Failure {
    if words.contains(HINT) { refused(words) } else { conf::refused_by_server(words, dag_id) }
}

fn body(new: &NewBackfill) -> Value {
    let mut body = json!({
        "dag_id": new.dag_id,
        "reprocess_behavior": new.wish.reprocess.as_str(),
        "run_backwards": new.wish.backwards,
        "dag_run_conf": new.conf,
        "max_active_runs": new.max_active_runs,
        "run_on_latest_version": new.latest,
    });
    match &new.wish.dates {
        Dates::Range { from, to, step } => {
            (body["from_date"], body["to_date"]) = (json!(isoformat(*from)), json!(isoformat(*to)));
            if let Some(step) = step {
                body["step"] = json!(Step::as_str(*step));
            }
        }
        Dates::Each(dates) => body["dates"] = dates.iter().map(|date| isoformat(*date)).collect(),
    }
    if let Some(part) = &new.part {
        (body["task_regex"], body["ignore_dependencies"]) = (json!(part.regex), json!(!part.upstream));
    }
    body
}

fn row(value: &Value) -> Option<BackfillRow> {
    let found = Progress::deserialize(value).ok()?;
    Some(BackfillRow {
        id: found.id,
        dag_id: found.dag_id,
        from_date: found.from_date,
        to_date: found.to_date,
        run_backwards: found.run_backwards,
        reprocess: found.reprocess_behavior,
        max_active_runs: found.max_active_runs,
        latest: found.run_on_latest_version,
        conf: found.conf,
        task_regex: found.task_regex,
        with_upstream: !found.ignore_dependencies,
        is_paused: found.is_paused,
        is_cancelled: found.is_cancelled,
        created_by: found.created_by,
        created_at: found.created_at,
        updated_at: found.created_at,
        completed_at: found.completed_at,
        dag_is_paused: found.dag_is_paused,
        planned: found.counts.planned,
        queued: found.counts.queued,
        running: found.counts.running,
        success: found.counts.success,
        failed: found.counts.failed,
        skipped: found.counts.skipped,
        dropped: found.counts.dropped,
    })
}

fn gone(id: i32) -> Failure {
    Failure::new(format!("backfill {id} was deleted just now"))
}

fn over(id: i32) -> Failure {
    Failure::new(format!("backfill {id} is over already")).hint(format!("`orch backfill show {id}` shows how it ended"))
}
