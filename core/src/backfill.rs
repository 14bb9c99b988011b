//! Which runs a backfill makes: from a schedule, the dates somebody wants and the runs there are, to what is done for
//! each date.
//!
//! A dry run, the plan that is stored and the scheduler that carries it out all ask here, so they cannot disagree.
//! Airflow's rules (`models/backfill.py`), and beyond them: dates one by one, and DAGs without a schedule.

use chrono::{DateTime, TimeDelta, Utc};
use orch_spec::schedule::{Bounds, Calendar, DataInterval};
use orch_spec::state::{RunState, UnknownWord};
use orch_spec::{DagSpec, Schedule, words};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::{fmt, str::FromStr};

/// Dates of one backfill: a year of hours. More are asked for year by year.
pub const MOST_DATES: usize = 10_000;

words! {
    /// What becomes of dates that have a run which is over.
    Reprocess {
        /// Nothing.
        None = 0 "none",
        /// It runs again if it failed.
        Failed = 1 "failed",
        /// It runs again.
        Completed = 2 "completed",
    }
}

words! {
    /// The dates of a DAG without a schedule.
    Step {
        Hourly = 0 "hourly",
        Daily = 1 "daily",
    }
}

impl Step {
    fn length(self) -> TimeDelta {
        match self {
            Step::Hourly => TimeDelta::hours(1),
            Step::Daily => TimeDelta::days(1),
        }
    }
}

/// The logical dates somebody wants runs for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dates {
    /// Those of the schedule between two instants, both included; of a DAG without one, those of the step.
    Range { from: DateTime<Utc>, to: DateTime<Utc>, step: Option<Step> },
    /// These.
    Each(Vec<DateTime<Utc>>),
}

/// What somebody wants to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillRequest {
    pub dates: Dates,
    pub reprocess: Reprocess,
    /// The latest first.
    pub backwards: bool,
}

/// A run that a backfill is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    pub logical_date: DateTime<Utc>,
    pub interval: DataInterval,
}

/// What is done for a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Create,
    /// The run there is begins anew, as one of the backfill.
    Rerun,
    Skip(Reason),
}

impl Action {
    /// In a word, and why nothing is done.
    pub fn words(self) -> (&'static str, Option<&'static str>) {
        match self {
            Action::Create => ("create", None),
            Action::Rerun => ("run again", None),
            Action::Skip(reason) => ("skip", Some(reason.as_str())),
        }
    }
}

words! {
    /// Why nothing is done for a date: Airflow's words.
    Reason {
        AlreadyExists = 0 "already exists",
        InFlight = 1 "in flight",
    }
}

/// Why there is no such backfill.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotBackfill {
    #[error(
        "dag `{dag_id}` has no schedule to take the dates from\nhint: give a step (`daily` or `hourly`), or each date by itself"
    )]
    Unscheduled { dag_id: String },
    #[error("dag `{dag_id}` has a schedule, which says its dates\nhint: leave the step out")]
    Scheduled { dag_id: String },
    #[error("the first date {from} must not be after the last {to}\nhint: swap the two dates, or choose others")]
    UpsideDown { from: DateTime<Utc>, to: DateTime<Utc> },
    #[error("a backfill cannot be for the future: {0} is not over")]
    Future(DateTime<Utc>),
    #[error("the schedule of dag `{dag_id}` has no run for {date}")]
    NoTick { dag_id: String, date: DateTime<Utc> },
    #[error("a backfill of dag `{dag_id}` cannot go backwards: task `{task_id}` depends on the past")]
    Backwards { dag_id: String, task_id: String },
    #[error(
        "task `{task_id}` of dag `{dag_id}` depends on the past: runs there are must be run again\nhint: reprocess `failed` \
        or `completed`"
    )]
    MustReprocess { dag_id: String, task_id: String },
    #[error("more than {MOST_DATES} dates are meant\nhint: make several backfills of shorter times")]
    TooMany,
}

/// What is done for one date, by the state of the run that it has.
pub fn action(there: Option<RunState>, reprocess: Reprocess) -> Action {
    match (there, reprocess) {
        (None, _) => Action::Create,
        (Some(RunState::Queued | RunState::Running), _) => Action::Skip(Reason::InFlight),
        (Some(RunState::Failed), Reprocess::Failed | Reprocess::Completed)
        | (Some(RunState::Success), Reprocess::Completed) => Action::Rerun,
        (Some(RunState::Failed | RunState::Success), _) => Action::Skip(Reason::AlreadyExists),
    }
}

/// What is done for each date, in the order in which it is done. `there`: the runs that the DAG has for them.
pub fn plan(dates: &[Date], there: &BTreeMap<DateTime<Utc>, RunState>, reprocess: Reprocess) -> Vec<(Date, Action)> {
    dates.iter().map(|&date| (date, action(there.get(&date.logical_date).copied(), reprocess))).collect()
}

/// The dates that are meant, in the order in which they are run. What is not over by `now` is left out of a range.
pub fn dates(spec: &DagSpec, wish: &BackfillRequest, now: DateTime<Utc>) -> Result<Vec<Date>, CannotBackfill> {
    let dag_id = || spec.dag_id.clone();
    let calendar = match spec.schedule.time() {
        Schedule::Cron { .. } | Schedule::EveryMs(_) => Calendar::new(&spec.schedule, spec.timetable).ok(),
        Schedule::Manual
        | Schedule::Once
        | Schedule::Continuous
        | Schedule::Assets(_)
        | Schedule::AssetPartitions(_)
        | Schedule::AssetsOrTime { .. } => None,
    };
    let found = match (&wish.dates, &calendar) {
        (Dates::Range { step: None, .. }, None) => return Err(CannotBackfill::Unscheduled { dag_id: dag_id() }),
        (Dates::Range { step: Some(_), .. }, Some(_)) => return Err(CannotBackfill::Scheduled { dag_id: dag_id() }),
        (&Dates::Range { from, to, .. }, _) if from > to => return Err(CannotBackfill::UpsideDown { from, to }),
        (&Dates::Range { from, .. }, _) if from >= now => return Err(CannotBackfill::Future(from)),
        (&Dates::Range { from, to, .. }, Some(calendar)) => {
            at_most(scheduled(calendar, from, to, now).filter(|date| date.interval.end < now))?
        }
        (&Dates::Range { from, to, step: Some(step) }, None) => {
            let steps = std::iter::successors(Some(from), |at| at.checked_add_signed(step.length()));
            at_most(steps.take_while(|at| *at <= to && *at < now).map(exact))?
        }
        (Dates::Each(each), calendar) => {
            let each: BTreeSet<DateTime<Utc>> = each.iter().copied().collect();
            let one = |at: DateTime<Utc>| {
                let no_tick = || CannotBackfill::NoTick { dag_id: dag_id(), date: at };
                let date = match calendar {
                    None => exact(at),
                    Some(calendar) => scheduled(calendar, at, at, now).next().ok_or_else(no_tick)?,
                };
                if date.interval.end < now { Ok(date) } else { Err(CannotBackfill::Future(at)) }
            };
            at_most(each.into_iter().map(one))?.into_iter().collect::<Result<Vec<_>, _>>()?
        }
    };
    depends_on_past(spec, wish)?;
    Ok(if wish.backwards { found.into_iter().rev().collect() } else { found })
}

/// Between two instants the bounds of the DAG itself do not count, as in Airflow.
fn scheduled(
    calendar: &Calendar,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    now: DateTime<Utc>,
) -> impl Iterator<Item = Date> + '_ {
    let bounds = Bounds { start: Some(from), end: Some(to), catchup: true };
    calendar
        .upcoming(None, bounds, now)
        .filter_map(|run| Some(Date { logical_date: run.logical_date?, interval: run.data_interval? }))
}

fn exact(at: DateTime<Utc>) -> Date {
    Date { logical_date: at, interval: DataInterval::exact(at) }
}

fn at_most<T>(dates: impl Iterator<Item = T>) -> Result<Vec<T>, CannotBackfill> {
    let found: Vec<T> = dates.take(MOST_DATES + 1).collect();
    if found.len() > MOST_DATES { Err(CannotBackfill::TooMany) } else { Ok(found) }
}

/// Where tasks ask how the run before went, its order is that of the dates and none of them may be left as it is.
fn depends_on_past(spec: &DagSpec, wish: &BackfillRequest) -> Result<(), CannotBackfill> {
    let asks = |o: &orch_spec::Options| o.depends_on_past == Some(true) || o.wait_for_downstream == Some(true);
    let Some(task) = spec.tasks.iter().find(|task| asks(&task.options)) else { return Ok(()) };
    let (dag_id, task_id) = (spec.dag_id.clone(), task.task_id.clone());
    match wish.reprocess {
        _ if wish.backwards => Err(CannotBackfill::Backwards { dag_id, task_id }),
        Reprocess::None => Err(CannotBackfill::MustReprocess { dag_id, task_id }),
        Reprocess::Failed | Reprocess::Completed => Ok(()),
    }
}
