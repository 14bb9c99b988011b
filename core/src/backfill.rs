//! Plans a backfill: the requested dates, the schedule and the existing runs determine the action for each date.
//!
//! The dry run, the stored plan and the scheduler that executes the plan all use this module, so their results agree.
//! The rules are Airflow's (`models/backfill.py`), extended by lists of single dates and by DAGs without a schedule.

use chrono::{DateTime, TimeDelta, Utc};
use orch_spec::schedule::{Bounds, Calendar, DataInterval};
use orch_spec::state::{RunState, UnknownWord};
use orch_spec::{DagSpec, Schedule, words};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::{fmt, str::FromStr};

/// Maximum number of dates of one backfill. An hourly DAG can be backfilled for more than a year.
pub const MOST_DATES: usize = 10_000;

words! {
    /// Which dates with a finished run are rerun.
    Reprocess {
        /// Finished runs are kept.
        None = 0 "none",
        /// Only failed runs are rerun.
        Failed = 1 "failed",
        /// All finished runs are rerun.
        Completed = 2 "completed",
    }
}

words! {
    /// Interval between the dates of a DAG without a schedule.
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dates {
    /// Dates of the schedule, or of `step` if the DAG has no schedule. Both bounds are inclusive.
    Range { from: DateTime<Utc>, to: DateTime<Utc>, step: Option<Step> },
    /// A list of single dates.
    Each(Vec<DateTime<Utc>>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillRequest {
    pub dates: Dates,
    pub reprocess: Reprocess,
    /// True to process the dates in descending order, the latest first.
    pub backwards: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    pub logical_date: DateTime<Utc>,
    pub interval: DataInterval,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Create,
    /// The existing run is cleared and becomes part of the backfill.
    Rerun,
    Skip(Reason),
}

impl Action {
    /// Returns the action as text. If the date is skipped, also returns the reason.
    pub fn words(self) -> (&'static str, Option<&'static str>) {
        match self {
            Action::Create => ("create", None),
            Action::Rerun => ("run again", None),
            Action::Skip(reason) => ("skip", Some(reason.as_str())),
        }
    }
}

words! {
    /// Reason why a backfill skips a date, named as in Airflow.
    Reason {
        AlreadyExists = 0 "already exists",
        InFlight = 1 "in flight",
    }
}

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

/// Returns the action for one date. `there` is the state of the existing run for that date, if there is one.
pub fn action(there: Option<RunState>, reprocess: Reprocess) -> Action {
    match (there, reprocess) {
        (None, _) => Action::Create,
        (Some(RunState::Queued | RunState::Running), _) => Action::Skip(Reason::InFlight),
        (Some(RunState::Failed), Reprocess::Failed | Reprocess::Completed)
        | (Some(RunState::Success), Reprocess::Completed) => Action::Rerun,
        (Some(RunState::Failed | RunState::Success), _) => Action::Skip(Reason::AlreadyExists),
    }
}

/// Returns the action for each date, in the order of execution. `there` contains the existing runs of the DAG by date.
pub fn plan(dates: &[Date], there: &BTreeMap<DateTime<Utc>, RunState>, reprocess: Reprocess) -> Vec<(Date, Action)> {
    dates.iter().map(|&date| (date, action(there.get(&date.logical_date).copied(), reprocess))).collect()
}

/// Returns the requested dates in the order of execution. Dates in a range whose data interval ends after `now` are
/// omitted.
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

/// Returns the scheduled dates between `from` and `to`. As in Airflow, the start and end date of the DAG are ignored.
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

/// Rejects a backfill of a DAG with `depends_on_past` if its dates run in descending order or if existing runs are
/// kept.
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
